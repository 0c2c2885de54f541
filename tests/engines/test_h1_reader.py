"""The reader by itself: what it passes on, when it reads on, and what it says of its state."""

from collections.abc import Callable

import pytest

from aserver.engines import h1_reader
from aserver.engines.grammar import check_unfinished
from aserver.engines.h1_reader import BODY, CLOSED, DISCARD, HEAD, HELD, RequestReader
from aserver.limits import DRAIN_BYTES, RequestLimits
from aserver.seams import Receiver
from aserver.types import ProtocolError, Request
from tests.engines.wire import BAD, CHUNKED, get, post
from tests.fakes import LIMITS, PARSERS, FakeCycle, FakeSink


class Answering:
    """The engine, seen from its reader: it only takes notes."""

    def __init__(self, parser: str, limits: RequestLimits = LIMITS) -> None:
        self.sink = FakeSink()
        self.reader = RequestReader(self, self.sink, PARSERS[parser], limits)
        self.cycle: Receiver | None = None
        self.cycles: list[FakeCycle] = []
        self.discarded: list[bool] = []
        self.at_begin: Callable[[], None] = lambda: None

    def begin(self, request: Request) -> None:
        self.cycle = cycle = FakeCycle(request, None)
        self.cycles.append(cycle)
        self.at_begin()

    def on_discarded(self, *, whole: bool) -> None:
        self.discarded.append(whole)

    def mid_head(self) -> bool:
        """Whether a head has arrived in part."""
        return self.reader.mid_head

    @property
    def targets(self) -> list[bytes]:
        return [cycle.request.target for cycle in self.cycles]


@pytest.fixture
def answering(parser: str) -> Answering:
    return Answering(parser)


@pytest.fixture
def reader(answering: Answering) -> RequestReader:
    return answering.reader


# Heads


def test_one_request_at_a_time(reader: RequestReader, answering: Answering) -> None:
    reader.feed(get("/1") + get("/2") + get("/3")[:7])
    assert answering.targets == [b"/1"]
    assert reader.state is HELD
    assert reader.held == get("/2") + get("/3")[:7]
    reader.next()
    assert answering.targets == [b"/1", b"/2"]
    reader.next()
    assert reader.state is HEAD
    assert reader.mid_head
    reader.feed(get("/3")[7:])
    assert answering.targets == [b"/1", b"/2", b"/3"]
    assert not reader.held
    assert not reader.mid_head


def test_what_is_held_is_not_looked_at(reader: RequestReader, answering: Answering) -> None:
    reader.feed(get())
    reader.feed(b"\x00\n\n" + BAD)
    assert reader.held == b"\x00\n\n" + BAD
    with pytest.raises(ProtocolError):
        reader.next()


def test_next_from_within(reader: RequestReader, answering: Answering) -> None:
    """An engine that answers while being fed: it goes on where it is, not one inside the other."""
    depth: list[int] = []

    def answer_at_once() -> None:
        depth.append(len(depth))
        reader.next()
        assert len(answering.cycles) == len(depth)

    answering.at_begin = answer_at_once
    reader.feed(get() * 2000 + b"GET")
    assert len(answering.cycles) == 2000
    assert reader.held == b"GET"


def test_a_head_that_begins_is_announced_once(reader: RequestReader, answering: Answering) -> None:
    for piece in (b"GET", b" / HTTP/1.1\r", b"\nHost: a\r\n"):
        reader.feed(piece)
        assert answering.sink.calls == ["head"]
        assert reader.mid_head
    reader.feed(b"\r\nGET")
    assert answering.sink.calls == ["head"]
    reader.next()
    assert answering.sink.calls == ["head", "head"]


@pytest.mark.parametrize("whole", [get(), post(5), CHUNKED])
def test_a_head_in_one_piece_needs_no_announcement(
    reader: RequestReader, answering: Answering, whole: bytes
) -> None:
    reader.feed(whole)
    assert answering.sink.calls == []


def test_mid_head(reader: RequestReader, answering: Answering) -> None:
    assert not answering.mid_head()
    reader.feed(b"\r\n")
    assert not answering.mid_head()
    reader.feed(b"G")
    assert answering.mid_head()
    reader.feed(get()[1:])
    assert not answering.mid_head()
    reader.next()
    assert not answering.mid_head()
    reader.feed(post(3))
    assert not answering.mid_head()
    reader.feed(b"ab")
    assert not answering.mid_head()
    reader.feed(b"cGET")
    assert not answering.mid_head()
    reader.next()
    assert answering.mid_head()
    reader.close()
    assert not answering.mid_head()


def test_bytes_that_come_singly_are_looked_at_once(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that drips in must not cost the square of its size."""
    seen = []

    def counting(held: bytearray, scanned: int, limits: RequestLimits) -> int:
        seen.append(len(held) - scanned)
        return check_unfinished(held, scanned, limits)

    monkeypatch.setattr(h1_reader, "check_unfinished", counting)
    data = get("/", *["X: " + "y" * 50] * 20)
    for i in range(len(data)):
        answering.reader.feed(data[i : i + 1])
    assert len(answering.cycles) == 1
    assert max(seen) <= 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", True),
        (b"HEAD / HTTP/1.1\r\nHost: \x00", True),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b"HEAD / HTTP/1.1\r\n\r\n", True),
        (b"\r\nHEAD / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"HEADS / HTTP/1.1\r\n\r\n", False),
        (b"HEAD", False),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_refused_head_request(
    answering: Answering, data: bytes, expected: bool, bytewise: bool
) -> None:
    """Whoever asked with HEAD would take a body for the next response."""
    reader = answering.reader
    answering.at_begin = reader.next
    for piece in [data[i : i + 1] for i in range(len(data))] if bytewise else [data]:
        try:
            reader.feed(piece)
        except ProtocolError:
            break
    assert reader.is_to_head is expected


def test_refusal_in_the_middle_of_others(reader: RequestReader, answering: Answering) -> None:
    answering.at_begin = reader.next
    with pytest.raises(ProtocolError, match=r"HTTP/2\.0"):
        reader.feed(get("/1") + get("/2") + BAD + get("/3"))
    assert answering.targets == [b"/1", b"/2"]
    reader.close()
    reader.feed(get("/4"))
    assert answering.targets == [b"/1", b"/2"]
    assert not reader.held


# Bodies


def test_body_as_it_comes(reader: RequestReader, answering: Answering) -> None:
    reader.feed(post(11))
    (cycle,) = answering.cycles
    assert reader.state is BODY
    reader.feed(b"hello")
    assert cycle.body == b"hello"
    assert reader.left == 6
    reader.feed(b" worldGET")
    assert cycle.body == b"hello world"
    assert cycle.calls == ["eof"]
    assert reader.state is HELD
    assert reader.held == b"GET"


def test_chunked_body_as_it_comes(reader: RequestReader, answering: Answering) -> None:
    reader.feed(CHUNKED + b"5\r\nhe")
    (cycle,) = answering.cycles
    assert reader.left is None
    assert cycle.body == b"he"
    reader.feed(b"llo\r\n1")
    assert cycle.body == b"hello"
    assert reader.held == b"1"
    reader.feed(b"\r\n!\r\n0\r\n")
    assert cycle.body == b"hello!"
    assert cycle.calls == []
    reader.feed(b"\r\nGET")
    assert cycle.calls == ["eof"]
    assert reader.held == b"GET"


def test_what_came_before_a_fault_is_passed_on(reader: RequestReader, answering: Answering) -> None:
    with pytest.raises(ProtocolError):
        reader.feed(CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n?\r\n")
    assert answering.cycles[0].body == b"hello world"


def test_small_chunks_are_passed_on_together(
    reader: RequestReader, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.feed(CHUNKED)
    (cycle,) = answering.cycles
    fed: list[bytes] = []
    monkeypatch.setattr(cycle, "feed", fed.append)
    reader.feed(b"1\r\nx\r\n" * 100)
    assert fed == [b"x" * 100]


@pytest.mark.parametrize("head", [post(10), CHUNKED])
def test_body_that_nobody_wants(reader: RequestReader, answering: Answering, head: bytes) -> None:
    chunked = head is CHUNKED
    reader.feed(head + (b"5\r\nhello\r\n" if chunked else b"hello"))
    answering.cycle = None
    reader.discard()
    assert reader.state is DISCARD
    reader.feed(b"5\r\nwor" if chunked else b"wor")
    assert answering.discarded == []
    reader.feed((b"ld\r\n0\r\n\r\n" if chunked else b"ld") + b"GET")
    assert answering.discarded == [True]
    assert answering.cycles[0].body == b"hello"
    assert reader.state is HELD
    assert reader.held == b"GET"


@pytest.mark.parametrize("over", [0, 1])
def test_body_that_nobody_wants_may_be_so_long(
    reader: RequestReader, answering: Answering, over: int
) -> None:
    reader.feed(CHUNKED)
    answering.cycle = None
    reader.discard()
    for _ in range(DRAIN_BYTES // 1024):
        reader.feed(b"400\r\n" + bytes(1024) + b"\r\n")
    assert answering.discarded == []
    reader.feed(b"%x\r\n" % over + bytes(over) + b"\r\n")
    assert answering.discarded == [not over]
    assert reader.state is (CLOSED if over else HELD)
    reader.feed(get())
    assert len(answering.cycles) == 1


def test_pausing_ends_when_nobody_wants_the_body(parser: str) -> None:
    answering = Answering(parser, LIMITS._replace(buffer=5))
    reader = answering.reader
    reader.feed(post(100) + bytes(6))
    assert not answering.sink.reading
    answering.cycle = None
    reader.discard()
    assert answering.sink.reading


@pytest.mark.parametrize("head", [post(10), CHUNKED])
def test_progress(parser: str, head: bytes) -> None:
    """What came of the body since it was last asked for, while it can come."""
    answering = Answering(parser, LIMITS._replace(buffer=7))
    reader = answering.reader

    def feed(data: bytes) -> None:
        reader.feed(b"%x\r\n%b\r\n" % (len(data), data) if head is CHUNKED else data)

    assert reader.progress() is None
    reader.feed(head)
    assert reader.progress() == 0
    feed(b"ab")
    feed(b"c")
    assert reader.progress() == 3
    assert reader.progress() == 0
    feed(b"defgh")
    assert not answering.sink.reading
    assert reader.progress() is None
    assert reader.progress() is None
    reader.consumed(8)
    assert reader.progress() is None  # for some of the time it was not read
    assert reader.progress() == 0
    feed(b"ij")
    if head is CHUNKED:
        assert reader.progress() == 2
        reader.feed(b"0\r\n\r\n")
    assert reader.progress() is None


def test_progress_while_nobody_wants_it(reader: RequestReader, answering: Answering) -> None:
    reader.feed(post(10) + b"abc")
    answering.cycle = None
    reader.discard()
    assert reader.progress() is None


@pytest.mark.parametrize("data", [get() + get(), get()[:9], post(5) + b"h", CHUNKED + b"5"])
def test_close_forgets(answering: Answering, data: bytes) -> None:
    answering.reader.feed(data)
    answering.reader.close()
    assert repr(answering.reader.state) == repr(CLOSED)
    assert not answering.reader.held
    answering.reader.feed(get("/late"))
    assert b"/late" not in answering.targets
    assert not answering.reader.held
