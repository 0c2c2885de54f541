"""Conversations in any order of events: pieces, answers, pauses, ends, on both sides."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.fields import response_head
from aserver.engines.h1 import H1
from aserver.limits import DRAIN_BYTES, RequestLimits
from aserver.seams import Channel
from aserver.types import ProtocolError, Request
from tests.engines.wire import get, lines
from tests.fakes import LIMITS, PARSERS, FakeCycle, FakeDefaults, FakeSink

SMUGGLED = get("/smuggled")


@dataclass
class Asked:
    """One request, and how its application behaves."""

    number: int
    method: str = "GET"
    body: bytes = b""
    framing: str = "none"
    fields: tuple[str, ...] = ()
    acts: str = "when told"
    consumes: bool = True
    response: bytes = b""
    with_length: bool = False
    cuts: list[int] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        fields, body = ["Host: a", *self.fields], self.body
        if self.framing == "length":
            fields.append(f"Content-Length: {len(body)}")
        elif self.framing == "chunked":
            fields.append("Transfer-Encoding: chunked")
            half = len(body) // 2
            chunks = [chunk for chunk in (body[:half], body[half:]) if chunk]
            body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
            body += b"0\r\n\r\n"
        return lines(f"{self.method} /{self.number} HTTP/1.1", *fields) + body


class Cycle(FakeCycle):
    """An application that may act in any call from the engine."""

    def __init__(self, stage: "Stage", request: Request) -> None:
        super().__init__(request, None)
        assert request.target[1:].isdigit(), "a body was taken for a request"
        self.stage = stage
        self.asked = stage.requests[int(request.target[1:])]
        self.state = "thinks"  # streams, over, broken

    def start(self) -> None:
        super().start()
        if self.asked.acts == "at once":
            self.answer()
        elif self.asked.acts == "streams":
            self.begin()

    def feed(self, data: bytes) -> None:
        assert self.stage.engine.cycle is self
        super().feed(data)
        assert self.asked.body.startswith(self.body)
        if self.asked.consumes:
            self.stage.engine.consumed(len(data))
        if self.asked.acts == "at its body":
            self.answer()

    def feed_eof(self) -> None:
        super().feed_eof()
        assert self.body == self.asked.body
        if self.asked.acts == "at its end":
            self.answer()

    def lost(self) -> None:
        super().lost()
        assert self.state != "over"

    @property
    def may_act(self) -> bool:
        return self.stage.engine.cycle is self and self.state in ("thinks", "streams")

    def begin(self) -> None:
        """The response's head, and half of its body."""
        if self.may_act and self.state == "thinks":
            self.state = "streams"
            half = self.asked.response[: len(self.asked.response) // 2]
            self._respond(half, more=True)

    def end(self) -> None:
        """The rest."""
        if self.may_act and self.state == "streams":
            self.state = "over"
            self._give_back()
            rest = self.asked.response[len(self.asked.response) // 2 :]
            self.stage.engine.respond(None, self._unless_bodyless(rest), False)

    def answer(self) -> None:
        """All of it at once; or the rest, if it has begun."""
        if self.may_act and self.state == "thinks":
            self.state = "over"
            self._give_back()
            self._respond(self.asked.response, more=False)
        else:
            self.end()

    def give_up(self) -> None:
        """Break the response."""
        if self.may_act and self.state == "streams":
            self.state = "broken"
            self.stage.engine.abort()

    def _respond(self, body: bytes, *, more: bool) -> None:
        fields = [(b"x-number", b"%d" % self.asked.number)]
        if self.asked.with_length:
            fields.append((b"content-length", b"%d" % len(self.asked.response)))
        head = response_head(200, fields, self.asked.method)
        self.stage.engine.respond(head, self._unless_bodyless(body), more)

    def _unless_bodyless(self, body: bytes) -> bytes:
        return b"" if self.asked.method == "HEAD" else body

    def _give_back(self) -> None:
        """As a cycle does with the body that nobody took."""
        if self.body and not self.asked.consumes:
            self.stage.engine.consumed(len(self.body))


class StageSink(FakeSink):
    """It sees that nothing is closed under a response."""

    def __init__(self, stage: "Stage") -> None:
        super().__init__()
        self.stage = stage
        self.closed = 0
        self.full = False  # whether the peer does not read what is written now

    def write(self, data: bytes, /) -> None:
        super().write(data)
        self.write_paused = self.write_paused or self.full

    def on_request(self, channel: Channel, request: Request) -> Cycle:
        assert not self.closed
        assert not self.write_paused, "begun for who does not read"
        assert all(cycle.state == "over" for cycle in self.stage.all)
        cycle = Cycle(self.stage, request)
        self.stage.all.append(cycle)
        return cycle

    def close(self) -> None:
        self._close()
        super().close()

    def linger(self) -> None:
        self._close()
        super().linger()

    def _close(self) -> None:
        assert not self.closed
        self.closed += 1
        assert all(cycle.state != "thinks" and cycle.state != "streams" for cycle in self.stage.all)


class Stage:
    """The engine, and the moves of both ends."""

    def __init__(
        self, parser: str, requests: list[Asked], pieces: list[bytes], limits: RequestLimits
    ) -> None:
        self.requests = requests
        self.pieces = pieces
        self.all: list[Cycle] = []
        self.eof = False
        self.drained = False
        self.sink = StageSink(self)
        self.engine = H1(self.sink, FakeDefaults(), PARSERS[parser], limits)

    def __repr__(self) -> str:
        return f"<Stage {self.requests!r} {self.pieces!r} {self.engine!r} {self.all!r}>"

    @property
    def over(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return bool(self.sink.closed) or "reset" in self.sink.calls

    def feed(self) -> None:
        if self.pieces and self.sink.reading and not self.eof:
            try:
                self.engine.feed(self.pieces.pop(0))
            except ProtocolError as error:
                raise AssertionError("a valid request is refused") from error

    def current(self, move: Callable[[Cycle], None]) -> None:
        if self.all:
            move(self.all[-1])

    def stop_to_read(self) -> None:
        self.sink.full = True

    def read_on(self) -> None:
        self.sink.full = False
        if self.sink.write_paused:
            self.sink.write_paused = False
            self.engine.resume()

    def drain(self) -> None:
        self.drained = True
        self.engine.drain()

    def send_eof(self) -> None:
        if not self.eof and self.sink.reading and not self.over:
            self.eof = True
            if not self.engine.feed_eof():
                # The transport closes by itself.
                self.sink.closed += 1
                self.pieces = []

    def move(self, name: str) -> None:
        """One of `MOVES`."""
        moves: dict[str, Callable[[], None]] = {
            "feed": self.feed,
            "answer": lambda: self.current(Cycle.answer),
            "begin": lambda: self.current(Cycle.begin),
            "end": lambda: self.current(Cycle.end),
            "give up": lambda: self.current(Cycle.give_up),
            "stop to read": self.stop_to_read,
            "read on": self.read_on,
            "drain": self.drain,
            "eof": self.send_eof,
        }
        moves[name]()

    def finish(self) -> None:
        """Everybody does what they can, until nothing more happens."""
        for _ in range(10 * (len(self.pieces) + len(self.requests)) + 10):
            self.read_on()
            self.feed()
            self.current(Cycle.answer)


MOVES = ["feed"] * 6 + ["answer"] * 3 + ["begin", "end", "end", "stop to read", "read on"]
ENDS = ["drain", "eof", "give up"]


@st.composite
def asked(draw: st.DrawFn, number: int) -> Asked:
    framing = draw(st.sampled_from(["none", "none", "length", "chunked"]))
    acts = ["when told", "when told", "at once", "streams", "at its body", "at its end"]
    body = draw(st.sampled_from([b"hello", SMUGGLED, b"0\r\n\r\n", bytes(300), SMUGGLED * 9]))
    close = draw(st.integers(0, 19)) == 0
    return Asked(
        number,
        draw(st.sampled_from(["GET", "HEAD", "POST"])),
        b"" if framing == "none" else body,
        framing,
        ("Connection: close",) if close else (),
        draw(st.sampled_from(acts)),
        draw(st.booleans()),
        draw(st.sampled_from([b"", b"x", b"response" * 5])),
        draw(st.booleans()),
    )


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    count = draw(st.integers(1, 6))
    requests = [draw(asked(number)) for number in range(count)]
    data = b"".join(request.data for request in requests)
    cuts = draw(st.sets(st.integers(1, len(data) - 1), max_size=12))
    pieces = [data[a:b] for a, b in pairwise([0, *sorted(cuts), len(data)])]
    limits = LIMITS._replace(buffer=draw(st.sampled_from([1, 10, 100, 1000])))
    return Stage(draw(st.sampled_from([*PARSERS])), requests, pieces, limits)


@settings(max_examples=300)
@given(stages(), st.lists(st.sampled_from(MOVES), max_size=40))
def test_every_request_is_answered_in_order(stage: Stage, moves: list[str]) -> None:
    for name in moves:
        stage.move(name)
    stage.finish()
    closing = [request.number for request in stage.requests if request.fields]
    last = min(closing, default=len(stage.requests) - 1)
    numbers = read_responses(stage)
    assert numbers == list(range(len(stage.all)))
    assert all(cycle.state == "over" and not cycle.disconnected for cycle in stage.all)
    if stage.sink.closed:
        # By a request that asked for it; or because of a body that was not worth waiting for.
        early = stage.requests[numbers[-1]]
        assert numbers[-1] == last or len(early.body) > DRAIN_BYTES
    else:
        assert numbers == list(range(len(stage.requests)))
        assert not stage.pieces
        assert stage.sink.reading
        assert not stage.engine.mid_head
        assert stage.sink.calls[-1] == "idle"
        assert repr(stage.engine) == "<H1 reading=HEAD writing=IDLE held=0>"


@settings(max_examples=300)
@given(stages(), st.lists(st.sampled_from(MOVES + ENDS), max_size=40), st.booleans())
def test_every_end(stage: Stage, moves: list[str], finished: bool) -> None:
    for name in moves:
        stage.move(name)
    if finished:
        stage.finish()
        if not stage.over and not stage.eof:
            # Open to the end, unless it drains with nothing left to say: then it was idle.
            assert stage.sink.calls[-1:] == ["idle"]
            assert not stage.pieces
        assert not stage.eof or stage.over
    over = [cycle for cycle in stage.all if cycle.state == "over"]
    stage.engine.lost()
    assert over == [cycle for cycle in stage.all if not cycle.disconnected or cycle.state == "over"]
    for cycle in stage.all:
        assert cycle.calls.count("start") == 1
        assert cycle.calls.count("lost") == (cycle.state != "over")
    numbers = read_responses(stage)
    assert numbers == list(range(len(numbers)))
    # One that is broken off may have all of its bytes, if their number was announced.
    assert len(over) <= len(numbers) <= len(over) + 1


def read_responses(stage: Stage) -> list[int]:
    """What a client makes of it: the numbers of the complete responses."""
    data, numbers = stage.sink.written, list[int]()
    for request in stage.requests:
        if not data:
            break
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=request.method, target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        response = client.next_event()
        assert isinstance(response, h11.Response)
        assert dict(response.headers)[b"x-number"] == b"%d" % request.number
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        if event is h11.NEED_DATA:
            return numbers  # it was broken
        assert isinstance(event, h11.EndOfMessage)
        assert body == (b"" if request.method == "HEAD" else request.response)
        numbers.append(request.number)
        data, _ = client.trailing_data
    assert data == b""
    return numbers
