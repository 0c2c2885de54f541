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

from .tls_hello import HelloReader

# What OpenSSL decrypts at once is a record, which has no more (RFC 8446 section 5.1).
_RECORD_SIZE = 1 << 14
# What is given to OpenSSL, and taken, at once: its buffers stay as large as they ever were.
_PIECE_SIZE = 1 << 15
# How often OpenSSL may answer by itself, for a new key or a refused handshake. A client gets such
# answers for nothing, and many of them in one read.
_MOST_REPLIES = 100
_REPLY_SIZE = 20  # at least
# RFC 8446 section 5.1: the type of the first record, whatever the version.
_HANDSHAKE_RECORD = 22
_NOTHING = memoryview(b"")


class State(Enum):
    """How far it is."""

    NEW = "nothing has come"
    HANDSHAKE = "keys are being agreed upon"
    OPEN = "bytes are encrypted and decrypted"
    HEARD = "the peer has said that nothing more comes of it"
    SHUT = "we have said that nothing more comes of us"
    CLOSED = "nothing is sent or taken any more"


# An enum's attribute look-up is a call in Python 3.11.
NEW, HANDSHAKE, OPEN, HEARD, SHUT, CLOSED = State


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
        "_held",
        "_hello",
        "_incoming",
        "_loop",
        "_outgoing",
        "_owner",
        "_reading",
        "_replies",
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
        self._hello: HelloReader | None = HelloReader()  # until the handshake is complete
        self._held = _NOTHING  # what has come while nobody wanted it
        self._reading = True
        self._replies = 0  # of OpenSSL's own
        transport.set_protocol(self)

    def __repr__(self) -> str:
        return f"<TlsTransport {self._state.name} {self._tls.version()}>"

    # From the event loop's transport

    def data_received(self, data: bytes) -> None:
        if self._state is OPEN:
            self._take(data)
        elif self._state is HANDSHAKE:
            self._shake_hands(data)
        elif self._state is NEW and data[0] == _HANDSHAKE_RECORD:
            self._state = HANDSHAKE
            self._shake_hands(data)
        elif self._state is NEW:
            self._state = CLOSED
            self._transport.write(self._owner.on_plaintext())
            if self._transport.can_write_eof():  # it may be sending still, and shall see the answer
                self._transport.write_eof()
            else:
                self._transport.close()

    def eof_received(self) -> bool:
        """The peer has closed its sending side, with a word or without (RFC 8446 section 6.1)."""
        if self._state is HEARD:
            return True  # the connection knows
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
        assert self._hello is not None
        refusal = self._hello.feed(data)
        if refusal:
            self._fail(refusal)
            return
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
            extension = self._tls_source.facts(self._tls)
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLError, ValueError) as error:
            self._fail(_explained(error))
        else:
            self._hello = None
            self._state = OPEN
            self._owner.on_secured(self._tls.selected_alpn_protocol(), extension)
            self._flush()  # if that has written nothing
            self._decrypt()

    def _flush(self) -> None:
        if self._outgoing.pending and self._state is not CLOSED:
            self._transport.write(self._outgoing.read())

    # Bytes of the application

    def _take(self, data: bytes) -> None:
        """Decrypt what has come, as long as anybody wants it."""
        if len(data) <= _PIECE_SIZE and not self._held:
            self._incoming.write(data)
            self._decrypt()
        else:
            self._held = memoryview(b"".join((self._held, data)) if self._held else data)
            self._take_held()

    def _take_held(self) -> None:
        """The same in pieces. (It is a view: what is left is not copied with each of them.)"""
        while self._reading and self._state is OPEN and self._held:
            self._incoming.write(self._held[:_PIECE_SIZE])
            self._held = self._held[_PIECE_SIZE:]
            self._decrypt()
        if not self._held or self._state is not OPEN:
            self._held = _NOTHING

    def _decrypt(self) -> None:
        tls, incoming = self._tls, self._incoming
        while self._reading and self._state is OPEN:
            try:
                data = tls.read(_RECORD_SIZE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._fail(_explained(error))
                return
            if not data:
                self._end()
                return
            self._owner.data_received(data)
            if not incoming.pending:
                break  # OpenSSL reads record by record: it would only say that it wants more
        if self._outgoing.pending:
            self._reply()

    def _reply(self) -> None:
        """OpenSSL has something to say by itself."""
        self._replies += self._outgoing.pending // _REPLY_SIZE
        if self._replies > _MOST_REPLIES:
            self._fail("the client keeps asking for new keys")
        else:
            self._flush()

    def _end(self) -> None:
        """The peer has said that nothing more comes of it; whatever does is nothing."""
        self._state = HEARD
        if not self._owner.eof_received():
            self.close()

    def _fail(self, reason: str) -> None:
        """What has come was changed on its way, or is no TLS, or not what anybody needs."""
        self._flush()  # the alert that says why
        self._state = CLOSED
        self._transport.close()
        self._owner.on_insecure(reason)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._state is OPEN or self._state is HEARD:
            self._encrypt(data)
            self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Small pieces, as a head, go into one record with what follows."""
        small = b""
        for data in list_of_data:
            if len(data) < _RECORD_SIZE:
                small += data
                continue
            room = _RECORD_SIZE - len(small) % _RECORD_SIZE
            self._encrypt(small + data[:room])
            self._encrypt(memoryview(data)[room:])
            small = b""
        self.write(small)

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        if len(data) <= _PIECE_SIZE:
            self._seal(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), _PIECE_SIZE):
            self._seal(view[start : start + _PIECE_SIZE])
            self._flush()

    def _seal(self, data: bytes | bytearray | memoryview) -> None:
        if not data or (self._state is not OPEN and self._state is not HEARD):
            return
        try:
            self._tls.write(data)
        except ssl.SSLWantReadError:  # nothing can be sent before the rest of it
            self._fail("half a message about new keys has come")
        except ssl.SSLError as error:
            self._fail(_explained(error))

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
        if self._held or self._incoming.pending:
            self._loop.call_soon(self._go_on)
        else:
            self._transport.resume_reading()

    def _go_on(self) -> None:
        """What waits comes first: until it is taken, nothing more is read."""
        try:
            if self._state is OPEN:
                self._decrypt()
            self._take_held()
        except BaseException:  # an error of ours: out of `data_received`, the event loop does this
            self.abort()
            raise
        if self._reading:
            self._transport.resume_reading()

    @property
    def is_holding(self) -> bool:
        """Whether something has come that nobody has wanted yet."""
        return bool(self._held) or self._incoming.pending > 0

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
        if self._state is not OPEN and self._state is not HEARD:
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
