"""An HTTP/1 engine between two ends that are played by the test."""

import re
from collections.abc import Callable
from typing import NamedTuple

from aserver.engines.fields import response_head
from aserver.engines.h1 import H1
from aserver.limits import RequestLimits
from aserver.types import HeaderPairs, ProtocolError
from tests.corpus import Found
from tests.fakes import LIMITS, PARSERS, FakeCycle, FakeDefaults, FakeSink

DEFAULTS = ("date: now", "server: test")


class Wire:
    """The engine, its sink, and both ends' moves.

    Args:
        parser: Its name.
        eager: An application that acts while the request is being fed.
    """

    def __init__(
        self,
        parser: str,
        eager: Callable[["Wire", FakeCycle], None] | None = None,
        limits: RequestLimits = LIMITS,
    ) -> None:
        self.sink = FakeSink(None if eager is None else lambda cycle: eager(self, cycle))
        self.engine = H1(self.sink, FakeDefaults(), PARSERS[parser], limits)
        self.refusals: list[ProtocolError] = []
        self._answered = 0

    def feed(self, *pieces: bytes) -> None:
        """Bytes from the peer, taken as the connection takes them."""
        for data in pieces:
            try:
                self.engine.feed(data)
            except ProtocolError as error:
                self.refusals.append(error)
                self.engine.refuse(error)

    def feed_bytewise(self, data: bytes) -> None:
        """The same, each byte alone."""
        self.feed(*(data[i : i + 1] for i in range(len(data))))

    @property
    def cycles(self) -> list[FakeCycle]:
        """One for each request whose head has come."""
        return self.sink.cycles

    @property
    def calls(self) -> list[str]:
        """What the sink was told, but for writes, since this was last asked."""
        calls, self.sink.calls = self.sink.calls, []
        return calls

    @property
    def sent(self) -> bytes:
        """What the peer got since this was last asked."""
        written, self.sink.written = self.sink.written, b""
        return written

    @property
    def all_refusals(self) -> list[ProtocolError]:
        """Found while being fed, or in what was held."""
        return self.refusals + self.sink.refused

    def reading(self) -> bool:
        """Whether the engine takes bytes from the peer now."""
        return self.sink.reading

    def mid_head(self) -> bool:
        """Whether a head has arrived in part."""
        return self.engine.mid_head

    @property
    def statuses(self) -> list[int]:
        """The same, if only the statuses matter."""
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+) ", self.sent)]

    @property
    def current(self) -> FakeCycle:
        """The cycle whose turn it is."""
        return [cycle for cycle in self.cycles if cycle.started][-1]

    def begin(
        self, status: int = 200, headers: HeaderPairs = (), body: bytes = b"", more: bool = True
    ) -> bool:
        """The application's head, and the first of its body, as a cycle passes them on."""
        cycle = self.current
        self._answered += not more
        head = response_head(status, headers, cycle.request.method)
        return self.engine.respond(head, b"" if head.bodyless else body, more)

    def go_on(self, body: bytes, more: bool = True) -> bool:
        """More of the body."""
        self._answered += not more
        return self.engine.respond(None, body, more)

    def answer(self, body: bytes = b"", *headers: tuple[bytes, bytes], status: int = 200) -> None:
        """A whole response in one."""
        self.begin(status, headers, body, more=False)

    def answer_all(self) -> None:
        """Answer everybody whose turn it is, or comes by that."""
        while self._answered < sum(cycle.started for cycle in self.cycles):
            self.answer()


class Outcome(NamedTuple):
    """What a conversation came to: the requests found, the statuses sent, the refusals' reasons."""

    found: list[Found]
    statuses: list[int]
    reasons: list[str]


def exchange(parser: str, pieces: list[bytes], limits: RequestLimits = LIMITS) -> Outcome:
    """A conversation in which every request is answered once it is complete."""
    wire = Wire(parser, limits=limits)
    answered = 0
    for piece in pieces:
        wire.feed(piece)
        while answered < len(wire.cycles):
            cycle = wire.cycles[answered]
            if not cycle.started or not cycle.complete or cycle.disconnected:
                break
            answered += 1
            wire.answer()
    reasons = [error.reason for error in wire.all_refusals]
    return Outcome([_found(cycle) for cycle in wire.cycles], wire.statuses, reasons)


def _found(cycle: FakeCycle) -> Found:
    request = cycle.request
    return Found(
        method=request.method,
        target=request.target,
        headers=request.headers,
        version=request.http_version,
        length=request.content_length,
        keep_alive=request.keep_alive,
        expects_continue=request.expects_continue,
        upgrade=request.upgrade,
        body=cycle.body,
        complete=cycle.complete,
    )


def lines(*each: str) -> bytes:
    """A head."""
    return "".join(f"{line}\r\n" for line in (*each, "")).encode("latin-1")


def get(path: str = "/", *fields: str, version: str = "1.1", method: str = "GET") -> bytes:
    """A request without a body."""
    return lines(f"{method} {path} HTTP/{version}", "Host: a", *fields)


def post(size: int, *fields: str) -> bytes:
    """The head of a POST with so many bytes to come."""
    return get("/", f"Content-Length: {size}", *fields, method="POST")


CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")


def plain(body: bytes = b"", *end: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    """A response whose length the server found out; `end` are the fields behind the defaults."""
    length = f"content-length: {len(body)}"
    return lines(f"HTTP/{version} {status}", length, *DEFAULTS, *end) + body


def refused(status: str, reason: str) -> bytes:
    """The answer to a request that is none."""
    body = f"{reason}\n".encode()
    return (
        lines(
            f"HTTP/1.1 {status}",
            *DEFAULTS,
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(body)}",
            "connection: close",
        )
        + body
    )


# A request that is refused, and the refusal.
BAD = get(version="2.0")
REFUSAL = refused(
    "505 HTTP Version Not Supported",
    "HTTP/2.0 is not spoken here, only HTTP/1.0 and HTTP/1.1",
)
