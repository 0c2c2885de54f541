"""TLS over a transport in memory, between a connection that only listens and a client."""

import asyncio
import ssl
from typing import Any

from aserver.tls_contexts import Certificates
from aserver.tls_transport import TlsTransport
from tests.tls_stage import Line, TlsPeer

PLAIN = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Owner(asyncio.Protocol):
    """A connection: `calls` is what it heard but for data, which is in `pieces`.

    Attributes:
        stays: What it answers to the end of the client's side.
        on_data: Called with each piece.
    """

    def __init__(self, source: Certificates) -> None:
        self.calls: list[str] = []
        self.pieces: list[bytes] = []
        self.stays = False
        self.extension: dict[str, Any] = {}
        self.on_data = self.pieces.append
        self._source = source

    def connection_made(self, transport: Any) -> None:
        loop = asyncio.get_running_loop()
        self.transport = TlsTransport(transport, self, self._source, loop)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def on_secured(self, protocol: str | None, extension: dict[str, Any]) -> None:
        assert not self.pieces
        self.extension = extension
        self.calls.append(f"secured {protocol}")

    def on_insecure(self, reason: str) -> None:
        self.calls.append(f"insecure: {reason}")

    def on_plaintext(self) -> bytes:
        self.calls.append("plaintext")
        return PLAIN

    def data_received(self, data: bytes) -> None:
        assert data
        self.on_data(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stays

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Scene:
    """A connection's owner, its TLS, and the client at the other end."""

    def __init__(self, source: Certificates, client: ssl.SSLContext) -> None:
        self.owner = Owner(source)
        self.line = Line(self.owner)
        self.peer = TlsPeer(self.line, client)
        self.tls = self.owner.transport

    def opened(self) -> "Scene":
        """The same behind the handshake; what the owner heard of it is forgotten."""
        self.peer.shake_hands()
        assert self.owner.calls[0].startswith("secured")
        self.owner.calls.clear()
        assert self.peer.received() == b""  # sessions, at most
        return self

    @property
    def state(self) -> str:
        return repr(self.tls).split()[1]

    @property
    def calls(self) -> list[str]:
        return self.owner.calls
