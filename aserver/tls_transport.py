"""TLS between a transport and its connection: bytes that nobody else can read.

To the event loop's transport it is the protocol, to the connection the transport. The event loops
have TLS of their own, each with its own ideas of deadlines, half-closed connections and the first
bytes of a client that does not speak TLS; here these are the connection's business, as they are
without TLS.
"""

import asyncio
import ssl
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from typing import Any, Protocol

# What OpenSSL decrypts at once is a record, which has no more (RFC 8446 section 5.1).
_READ_SIZE = 1 << 14
# A longer piece is encrypted in parts, so that it is not in memory twice.
_WRITE_SIZE = 1 << 18
# RFC 8446 section 5.1: the type of the first record, whatever the version.
_HANDSHAKE_RECORD = 22


class State(Enum):
    """How far it is."""

    NEW = "nothing has come"
    HANDSHAKE = "keys are being agreed upon"
    OPEN = "bytes are encrypted and decrypted"
    SHUT = "we have said that nothing more comes of us"
    CLOSED = "nothing is sent or taken any more"


# An enum's attribute look-up is a call in Python 3.11.
NEW, HANDSHAKE, OPEN, SHUT, CLOSED = State


class TlsSource(Protocol):
    """Where the keys come from: `aserver.tls_contexts.Certificates`."""

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """The server's side of a new connection."""

    def facts(self, connection: ssl.SSLObject) -> dict[str, Any]:
        """ASGI's `tls` extension. Raises ValueError for what cannot be read."""


class Secured(Protocol):
    """The connection, seen from here: a protocol, and what happens before it begins."""

    def on_secured(self, protocol: str | None, extension: dict[str, Any]) -> None:
        """The handshake is complete, with what ALPN chose."""

    def on_insecure(self, reason: str) -> None:
        """The handshake has failed; the transport is closed."""

    def on_plaintext(self) -> bytes:
        """The client does not speak TLS; returns what it is answered."""

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """One connection's TLS, from the handshake on."""

    __slots__ = (
        "_incoming",
        "_loop",
        "_outgoing",
        "_owner",
        "_reading",
        "_state",
        "_tls",
        "_tls_source",
        "_transport",
    )

    # Until the connection is lost.
    _owner: Secured

    def __init__(
        self,
        transport: asyncio.Transport,
        owner: Secured,
        source: TlsSource,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__()
        self._transport = transport
        self._owner = owner
        self._tls_source = source
        self._loop = loop
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = source.wrap(self._incoming, self._outgoing)
        self._state = NEW
        self._reading = True
        transport.set_protocol(self)

    def __repr__(self) -> str:
        return f"<TlsTransport {self._state.name} {self._tls.version()}>"

    # From the event loop's transport

    def data_received(self, data: bytes) -> None:
        if self._state is OPEN:
            self._incoming.write(data)
            self._decrypt()
        elif self._state is HANDSHAKE:
            self._shake_hands(data)
        elif self._state is NEW and data[0] == _HANDSHAKE_RECORD:
            self._state = HANDSHAKE
            self._shake_hands(data)
        elif self._state is NEW:
            self._state = CLOSED
            self._transport.write(self._owner.on_plaintext())
            self._transport.close()

    def eof_received(self) -> bool:
        """The peer has closed its sending side, with a word or without (RFC 8446 section 6.1)."""
        if self._state is NEW or self._state is HANDSHAKE:
            return False
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        owner = self._owner
        del self._owner  # it points back here
        owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()

    # The handshake

    def _shake_hands(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
            extension = self._tls_source.facts(self._tls)
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ValueError) as error:
            self._state = CLOSED
            self._flush()  # the alert that says why
            self._transport.close()
            self._owner.on_insecure(_explained(error))
            return
        self._state = OPEN
        self._flush()
        self._owner.on_secured(self._tls.selected_alpn_protocol(), extension)
        self._decrypt()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    # Bytes of the application

    def _decrypt(self) -> None:
        """Hand on what has come, as long as anybody wants it."""
        tls, incoming = self._tls, self._incoming
        while self._reading and self._state is OPEN:
            try:
                data = tls.read(_READ_SIZE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._fail(error)
                return
            if not data:
                self._end()
                return
            self._owner.data_received(data)
            if not incoming.pending:
                break  # OpenSSL reads record by record: it would only say that it wants more
        if self._outgoing.pending:
            self._flush()  # a new key, or a question about one

    def _end(self) -> None:
        """The peer has said that nothing more comes of it."""
        if not self._owner.eof_received():
            self.close()

    def _fail(self, error: ssl.SSLError) -> None:
        """What has come was changed on its way, or is no TLS."""
        self._state = CLOSED
        self._flush()
        self._owner.on_insecure(_explained(error))
        self._transport.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._state is not OPEN:
            return
        if len(data) > _WRITE_SIZE:
            view = memoryview(data)
            for start in range(0, len(data), _WRITE_SIZE):
                self.write(view[start : start + _WRITE_SIZE])
            return
        written = self._tls.write(data)
        while written < len(data):
            written += self._tls.write(memoryview(data)[written:])
        self._transport.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    # The rest of a transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._tls.context
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._reading = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._reading = True
        self._transport.resume_reading()
        if self._incoming.pending:
            self._loop.call_soon(self._decrypt)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """Say that nothing more comes. What the peer sends from now on is not even decrypted."""
        self._say_goodbye()
        self._transport.write_eof()

    def close(self) -> None:
        self._say_goodbye()
        self._state = CLOSED
        self._transport.close()

    def _say_goodbye(self) -> None:
        """RFC 8446 section 6.1: the peer shall know that nothing was cut off."""
        if self._state is not OPEN:
            return
        self._state = SHUT
        with suppress(ssl.SSLError):  # it wants the peer's answer, for which we do not wait
            self._tls.unwrap()
        self._flush()

    def abort(self) -> None:
        self._state = CLOSED
        self._transport.abort()


def _explained(error: Exception) -> str:
    """What went wrong, in OpenSSL's words."""
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if reason else str(error)
