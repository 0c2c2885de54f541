"""A peer that leaves after any of its bytes, in any phase of the response."""

from collections.abc import Callable

import pytest

from tests.engines.wire import CHUNKED, Wire, get, lines, post
from tests.fakes import FakeCycle

REQUESTS = {
    "GET": get(),
    "pipelined": get("/1") + get("/2") + get("/3"),
    "with a length": post(5) + b"hello" + get("/next"),
    "chunked": CHUNKED + b"2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\n" + get("/next"),
    "behind an empty line": b"\r\n" + get(),
    "closing": get("/", "Connection: close") + get("/next"),
    "old": lines("POST / HTTP/1.0", "Content-Length: 2") + b"hi",
    "upgrading": get("/", "Connection: upgrade", "Upgrade: x") + get("/next"),
    "expecting": post(2, "Expect: 100-continue") + b"hi" + get("/next"),
    "refused": get("/") + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + get("/next"),
    "with a broken body": CHUNKED + b"2\r\nhiX" + get("/next"),
}


def nothing(wire: Wire) -> None:
    """The application thinks."""


def begin(wire: Wire) -> None:
    """It has begun to answer."""
    if turns(wire):
        wire.begin(body=b"a")


def begin_with_length(wire: Wire) -> None:
    if turns(wire):
        wire.begin(200, [(b"content-length", b"5")], b"a")


def answer_first(wire: Wire) -> None:
    if turns(wire):
        wire.answer()


def answer_all(wire: Wire) -> None:
    while turns(wire):
        wire.answer()


def answer_unread(wire: Wire) -> None:
    """It has answered, but the peer does not read that."""
    wire.sink.write_paused = True
    answer_first(wire)


def ask_for_the_body(wire: Wire) -> None:
    if turns(wire):
        wire.engine.inform(100, [])


def abort(wire: Wire) -> None:
    if turns(wire):
        wire.begin()
        wire.engine.abort()


def drain(wire: Wire) -> None:
    wire.engine.drain()
    answer_first(wire)


PHASES = [
    nothing,
    begin,
    begin_with_length,
    answer_first,
    answer_all,
    answer_unread,
    ask_for_the_body,
    abort,
    drain,
]


def turns(wire: Wire) -> bool:
    """Whether somebody is to be answered."""
    return wire.engine.cycle is not None and "close" not in wire.sink.calls


def check_over(wire: Wire, answered: set[FakeCycle]) -> None:
    """Everybody has heard what became of the request, once; and nothing is left."""
    assert wire.engine.cycle is None
    for cycle in wire.cycles:
        assert cycle.calls.count("start") == 1
        assert cycle.calls.count("eof") <= 1
        assert cycle.calls.count("lost") == (cycle not in answered), cycle


def completed(wire: Wire) -> set[FakeCycle]:
    """The cycles whose responses are complete."""
    return {
        cycle for cycle in wire.cycles if cycle is not wire.engine.cycle and not cycle.disconnected
    }


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
@pytest.mark.parametrize("name", REQUESTS)
def test_connection_is_lost(
    parser: str, name: str, phase: Callable[[Wire], None], bytewise: bool
) -> None:
    data = REQUESTS[name]
    for size in range(len(data) + 1):
        wire = Wire(parser)
        wire.feed_bytewise(data[:size]) if bytewise else wire.feed(data[:size])
        phase(wire)
        answered = completed(wire)
        wire.engine.lost()
        check_over(wire, answered)


@pytest.mark.parametrize("then_lost", [False, True])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
@pytest.mark.parametrize("name", REQUESTS)
def test_peer_sends_no_more(
    parser: str, name: str, phase: Callable[[Wire], None], then_lost: bool
) -> None:
    data = REQUESTS[name]
    for size in range(len(data) + 1):
        wire = Wire(parser)
        wire.feed(data[:size])
        phase(wire)
        begun = len(wire.cycles)
        waits = wire.engine.feed_eof()
        assert waits is (turns(wire) and "lost" not in wire.current.calls)
        if not waits:
            assert wire.engine.cycle is None or "close" in wire.calls  # aborted
        elif then_lost:
            wire.engine.hang_up()
            assert wire.current.calls[-1] == "hung up"
        else:
            wire.sink.write_paused = False
            answer_all(wire)
            assert wire.calls[-1] in ("close", "linger")  # closed once, behind the last
        if not waits:
            assert len(wire.cycles) == begun
        answered = completed(wire)
        wire.engine.lost()
        check_over(wire, answered)


def test_whoever_asked_before_the_end_is_answered(parser: str) -> None:
    """Each whole request, and none that is not."""
    data = get("/1") + post(2) + b"hi" + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + get("/4")
    ends = [len(get("/1"))]
    ends.append(ends[0] + len(post(2)) + 2)
    ends.append(ends[1] + len(CHUNKED) + 12)
    ends.append(len(data))
    for size in range(1, len(data) + 1):
        wire = Wire(parser)
        wire.feed(data[:size])
        if not wire.cycles:
            continue
        wire.engine.feed_eof()
        while turns(wire) and wire.current.complete:
            wire.answer()
        whole = sum(size >= end for end in ends)
        assert wire.statuses == [200] * whole, size
