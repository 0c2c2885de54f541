"""The tests of the HTTP cycle over HTTP/2: what it tells a fake engine goes to a real stream, too.

A client of the `h2` library receives what comes of that, and in the end it must have what the fake
one was told.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from aserver.engine_choice import choose_wire
from aserver.engines.h2 import H2
from aserver.limits import StreamLimits
from aserver.seams import Head
from aserver.types import Headers, Request
from tests import stage
from tests.fakes import LIMITS, FakeDefaults, FakeEngine, FakeSink

_LIMITS = StreamLimits(100, 100, 65_536, 0, 20, 60, False)


class Client:
    """What a client has seen of its one request: the parts of the response, in order."""

    def __init__(self, request: Request) -> None:
        self.interim: list[int] = []
        self.status: int | None = None
        self.body = b""
        self.trailers: Headers = []
        self.end = ""
        self._connection = H2Connection(H2Configuration(header_encoding=None))
        self._connection.initiate_connection()
        fields = [
            (b":method", request.method.encode("ascii")),
            (b":scheme", b"http"),
            (b":authority", b"example.org"),
            (b":path", request.target),
        ]
        if request.content_length:
            fields.append((b"content-length", b"%d" % request.content_length))
        if request.accepts_trailers:
            fields.append((b"te", b"trailers"))
        self._connection.send_headers(1, fields, end_stream=request.content_length == 0)

    def to_server(self) -> bytes:
        return self._connection.data_to_send()

    def feed(self, data: bytes) -> None:
        for event in self._connection.receive_data(data):
            match event:
                case InformationalResponseReceived(headers=[(_, status), *_]):
                    self.interim.append(int(status))
                case ResponseReceived(headers=[(_, status), *_]):
                    self.status = int(status)
                case TrailersReceived(headers=headers):
                    self.trailers = [(bytes(name), bytes(value)) for name, value in headers]
                case DataReceived(data=data, flow_controlled_length=size):
                    self.body += data
                    self._connection.acknowledge_received_data(size, 1)
                case StreamEnded():
                    self.end = "end"
                case StreamReset():
                    self.end = self.end or "reset"


class OverHttp2(FakeEngine):
    """A fake engine that also tells a stream of HTTP/2."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._sink = FakeSink()
        new_wire = choose_wire(http2=True)
        assert new_wire is not None
        self._client = Client(request)
        self._server = H2(self._sink, FakeDefaults(), new_wire, _LIMITS, LIMITS)
        self._server.feed(self._client.to_server())
        self._stream = self._server.streams[1]

    def _pass(self, call: Callable[..., Any], *arguments: Any) -> None:
        call(*arguments)
        self._exchange()

    def _exchange(self) -> None:
        """Let both sides hear of each other until they have nothing more to say."""
        while True:
            later, self._sink.later = self._sink.later, []
            for callback in later:
                callback()
            data, self._sink.written = self._sink.written, b""
            self._client.feed(data)
            answer = self._client.to_server()
            if answer:
                self._server.feed(answer)
            elif not later:
                return

    def respond(self, head: Head | None, body: bytes, more: bool) -> bool:
        has_room = super().respond(head, body, more)
        if head is not None and head.status == 304 and head.content_length:
            self.is_comparable = False  # right (RFC 9110 section 8.6), but this client is shocked
        if self.is_comparable:
            self._pass(self._stream.respond, head, body, more)
        return has_room

    def inform(self, status: int, headers: Headers) -> None:
        super().inform(status, headers)
        self._pass(self._stream.inform, status, headers)

    def trailers(self, headers: Headers) -> None:
        super().trailers(headers)
        self._pass(self._stream.trailers, headers)

    def consumed(self, size: int) -> None:
        super().consumed(size)
        self._pass(self._stream.consumed, size)

    def abort(self) -> None:
        super().abort()
        self._pass(self._stream.abort)

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        taken = super().send_file(fd, offset, count)
        if taken:  # by a kernel that does not know of frames: not over HTTP/2
            self.is_comparable = False
        return taken

    is_comparable = True

    def compare(self) -> None:
        """What the client has must be what was told."""
        responses = [call for call in self.calls if call[0] == "respond"]
        client = self._client
        assert client.interim == [call[1] for call in self.calls if call[0] == "inform"]
        assert client.status == (responses[0][1] if responses else None)
        assert client.body == b"".join(call[2] for call in responses)
        trailers = [call[1] for call in self.calls if call[0] == "trailers"]
        assert client.trailers == (trailers[0] if trailers else [])
        if trailers or (responses and not responses[-1][3]):
            assert client.end == "end"
        else:
            assert client.end == ("reset" if ("abort",) in self.calls else "")


@pytest.fixture(params=["alone", "HTTP/2"], autouse=True)
def carrier(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[OverHttp2]]:
    """Each test once with the fake engine alone, and once with a stream behind it.

    The value are the engines that are to be looked at in the end.
    """
    made: list[OverHttp2] = []
    if request.param == "alone":
        yield made
        return

    def new_engine(request: Request) -> FakeEngine:
        made.append(OverHttp2(request))
        return made[-1]

    monkeypatch.setattr(stage, "new_engine", new_engine)
    yield made
    for engine in made:
        if engine.is_comparable:
            engine.compare()
