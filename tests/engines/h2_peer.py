"""An HTTP/2 connection between two ends that are played by the test, frame by frame.

The client's end keeps both ends' windows by itself, so that no library has to be trusted for them:
it fails when the server sends more than it may (RFC 9113 section 6.9).
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import hpack

from aserver.engines.h2 import H2
from aserver.engines.h2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from aserver.engines.h2_wire import WireSettings
from aserver.limits import RequestLimits, StreamLimits, sweep
from aserver.types import Field, ProtocolError
from tests.engines.h2_bytes import (
    INITIAL_WINDOW,
    SETTINGS_ACK,
    WINDOW,
    data,
    settings,
    window_update,
)
from tests.engines.h2_calls import Call, CountingWire, PeerSink
from tests.fakes import LIMITS, FakeDefaults

STREAMS = StreamLimits(
    streams=100,
    requests=inf,
    window=WINDOW,
    body_bytes=2_400,
    body_seconds=10,
    write_seconds=30,
    has_websockets=True,
)
DATE_AND_SERVER = [(b"date", b"now"), (b"server", b"test")]


class Sent(NamedTuple):
    """A frame of the server's."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of a RST_STREAM or GOAWAY frame."""
        return int.from_bytes(self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8])


@dataclass
class Reply:
    """What the client knows of a response."""

    status: int = 0
    fields: list[Field] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    body: bytes = b""
    sizes: list[int] = field(default_factory=list)  # of its DATA frames
    trailers: list[Field] | None = None
    ended: bool = False
    reset: int | None = None  # the first code

    @property
    def end(self) -> tuple[bool, int | None]:
        """Whether it is complete, and the code with which it was reset."""
        return self.ended, self.reset

    @property
    def is_over(self) -> bool:
        """Whether nothing more may come."""
        return self.ended or self.reset is not None


class Peer:
    """The engine, its sink, and both ends' moves.

    Attributes:
        room: What the client may send, by stream; 0 is the connection.
        window: What the server may send.

    Args:
        eager: An application that acts while the request is being fed.
        make: The kind of call that is made for a request.
        settings: The client's.
        hello: Whether it has begun, and read the server's settings.
    """

    def __init__(
        self,
        limits: StreamLimits = STREAMS,
        request_limits: RequestLimits = LIMITS,
        *settings: tuple[int, int],
        eager: Callable[[Call], object] | None = None,
        make: type[Call] = Call,
        hello: bool = True,
    ) -> None:
        self.sink = PeerSink(make, eager)
        self.engine = H2(self.sink, FakeDefaults(), self._new_wire, limits, request_limits)
        self.replies: defaultdict[int, Reply] = defaultdict(Reply)
        self.goaways: list[tuple[int, int]] = []  # last stream and code
        self.pings: list[Sent] = []
        self.settings: dict[int, int] = {}  # the server's
        self.first_room = self.first_window = WINDOW
        self.room: dict[int, int] = {0: WINDOW}
        self.window: dict[int, int] = {0: WINDOW}
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self._unasked: list[Sent] = []
        if hello:
            self.feed(PREFACE)
            self.tell(*settings)
            self.feed(SETTINGS_ACK)
            assert self.sent[0].kind == SETTINGS
            assert self.calls == ["idle"]

    def _new_wire(self, settings: WireSettings) -> CountingWire:
        self.wire = CountingWire(settings)
        return self.wire

    # From the client

    def feed(self, *pieces: bytes) -> None:
        """Bytes, taken as the connection takes them. The windows are not looked at."""
        for piece in pieces:
            try:
                self.engine.feed(piece)
            except ProtocolError as error:
                self.sink.on_refused(self.engine, error)

    def open(self, stream: int, *frames: bytes) -> Reply:
        """Frames that begin a stream."""
        self.room[stream] = self.first_room
        self.window[stream] = self.first_window
        self.feed(b"".join(frames))
        return self.replies[stream]

    def send(self, stream: int, payload: bytes, *, ended: bool = False) -> None:
        """A piece of a body, which must fit into the windows."""
        for name in (0, stream):
            self.room[name] -= len(payload)
            assert self.room[name] >= 0, "the test sends too much"
        self.feed(data(stream, payload, ended=ended))

    def tell(self, *pairs: tuple[int, int]) -> None:
        """Settings, of which the first window counts for open streams, too (section 6.9.2)."""
        self.read()
        first = dict(pairs).get(INITIAL_WINDOW, self.first_window)
        for stream in self.window:
            if stream:
                self.window[stream] += first - self.first_window
        self.first_window = first
        self.feed(settings(*pairs))

    def credit(self, stream: int, size: int) -> None:
        """Let the server send more."""
        self.read()
        self.window[stream] += size
        self.feed(window_update(stream, size))

    # From the server

    @property
    def made(self) -> list[Call]:
        """The calls of the application, one for each request."""
        return self.sink.made

    @property
    def calls(self) -> list[str]:
        """What the sink was told, but for writes, since this was last asked."""
        calls, self.sink.calls = self.sink.calls, []
        return calls

    @property
    def sent(self) -> list[Sent]:
        """Frames since this was last asked."""
        self.read()
        frames, self._unasked = self._unasked, []
        return frames

    def turn(self) -> None:
        """Everybody has had his turn: what was asked for `soon` comes now."""
        while self.sink.later:
            self.sink.later.pop(0)()

    def read(self) -> None:
        """Take everything that was written."""
        self.turn()
        written, self.sink.written = self.sink.written, b""
        position = 0
        while position < len(written):
            head = written[position : position + 9]
            end = position + 9 + int.from_bytes(head[:3], "big")
            assert end <= len(written), "a piece of a frame"
            stream = int.from_bytes(head[5:], "big")
            self._take(Sent(head[3], head[4], stream, written[position + 9 : end]))
            position = end

    def stop_reading(self) -> None:
        """The transport is full from now on."""
        self.sink.write_paused = self.sink.full = True

    def read_on(self) -> None:
        """The transport takes bytes again."""
        self.sink.full = False
        if self.sink.write_paused:
            self.sink.write_paused = False
            self.engine.resume()

    def wait(self, seconds: float) -> int:
        """Time passes; returns how many deadlines had passed."""
        self.sink.now += seconds
        return sweep(self.sink.now, list(self.sink.watched))

    def _take(self, sent: Sent) -> None:
        self._unasked.append(sent)
        reply = self.replies[sent.stream] if sent.stream else Reply()
        if sent.kind == DATA:
            self._take_data(sent, reply)
        elif sent.kind == HEADERS:
            self._take_head(sent, reply)
        elif sent.kind == RST_STREAM:
            reply.reset = sent.code if reply.reset is None else reply.reset
        elif sent.kind == WINDOW_UPDATE:
            if sent.stream in self.room:
                self.room[sent.stream] += int.from_bytes(sent.payload, "big")
        elif sent.kind == SETTINGS and not sent.flags & ACK:
            self._take_settings(sent.payload)
        elif sent.kind == PING:
            self.pings.append(sent)
        elif sent.kind == GOAWAY:
            self.goaways.append((int.from_bytes(sent.payload[:4], "big"), sent.code))
        else:
            assert sent.kind == SETTINGS, "a frame that no server sends"

    def _take_data(self, sent: Sent, reply: Reply) -> None:
        assert reply.status >= 200
        assert not reply.is_over
        size = len(sent.payload)
        self.window.setdefault(sent.stream, self.first_window)
        for name in (0, sent.stream):
            self.window[name] -= size
            assert not size or self.window[name] >= 0, "more than the window"
        reply.body += sent.payload
        reply.sizes.append(size)
        reply.ended = bool(sent.flags & END_STREAM)

    def _take_head(self, sent: Sent, reply: Reply) -> None:
        assert sent.flags & END_HEADERS
        assert not reply.is_over
        fields = [(item[0], item[1]) for item in self._decoder.decode(sent.payload, raw=True)]
        reply.ended = bool(sent.flags & END_STREAM)
        if reply.status:
            assert reply.ended
            reply.trailers = fields
            return
        assert fields[0][0] == b":status"
        status = int(fields[0][1])
        if status < 200:
            assert not reply.ended
            reply.interim.append(status)
        else:
            reply.status, reply.fields = status, fields[1:]

    def _take_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            name = int.from_bytes(payload[at : at + 2], "big")
            self.settings[name] = int.from_bytes(payload[at + 2 : at + 6], "big")
        self.first_room = self.settings.get(INITIAL_WINDOW, WINDOW)

    # What is left

    def assert_nothing_is_left(self) -> None:
        """No stream is remembered, and none is watched."""
        self.read()
        assert not self.engine.streams
        assert not self.engine.queue
        assert not self.sink.watched
