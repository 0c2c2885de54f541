"""What a connection waits for: its phase, its deadline, and what happens when that has passed.

A phase change is two attribute stores; `expire` is called by the sweep (`aserver.limits`).
"""

import asyncio
from abc import abstractmethod
from math import inf

from .context import Context
from .escaping import peer_name
from .limits import (
    ACTIVE,
    CLOSING,
    DRAIN_SECONDS,
    DRAINING,
    HALF_CLOSE_SECONDS,
    HANDSHAKE,
    HEAD,
    IDLE,
    NEW,
    PREAMBLE,
    RECEIVING,
    WRITING,
    Phase,
)
from .logs import peer_log
from .scope import Facts
from .seams import Engine, Refusing
from .sendfile import FileSender
from .socket_facts import (
    Ending,
    count_unacknowledged,
    count_unread,
    ending,
    has_unread_bytes,
)
from .tls_transport import TlsTransport
from .types import ProtocolError


class PhasedConnection(asyncio.Protocol):
    """A connection as far as its deadlines are concerned. It has one subclass, the `Connection`."""

    __slots__ = (
        "_context",
        "_engine",
        "_facts",
        "_file",
        "_half_closed",
        "_hung_up",
        "_in_turn",
        "_reading",
        "_transport",
        "_unsent",
        "deadline",
        "phase",
    )

    # Set when the connection is let in, deleted when it is lost.
    _engine: Engine
    _transport: asyncio.Transport
    _facts: Facts

    def __init__(self, context: Context) -> None:
        self._context = context
        self.phase: Phase = NEW
        self.deadline = inf
        self._half_closed = False  # whether the peer sends no more
        self._hung_up = False  # whether the engine was told of that while nothing was read
        # Whether there is one request at a time, as in HTTP/1; then its deadlines are ours.
        self._in_turn = True
        self._reading = True  # whether we take what the peer sends
        self._file: FileSender | None = None  # while it is sent one
        self._unsent = 0  # bytes that waited for the peer when the deadline was last looked at

    @abstractmethod
    def on_refused(self, where: Refusing, error: ProtocolError) -> None:
        """What was received, or was not, is answered with an error."""

    @abstractmethod
    def close(self) -> None:
        """Send what is buffered, then close."""

    @abstractmethod
    def abort(self, *, reset: bool = False) -> None:
        """Close at once."""

    def _enter_active(self) -> None:
        self.phase = ACTIVE
        # While nothing is read, nothing else tells that the peer has left.
        self.deadline = inf if self._reading else self._context.now + 1

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.deadline = self._context.now + self._context.seconds[phase]

    def _enter_writing(self, phase: Phase) -> None:
        self._enter(phase)
        self._unsent = self._count_unsent()

    def _await_reader(self) -> None:
        """Wait for the peer to read, if that is not what is waited for already."""
        if self.phase is not WRITING:
            self._enter_writing(WRITING)

    def _count_unsent(self) -> int:
        """How many bytes wait for the peer, those of a file included.

        The kernel may hold megabytes, and lets us write only when much of that is gone: a peer that
        reads slowly makes its progress there.
        """
        unsent = self._transport.get_write_buffer_size()
        if self._file is not None:
            unsent += self._file.left
        if unsent or self.phase is DRAINING:
            unsent += count_unacknowledged(self._transport)
        return unsent

    def unsent(self) -> int:
        waiting: int = self._transport.get_write_buffer_size()
        return waiting + count_unacknowledged(self._transport)

    def has_unread(self) -> bool:
        return has_unread_bytes(self._transport)

    @property
    def _peer(self) -> str:
        return peer_name(self._facts.client)

    # When a deadline has passed

    def expire(self) -> None:
        """The deadline has passed: what that means depends on what was waited for."""
        unsent = self._count_unsent()
        if self.phase is RECEIVING:
            self._expire_body()
        elif self.phase is DRAINING:
            self._expire_draining(unsent)
        elif self.phase is ACTIVE:
            self._expire_active()
        elif self.phase is HANDSHAKE or self.phase is PREAMBLE:
            self._expire_handshake()
        elif unsent:
            self._expire_writing(unsent)
        elif self.phase is HEAD:
            reason = "the request head did not arrive in time (--header-timeout)"
            self.on_refused(self._engine, ProtocolError(408, reason))
        elif (self.phase is IDLE or self.phase is NEW) and has_unread_bytes(self._transport):
            self.deadline = self._context.now + 1  # its next request is in the kernel already
        elif self.phase is CLOSING:
            self.abort(reset=True)
        else:
            self._expire_silence()

    def _expire_active(self) -> None:
        """The peer closed its side a moment ago; or we read nothing, and so hear nothing of it."""
        self.deadline = inf
        if self._half_closed and self._reading:
            self._engine.hang_up()
        elif not self._reading:
            self.deadline = self._context.now + 1
            end = ending(self._transport)
            if end is Ending.GONE:
                self.abort()
            elif not self._in_turn or self._hung_up:
                pass  # it is heard of when what came before is read
            elif self._half_closed:
                self._hung_up = True
                self._engine.hang_up()
            elif end is Ending.HALF and self._has_more():
                self.on_half_closed()  # the engine hears of it behind what came before
            elif end is Ending.HALF and not self.eof_received():
                self._transport.close()

    def on_half_closed(self) -> None:
        """The peer sends no more, and waits for an answer that has not begun."""
        self._half_closed = True
        if self.phase is RECEIVING:
            self.phase = ACTIVE
        if self.phase is ACTIVE:
            self.deadline = self._context.now + HALF_CLOSE_SECONDS

    def _has_more(self) -> bool:
        """Whether there is more of the peer's than its end."""
        transport = self._transport
        is_held = isinstance(transport, TlsTransport) and transport.is_holding
        return is_held or count_unread(transport) > 0

    def _expire_silence(self) -> None:
        """The peer has sent nothing: at all, or since it was answered."""
        if self.phase is NEW:
            self._context.throttle.info(
                peer_log, "Closed %s: it has sent nothing (--first-byte-timeout)", self._peer
            )
        else:
            peer_log.debug("Closed %s: it was idle (--keep-alive)", self._peer)
        if self.phase is IDLE:
            self._engine.drain()  # which may say goodbye
        self.close()

    def _expire_handshake(self) -> None:
        what = "TLS handshake took too long (--tls-handshake-timeout)"
        if self.phase is PREAMBLE:
            what = "PROXY header did not arrive in time (--proxy-protocol-timeout)"
        self._context.throttle.info(peer_log, f"Closed %s: the {what}", self._peer)
        self.abort()

    def _expire_draining(self, unsent: int) -> None:
        """Go on as long as the peer takes something of the response."""
        if unsent < self._unsent:
            self._unsent = unsent
            self.deadline = self._context.now + DRAIN_SECONDS
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
        if not self._reading and ending(self._transport) is Ending.GONE:
            self.abort()
        elif arrived is None or arrived >= self._context.body_bytes:
            self._enter(RECEIVING)
        else:
            self.phase = ACTIVE
            self.deadline = inf
            reason = "the request body does not arrive fast enough (--min-body-rate)"
            self.on_refused(self._engine, ProtocolError(408, reason))
