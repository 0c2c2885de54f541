"""The connection: the one `asyncio.Protocol`.

It owns the transport, picks the engine, and is the engine's sink. It knows neither HTTP's syntax
nor ASGI's messages. Its deadlines are inherited.
"""

import asyncio
import sys
from collections.abc import Iterable
from functools import partial
from math import inf
from typing import cast

from .connection_phases import PhasedConnection
from .context import Context
from .engines.h1 import H1
from .engines.ws_handshake import Handshake
from .escaping import printable
from .http_cycle import HttpCycle
from .limits import (
    ACTIVE,
    CLOSING,
    DRAINING,
    HALF_CLOSE_SECONDS,
    HEAD,
    IDLE,
    NEW,
    RECEIVING,
    WRITING,
)
from .logs import peer_log
from .scope import Facts, http_scope, websocket_scope
from .seams import Engine, HttpEngine, Receiver
from .sendfile import FileSender
from .socket_facts import (
    Ending,
    addresses,
    ending,
    has_unread_bytes,
    reset_on_close,
)
from .types import ProtocolError, Request
from .ws_cycle import WebSocketCycle
from .ws_opening import is_handshake

# The writelines() of asyncio's own transports takes any amount and never asks to pause in Python
# 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 (CVE-2024-12254).
_VERSION = sys.version_info[:3]
_ENDLESS_WRITELINES = (3, 12, 0) <= _VERSION < (3, 12, 9) or (3, 13, 0) <= _VERSION < (3, 13, 2)


class Connection(PhasedConnection):
    """One client's connection, from accept to close."""

    __slots__ = (
        "__weakref__",
        "is_closing",
        "write",
        "write_paused",
        "writelines",
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.write_paused = False

    def __repr__(self) -> str:
        if not hasattr(self, "_engine"):
            return f"<Connection {self.phase.name}>"
        return f"<Connection {self._peer} {self.phase.name} {self._engine!r}>"

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, but are none.
        self._context.admission.ask(self, cast(asyncio.Transport, transport))

    def begin(self, transport: asyncio.Transport) -> None:
        """There is room for this connection: serve it."""
        self._transport = transport
        context = self._context
        self.write = transport.write
        self.writelines = transport.writelines
        if _ENDLESS_WRITELINES and isinstance(transport, asyncio.Transport):
            self.writelines = partial(_write_joined, transport)
        self.is_closing = transport.is_closing
        transport.set_write_buffer_limits(context.write_buffer)
        client, server = addresses(transport)
        self._facts = Facts("http", client, server, context.root_path)
        self._engine = H1(self, context, context.parser, context.request_limits)
        self.deadline = context.now + context.seconds[NEW]
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
        if self.phase is WRITING and self._is_upgraded:
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

    # The engine's sink

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

    def on_request(self, engine: HttpEngine, request: Request) -> Receiver:
        context = self._context
        if len(context.cycles) >= context.max_concurrency:
            raise context.too_busy()
        if request.upgrade and context.new_frames is not None and is_handshake(request):
            return self._on_handshake(engine, request)
        if request.content_length == 0:
            self.phase = ACTIVE
            self.deadline = inf
        else:
            self._enter(RECEIVING)
        scope = http_scope(request, self._facts, context.state)
        return HttpCycle(context, engine, request, scope, self._facts.client)

    def _on_handshake(self, engine: HttpEngine, request: Request) -> Receiver:
        context, facts = self._context, self._facts
        handshake = Handshake(request)
        self.phase = ACTIVE
        self.deadline = inf
        scope = websocket_scope(request, facts, context.state, handshake.subprotocols)
        return WebSocketCycle(context, engine, request, scope, facts.client, handshake)

    def on_upgraded(self, engine: Engine) -> None:
        self._engine = engine
        self._is_upgraded = True
        if self.phase is not WRITING:  # else it is about what came before
            self._enter_active()

    def on_refused(self, engine: Engine, error: ProtocolError) -> None:
        if error.status != 503:  # that is not the peer's fault, and is logged as ours
            self._context.throttle.info(
                peer_log, "Refused a request from %s: %s", self._peer, printable(error.reason)
            )
        engine.refuse(error)

    def has_finished(self) -> bool:
        return ending(self._transport) is Ending.HALF

    def on_half_closed(self) -> None:
        self._half_closed = True
        if self.phase is RECEIVING:
            self.phase = ACTIVE
        if self.phase is ACTIVE:
            self.deadline = self._context.now + HALF_CLOSE_SECONDS

    def on_head(self) -> None:
        if self.phase is IDLE or self.phase is NEW:
            self._enter(HEAD)

    def on_idle(self) -> None:
        if self.write_paused:
            self._enter_writing(WRITING)
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

        With `patient`, who has just connected may still send its first request.
        """
        self._engine.drain()
        idle = self.phase is IDLE or (self.phase is NEW and not patient)
        if idle and not self._engine.mid_head and not has_unread_bytes(self._transport):
            self.close()


def _write_joined(transport: asyncio.Transport, pieces: Iterable[bytes]) -> None:
    transport.write(b"".join(pieces))
