"""The connection: the one `asyncio.Protocol`.

It owns the transport and the deadline of what it is waiting for, picks the engine, and is the
engine's sink. It knows neither HTTP's syntax nor ASGI's messages.
"""

import asyncio
import contextlib
import select
import socket
import struct
import sys
from collections.abc import Iterable
from functools import partial
from math import inf
from typing import cast

from .context import Context
from .engines.h1 import H1
from .escaping import peer_name, printable
from .http_cycle import HttpCycle
from .limits import (
    ACTIVE,
    BODY,
    CLOSING,
    DRAINING,
    HALF_CLOSE_SECONDS,
    HEAD,
    IDLE,
    NEW,
    WRITING,
    Phase,
)
from .logs import peer_log
from .scope import Facts, http_scope
from .sendfile import FileSender
from .types import Address, Engine, ProtocolError, Receiver, Request

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds

# The writelines() of asyncio's own transports takes any amount and never asks to pause in Python
# 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 (CVE-2024-12254).
_VERSION = sys.version_info[:3]
_ENDLESS_WRITELINES = (3, 12, 0) <= _VERSION < (3, 12, 9) or (3, 13, 0) <= _VERSION < (3, 13, 2)


class Connection(asyncio.Protocol):
    """One client's connection, from accept to close."""

    __slots__ = (
        "__weakref__",
        "_context",
        "_engine",
        "_facts",
        "_file",
        "_transport",
        "_unsent",
        "deadline",
        "is_closing",
        "pause_reading",
        "phase",
        "write",
        "write_paused",
        "writelines",
    )

    def __init__(self, context: Context) -> None:
        self._context = context
        self.phase: Phase = NEW
        self.deadline = inf
        self.write_paused = False
        self._file: FileSender | None = None  # while it sends one
        self._unsent = 0  # bytes that waited for the peer when the deadline was last looked at

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
        self.pause_reading = transport.pause_reading
        transport.set_write_buffer_limits(context.write_buffer)
        client, server = _addresses(transport)
        self._facts = Facts("http", client, server, context.root_path)
        self._engine: Engine = H1(self, context, context.parser, context.request_limits)
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
            if self.phase is BODY:
                self.phase = ACTIVE
            if self.phase is not WRITING:
                self.deadline = self._context.now + HALF_CLOSE_SECONDS
            return True
        self._enter_writing(CLOSING)  # the transport closes by itself
        return False

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.phase is ACTIVE or self.phase is BODY:
            self._enter_writing(WRITING)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.phase is WRITING:
            self._enter(BODY)  # perhaps: `_expire_body` will see
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
        del self.pause_reading

    # The engine's sink

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        transport, context = self._transport, self._context
        if self._file is None:
            if transport.get_extra_info("sslcontext") is not None:
                return None  # the kernel would send it unencrypted
            self._file = FileSender(transport, context.loop, self, context.write_buffer)
        sent = self._file.send(fd, offset, count)
        if sent is None or sent == count:
            self._file.close()
            self._file = None
        return sent

    def on_request(self, engine: Engine, request: Request) -> Receiver:
        context = self._context
        if len(context.cycles) >= context.max_concurrency:
            raise context.admission.busy()
        if self.phase is not WRITING:  # an earlier response may be waiting for the peer to read
            if request.content_length == 0:
                self.phase = ACTIVE
                self.deadline = inf
            else:
                self._enter(BODY)
        scope = http_scope(request, self._facts, context.state)
        return HttpCycle(context, engine, request, scope, self._facts.client)

    def on_refused(self, engine: Engine, error: ProtocolError) -> None:
        if error.status != 503:  # that is not the peer's fault, and is logged as ours
            self._context.throttle.info(
                peer_log, "Refused a request from %s: %s", self._peer, printable(error.reason)
            )
        engine.refuse(error)

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
        self._enter(DRAINING)

    def close(self) -> None:
        self._enter_writing(CLOSING)
        self._transport.close()

    def resume_reading(self) -> None:
        self._transport.resume_reading()
        if self.phase is BODY:  # the time in which we did not read was not the peer's
            self._enter(BODY)

    def linger(self) -> None:
        # Closing with unread bytes resets the connection, and the peer may lose our last response
        # (RFC 9112 section 9.6): close our side only, and read on for a moment.
        self._enter(DRAINING)
        self.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self.close()

    def abort(self, *, reset: bool = False) -> None:
        if reset:
            sock = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it is gone already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    # From the server

    def drain(self, *, patient: bool = False) -> None:
        """Finish what is in progress, then close; at once when idle.

        With `patient`, who has just connected may still send its first request.
        """
        self._engine.drain()
        idle = self.phase is IDLE or (self.phase is NEW and not patient)
        if idle and not self._engine.mid_head and not self._has_unread_bytes():
            self.close()

    def expire(self) -> None:
        """The deadline has passed: what that means depends on what was waited for."""
        unsent = self._count_unsent()
        if self.phase is BODY:
            self._expire_body()
        elif unsent and self.phase is not DRAINING:
            self._expire_writing(unsent)
        elif self.phase is HEAD:
            reason = "the request head did not arrive in time (--header-timeout)"
            self.on_refused(self._engine, ProtocolError(408, reason))
        elif (self.phase is IDLE or self.phase is NEW) and self._has_unread_bytes():
            self.deadline = self._context.now + 1  # its next request is in the kernel already
        elif self.phase is ACTIVE:
            self.deadline = inf
            self._engine.hang_up()
        elif self.phase is CLOSING:
            self.abort(reset=True)
        else:
            self.close()

    def _expire_writing(self, unsent: int) -> None:
        """The peer has not read everything: is it at least reading?"""
        if self._unsent == 0 or unsent < self._unsent:
            self._unsent = unsent
            self.deadline = self._context.now + self._context.seconds[WRITING]
        else:
            self._context.throttle.info(
                peer_log,
                "Closed %s: it does not read its response (--write-timeout)",
                self._peer,
            )
            self.abort(reset=True)  # an end could look like the response's

    def _expire_body(self) -> None:
        """A period of the body's time is over: has enough of it come?"""
        arrived = self._engine.body_progress()
        if arrived is None or arrived >= self._context.body_bytes:
            self._enter(BODY)
        else:
            self.phase = ACTIVE
            self.deadline = inf
            reason = "the request body does not arrive fast enough (--min-body-rate)"
            self.on_refused(self._engine, ProtocolError(408, reason))

    def _has_unread_bytes(self) -> bool:
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.deadline = self._context.now + self._context.seconds[phase]

    def _enter_writing(self, phase: Phase) -> None:
        self._enter(phase)
        self._unsent = self._count_unsent()

    def _count_unsent(self) -> int:
        """How many bytes wait for the peer, those of a file included."""
        left = self._file.left if self._file is not None else 0
        return self._transport.get_write_buffer_size() + left

    @property
    def _peer(self) -> str:
        return peer_name(self._facts.client)


def _write_joined(transport: asyncio.Transport, pieces: Iterable[bytes]) -> None:
    transport.write(b"".join(pieces))


def _addresses(transport: asyncio.Transport) -> tuple[Address | None, Address | None]:
    """The scope's `client` and `server`, for TCP over IPv4 and IPv6 and for unix sockets."""
    name = transport.get_extra_info("sockname")
    if isinstance(name, tuple):
        peer = transport.get_extra_info("peername")
        return _host_and_port(peer), _host_and_port(name)
    path = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return None, (path, None) if path else None


def _host_and_port(name: tuple[str, int] | tuple[str, int, int, int] | None) -> Address | None:
    if not name:
        return None  # the peer was gone before it was asked for
    # An IPv4 client of a dual-stack socket: "::ffff:192.0.2.1" is an IPv4 address to everybody
    # else.
    return name[0].removeprefix("::ffff:"), name[1]
