"""Clients outside, as a proxy sees them: at an address of their own, asking for our host."""

import json
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.certificates import Authority
from tests.deploy.fronts import HOST, Front
from tests.processes import DEADLINE

# The visitor's: nginx has another, and so has the server.
ADDRESS = "127.0.0.9"
HTTP1, HTTP2, WEBSOCKET = KINDS = ("http1", "http2", "websocket")

Fields = Sequence[tuple[str, str]]


class Visitor:
    """Who comes to a proxy from outside.

    Args:
        front: Where to.
        authority: Whom to believe with TLS; without it, in cleartext.
        host: What is asked for.
    """

    def __init__(self, front: Front, authority: Authority | None = None, host: str = HOST) -> None:
        self.front = front
        self.authority = authority
        self._host = host
        self.scheme = "http" if authority is None else "https"
        self.origin = f"{self.scheme}://{host}"
        self.kinds = KINDS if authority is not None else (HTTP1, WEBSOCKET)

    def _context(self) -> ssl.SSLContext | None:
        """A new one for each connection: clients write into it what they speak."""
        return None if self.authority is None else self.authority.client()

    @contextmanager
    def client(self, *, http2: bool = False) -> Iterator[httpx.Client]:
        """httpx, for paths of our host."""
        transport = httpx.HTTPTransport(
            verify=self._context() or False, http1=not http2, http2=http2, local_address=ADDRESS
        )
        url = self.front.url if self.authority is None else self.front.tls_url
        with httpx.Client(
            transport=transport, base_url=url, headers={"Host": self._host}, timeout=DEADLINE
        ) as client:
            yield client

    def get(self, path: str, fields: Fields = (), *, http2: bool = False) -> httpx.Response:
        """Ask for a page."""
        with self.client(http2=http2) as client:
            extensions = {"sni_hostname": self._host}
            return client.get(path, headers=list(fields), extensions=extensions)

    @contextmanager
    def websocket(self, path: str, fields: Fields = ()) -> Iterator[ClientConnection]:
        """Open a WebSocket."""
        scheme = "ws" if self.authority is None else "wss"
        context = self._context()
        if context is not None:
            # This client reads in a thread while it writes in another. With TLS 1.3, whose session
            # tickets come just then, OpenSSL lost the handshake in one of a thousand connections.
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        with connect(
            f"{scheme}://{self._host}{path}",
            sock=self._tcp(),
            ssl=context,
            origin=Origin(self.origin),
            additional_headers=list(fields),
            proxy=None,
        ) as connection:
            yield connection

    def connect(self) -> socket.socket:
        """A new connection, for bytes."""
        context = self._context()
        return context.wrap_socket(self._tcp(), server_hostname=HOST) if context else self._tcp()

    def _tcp(self) -> socket.socket:
        address = self.front.address if self.authority is None else self.front.tls_address
        return socket.create_connection(address, DEADLINE, (ADDRESS, 0))

    def see(self, kind: str, path: str, fields: Fields = ()) -> dict[str, Any]:
        """What `tests.deploy.site` tells of a request of this kind."""
        if kind == WEBSOCKET:
            with self.websocket(path, fields) as connection:
                told = json.loads(connection.recv(DEADLINE))
        else:
            response = self.get(path, fields, http2=kind == HTTP2)
            assert response.status_code == 200, response.text
            told = response.json()
        assert isinstance(told, dict)
        return told
