"""TLS without sockets: a client's side in memory, at the other end of a transport in memory."""

import ssl
from typing import Any

from aserver.connection import Connection
from aserver.tls_contexts import Certificates
from aserver.tls_options import Tls
from tests.certificates import HELLO, Authority, Issued
from tests.fakes import FakeSocket, MemoryTransport
from tests.stage import Stage

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = (TLS_1_2, TLS_1_3)

ALERT, HANDSHAKE_RECORD, DATA_RECORD = 21, 22, 23  # RFC 8446 section 5.1
_ROUNDS = 10  # more flights than any handshake has


def certificates(*issued: Issued, http2: bool = True, **tls: Any) -> Certificates:
    """The server's side."""
    made = Tls(
        certfile=tuple(each.certificate for each in issued),
        keyfile=tuple(each.key for each in issued),
        **tls,
    )
    return Certificates(made.pairs, made, http2=http2)


def client_of(
    authority: Authority, version: ssl.TLSVersion | None = None, *alpn: str
) -> ssl.SSLContext:
    """A client's context, for one version of TLS or for any."""
    context = authority.client(alpn=alpn)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Line(MemoryTransport):
    """A transport in memory whose protocol may change; `pieces` are the sizes of the writes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.pieces: list[int] = []
        super().__init__(*arguments, **options)

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def write(self, data: Any) -> None:
        self.pieces.append(len(data))
        super().write(data)


class TlsPeer:
    """The client's end.

    Args:
        line: The server's transport.
        context: The client's.
        name: What the client calls the server.

    Attributes:
        has_ended: Whether the server has said that nothing more comes of it.
    """

    def __init__(self, line: Line, context: ssl.SSLContext, name: str | None = HELLO) -> None:
        self.line = line
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.has_ended = False

    # Bytes as they are on the wire

    def feed(self, data: bytes) -> None:
        """Let the server receive these."""
        assert self.line.reading, "the server does not read now"
        self.line.get_protocol().data_received(data)

    def feed_eof(self) -> None:
        """End the sending side of the transport, below TLS."""
        assert self.line.reading, "the server does not read now"
        self.line.reading = False
        if not self.line.get_protocol().eof_received():
            self.line.close()

    def pull(self) -> bytes:
        """Take what the server has sent."""
        data, self.line.received = self.line.received, b""
        self.incoming.write(data)
        return data

    def push(self, step: int = 1 << 30) -> None:
        """Let the server receive what is encrypted, so many bytes at a time."""
        data = self.outgoing.read()
        for start in range(0, len(data), step):
            self.feed(data[start : start + step])

    # TLS

    def hello(self) -> bytes:
        """The first flight."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self.outgoing.read()
        raise AssertionError("a handshake without a server")

    def shake_hands(self, step: int = 1 << 30) -> None:
        """The whole handshake; raises ssl.SSLError if the client is not content."""
        for _ in range(_ROUNDS):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.push(step)
                self.pull()
            except ssl.SSLError:
                self.push(step)
                raise
            else:
                self.push(step)
                return
        raise AssertionError("the handshake does not come to an end")

    def send(self, data: bytes, step: int = 1 << 30) -> None:
        """Encrypt, and let the server receive it."""
        self.tls.write(data)
        self.push(step)

    def received(self) -> bytes:
        """What came since this was last asked."""
        self.pull()
        data = b""
        while not self.has_ended:
            try:
                piece = self.tls.read(1 << 16)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:  # both have said so
                piece = b""
            self.has_ended = not piece
            data += piece
        return data

    def notify(self) -> None:
        """Say that nothing more comes of the client (RFC 8446 section 6.1: close_notify)."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # it waits for the server's
        except ssl.SSLError as error:
            assert error.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY"  # noqa: PT017
        self.push()


class TlsClient(TlsPeer):
    """A client of a `Connection`; `tests.stage.Stage.call` takes it for one of its own."""

    def __init__(
        self,
        stage: Stage,
        source: Certificates,
        context: ssl.SSLContext,
        sock: FakeSocket | None = None,
    ) -> None:
        self.connection = Connection(stage.context, source)
        super().__init__(Line(self.connection, sock), context)

    @property
    def transport(self) -> Line:
        return self.line

    @property
    def phase(self) -> str:
        return self.connection.phase.name

    def closed(self) -> bool:
        """Whether the server has closed."""
        return self.line.closed

    def aborted(self) -> bool:
        """Whether it has done so without regard for what was on its way."""
        return self.line.aborted

    def is_read(self) -> bool:
        """Whether the server takes what is sent."""
        return self.line.reading

    def vanish(self) -> None:
        """The client is gone, its connection reset."""
        self.line.abort()
