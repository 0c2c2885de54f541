"""The connection: the one `asyncio.Protocol`.

It owns the transport, picks the engine, and is the engine's sink. It knows neither HTTP's syntax
nor ASGI's messages. Its deadlines are inherited.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Any, cast

from .connection_phases import PhasedConnection
from .context import Context
from .engines.h1 import H1
from .engines.h1_wire import refusal_response
from .engines.opening import Opening
from .escaping import printable
from .http_cycle import HttpCycle
from .limits import (
    ACTIVE,
    CLOSING,
    DRAINING,
    HANDSHAKE,
    HEAD,
    IDLE,
    NEW,
    RECEIVING,
    UNHEARD,
    WRITING,
)
from .logs import peer_log
from .scope import Facts, http_scope, websocket_scope
from .seams import Channel, Engine, Receiver, Refusing
from .sendfile import FileSender
from .socket_facts import (
    Addresses,
    Ending,
    ending,
    has_unread_bytes,
    reset_on_close,
)
from .tls_transport import TlsSource, TlsTransport
from .types import ProtocolError, Request
from .worker_seams import Expiring

# The writelines() of asyncio's own transports takes any amount and never asks to pause in Python
# 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 (CVE-2024-12254).
_VERSION = sys.version_info[:3]
_ENDLESS_WRITELINES = (3, 12, 0) <= _VERSION < (3, 12, 9) or (3, 13, 0) <= _VERSION < (3, 13, 2)


class Connection(PhasedConnection):
    """One client's connection, from accept to close.

    Args:
        context: The worker's.
        certificates: With these, it speaks TLS.
    """

    __slots__ = (
        "__weakref__",
        "_amend",
        "_certificates",
        "is_closing",
        "write",
        "write_paused",
        "writelines",
    )

    def __init__(self, context: Context, certificates: TlsSource | None = None) -> None:
        super().__init__(context)
        self._certificates = certificates
        self.write_paused = False

    def __repr__(self) -> str:
        if not hasattr(self, "_engine"):
            return f"<Connection {self.phase.name}>"
        return f"<Connection {self._peer} {self.phase.name} {self._engine!r}>"

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, but are none.
        self._context.admission.ask(self, cast(asyncio.Transport, transport))

    def begin(self, transport: asyncio.Transport, ends: Addresses) -> None:
        """There is room for this connection: serve it."""
        transport.set_write_buffer_limits(self._context.write_buffer)
        self._listen_to(transport, Facts("http", *ends, self._context.root_path))

    def _listen_to(self, transport: asyncio.Transport, facts: Facts) -> None:
        """What comes from now on is the client's own."""
        context = self._context
        forwarding = context.forwarding
        self._amend = forwarding.of(facts.client) if forwarding is not None else None
        if self._certificates is not None:
            facts = facts._replace(scheme="https")
            transport = TlsTransport(transport, self, self._certificates, context.loop)
            self._enter(HANDSHAKE)
        else:
            self._enter(NEW)
        self._facts = facts
        self._write_to(transport)
        if self.phase is HANDSHAKE or context.new_wire is not None:
            self._engine: Engine = Opening(self, context)
        else:
            self._speak(is_http2=False)

    def _write_to(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.write = transport.write
        self.writelines = transport.writelines
        if _ENDLESS_WRITELINES and isinstance(transport, asyncio.Transport):
            self.writelines = partial(_write_joined, transport)
        self.is_closing = transport.is_closing

    def _speak(self, *, is_http2: bool) -> None:
        """It is known what the peer speaks."""
        context = self._context
        if is_http2:
            from .engines.h2 import H2  # 7 ms, for those who have HTTP/2

            assert context.new_wire is not None
            self._in_turn = False
            self._engine = H2(
                self, context, context.new_wire, context.stream_limits, context.request_limits
            )
        else:
            limits, keeps_alive = context.request_limits, context.keeps_alive
            self._engine = H1(self, context, context.parser, limits, keeps_alive=keeps_alive)
        if context.draining:
            self._engine.drain()

    def data_received(self, data: bytes) -> None:
        try:
            self._engine.feed(data)
        except ProtocolError as error:
            self.on_refused(self._engine, error)

    def eof_received(self) -> bool:
        """The peer has closed its sending side. It may still be waiting for an answer."""
        if self._engine.feed_eof():
            self.on_half_closed()
            return True
        self._enter_writing(CLOSING)  # the transport closes by itself
        return False

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.phase is ACTIVE or self.phase is RECEIVING:
            self._enter_writing(WRITING)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.phase is WRITING and not self._in_turn:
            self._enter_active()
        elif self.phase is WRITING:
            self._enter(RECEIVING)  # if there is anything to receive: `_expire_body` will see
        self._engine.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._context.admission.leave(self)
        self._context.check_quiet()
        self.deadline = inf
        self.write_paused = False
        if self._file is not None:
            self._file.close()
            self._file = None
        self._engine.lost()
        # The engine, its parser and the transport's methods point back here: let go of them.
        del self._engine, self._transport
        del self.write, self.writelines, self.is_closing

    # From TLS

    def on_secured(self, protocol: str | None, extension: dict[str, Any]) -> None:
        """The handshake is complete."""
        facts = self._facts
        self._facts = facts._replace(extensions={**(facts.extensions or {}), "tls": extension})
        self._enter(NEW)
        self._speak(is_http2=protocol == "h2")

    def on_insecure(self, reason: str) -> None:
        """There is no handshake, or it does not protect any more."""
        self._enter_writing(CLOSING)
        self._context.throttle.info(
            peer_log, "TLS with %s failed: %s", self._peer, printable(reason)
        )

    def on_plaintext(self) -> bytes:
        """The client has begun with something else; a person may be looking at the answer."""
        self._enter_writing(DRAINING)
        error = ProtocolError(400, "this port speaks TLS: use https://")
        self._context.throttle.info(
            peer_log, "Refused a request from %s: %s", self._peer, error.reason
        )
        return refusal_response(error, self._context)

    # The engine's sink

    @property
    def now(self) -> float:
        return self._context.now

    def on_version(self, data: bytes, *, is_http2: bool) -> None:
        self._speak(is_http2=is_http2)
        self._engine.feed(data)

    def soon(self, callback: Callable[[], None]) -> None:
        self._context.loop.call_soon(callback)

    def watch(self, stream: Expiring) -> None:
        self._context.watched.add(stream)

    def unwatch(self, stream: Expiring) -> None:
        self._context.watched.discard(stream)

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        transport, context = self._transport, self._context
        if self._file is None:
            if transport.get_extra_info("sslcontext") is not None:
                return None  # the kernel would send it unencrypted
            self._file = FileSender(transport, context.loop, self, context.write_buffer)
        sent = self._file.send(fd, offset, count)
        if sent is None or sent == count:
            file, self._file = self._file, None
            if file.close():  # its sender was cancelled
                self.resume_writing()
        return sent

    def on_request(self, channel: Channel, request: Request) -> Receiver:
        context = self._context
        if len(context.cycles) >= context.max_concurrency:
            raise context.too_busy()
        if request.content_length == 0 and self._in_turn:
            self.phase = ACTIVE
            self.deadline = inf
        elif self._in_turn:
            self._enter(RECEIVING)
        elif self.write_paused:
            self._await_reader()  # that is about all streams
        else:
            self._enter_active()
        if request.upgrade and context.new_frames is not None:
            cycle = self._on_upgrade(channel, request)
            if cycle is not None:
                return cycle
        scope = http_scope(request, self._facts, context.state)
        if self._amend is not None:
            self._amend(scope)
        return HttpCycle(context, channel, request, scope, scope["client"])

    def _on_upgrade(self, channel: Channel, request: Request) -> Receiver | None:
        """A WebSocket is asked for; None: something else, and that is passed over."""
        from .engines.ws_handshake import Handshake  # 5 ms, for those who have WebSockets
        from .ws_cycle import WebSocketCycle
        from .ws_opening import is_handshake

        if not is_handshake(request):
            return None
        context = self._context
        handshake = Handshake(request)
        scope = websocket_scope(request, self._facts, context.state, handshake.subprotocols)
        if self._amend is not None:
            self._amend(scope)
        return WebSocketCycle(context, channel, request, scope, scope["client"], handshake)

    def on_upgraded(self, engine: Engine) -> None:
        self._engine = engine
        self._in_turn = False
        if self.phase is not WRITING:  # else it is about what came before
            self._enter_active()

    def on_refused(self, where: Refusing, error: ProtocolError) -> None:
        if error.status != 503:  # that is not the peer's fault, and is logged as ours
            self._context.throttle.info(
                peer_log, "Refused a request from %s: %s", self._peer, printable(error.reason)
            )
        where.refuse(error)

    def has_finished(self) -> bool:
        return ending(self._transport) is Ending.HALF

    def on_head(self) -> None:
        if self.phase is IDLE or self.phase is NEW:
            self._enter(HEAD)

    def on_idle(self) -> None:
        if self.write_paused:
            self._await_reader()
            return
        context = self._context
        self.phase = IDLE
        self.deadline = context.now + context.seconds[IDLE]
        self._unsent = 0

    def on_drain(self) -> None:
        self._enter_writing(DRAINING)

    def close(self) -> None:
        self._enter_writing(CLOSING)
        self._transport.close()

    def pause_reading(self) -> None:
        self._reading = False
        self._transport.pause_reading()
        if self.phase is ACTIVE:
            self._enter_active()

    def resume_reading(self) -> None:
        self._reading = True
        self._transport.resume_reading()
        if self.phase is RECEIVING:  # the time in which we did not read was not the peer's
            self._enter(RECEIVING)

    def linger(self) -> None:
        # Closing with unread bytes resets the connection, and the peer may lose our last response
        # (RFC 9112 section 9.6): close our side only, and read on for a moment.
        self._enter_writing(DRAINING)
        self.resume_reading()
        if not self._transport.can_write_eof():
            self.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # the peer is gone, as we are about to hear
            self._transport.abort()

    def abort(self, *, reset: bool = False) -> None:
        if reset:
            reset_on_close(self._transport)
        self._transport.abort()

    # From the server

    @property
    def is_idle(self) -> bool:
        return self.phase is IDLE

    def drain(self, *, patient: bool = False) -> None:
        """Finish what is in progress, then close; at once when idle.

        With `patient`, one more request may come: the first of who has just connected, or what a
        proxy sends on a connection that it takes for open. It would not send a POST again.
        """
        self._engine.drain()
        idle = not patient and (self.phase is IDLE or self.phase in UNHEARD)
        if idle and not self._engine.mid_head and not has_unread_bytes(self._transport):
            self.close()


def _write_joined(transport: asyncio.Transport, pieces: Iterable[bytes]) -> None:
    transport.write(b"".join(pieces))
