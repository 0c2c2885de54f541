"""An application that keeps what it is told and says what the test wants, and who asks it.

Daphne's users test their applications against recorders of this kind: the tests beside this one
hold what such a test sees of the server.
"""

import queue
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any, NamedTuple

from hypothesis import settings

from aserver.testing import serve
from aserver.types import Headers, Message, Receive, Scope, Send
from tests.processes import DEADLINE

# Each example is a request to a real server.
FEW = settings(max_examples=30, deadline=None, derandomize=True, database=None)

START: dict[str, Any] = {"type": "http.response.start", "status": 200}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"hello"}
ACCEPT: dict[str, Any] = {"type": "websocket.accept"}


@dataclass
class Call:
    """One call of the application: its scope, what it received, what its `send()` raised."""

    scope: Scope
    received: list[Message] = field(default_factory=list)
    raised: Exception | None = None

    @property
    def kinds(self) -> list[str]:
        """The types of what it received."""
        return [message["type"] for message in self.received]

    @property
    def headers(self) -> Headers:
        """Those of the scope, but for the one that the request needs."""
        return [each for each in self.scope["headers"] if each[0] != b"host"]


class Recorder:
    """The application.

    Attributes:
        says: What it sends, when a request's body or a handshake is there.
    """

    def __init__(self) -> None:
        self.says: Sequence[Message] = (START, BODY)
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] in ("http", "websocket"), "it takes no part in the lifespan"
        call = Call(scope)
        try:
            more = True
            while more:
                call.received.append(await receive())
                more = call.received[-1].get("more_body", False)
            for message in self.says:
                await send(message)
            while not call.kinds[-1].endswith(".disconnect"):
                call.received.append(await receive())
        except ValueError as error:
            call.raised = error
            raise
        finally:
            self._calls.put(call)

    def next(self) -> Call:
        """The next call that has ended."""
        return self._calls.get(timeout=DEADLINE)


class Answer(NamedTuple):
    """What the client got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def ask(
    server: serve,
    target: str = "/",
    headers: Sequence[tuple[bytes, bytes]] = (),
    *,
    method: str = "GET",
    body: bytes = b"",
) -> Answer:
    """A request as it is written, on a connection of its own."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: h"]
    lines += [b"%b: %b" % pair for pair in headers]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        return read_answer(sock, method)


def read_answer(sock: socket.socket, method: str = "GET") -> Answer:
    """The next response."""
    response = HTTPResponse(sock, method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, response.getheaders(), body)
