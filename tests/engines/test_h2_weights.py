"""What a frame counts for, by what became of its stream; and what is given back."""

import pytest

from aserver.engines.h2_budgets import FAULTS, RESETS, UPDATES
from aserver.types import ProtocolError
from tests.engines.h2_bytes import CALM, INITIAL_WINDOW, get, reset, window_update
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS

OLD = 2  # seconds


@pytest.fixture
def peer() -> Peer:
    return Peer()


def codes(peer: Peer) -> list[int]:
    """Of the GOAWAYs that were sent."""
    peer.read()
    return [code for _, code in peer.goaways]


# Resets


def reset_some(peer: Peer, count: int, first: int, *, age: float) -> None:
    """Requests that are begun, and taken back by and by; the clock does not refill anything."""
    left = iter(range(first, first + 2 * count, 2))
    for stream in left:
        peer.open(stream, get(stream))
        peer.engine.streams[stream].opened_at -= age
        peer.feed(reset(stream))


@pytest.mark.parametrize(
    ("age", "most"), [(0, RESETS.burst), (OLD - 0.1, RESETS.burst), (OLD, 4 * RESETS.burst)]
)
def test_old_streams_count_for_a_quarter(peer: Peer, age: float, most: int) -> None:
    reset_some(peer, most, 1, age=age)
    assert codes(peer) == []
    reset_some(peer, 1, 2 * most + 1, age=age)
    assert codes(peer) == [CALM]
    peer.assert_nothing_is_left()


def test_requests_that_came_with_their_reset_count_for_a_half(peer: Peer) -> None:
    """They call nobody."""
    most = 2 * RESETS.burst
    for stream in range(1, 2 * most, 2):
        peer.feed(get(stream) + reset(stream))
    assert codes(peer) == []
    peer.feed(get(2 * most + 1) + reset(2 * most + 1))
    assert codes(peer) == [CALM]
    assert not peer.made


def test_age_is_told_by_the_connection_s_clock(peer: Peer) -> None:
    """Whoever leaves a page in which all has been waiting for a while."""
    for stream in range(1, 2 * STREAMS.streams, 2):
        peer.open(stream, get(stream))
    peer.sink.now += OLD
    for _ in range(RESETS.burst // 2):
        peer.engine.budgets.spend(RESETS)
    for stream in range(1, 2 * STREAMS.streams, 2):
        peer.feed(reset(stream))
    assert codes(peer) == []
    assert all(call.disconnected for call in peer.made)


@pytest.mark.parametrize("how", ["body", "head alone", "refused"])
def test_each_whole_response_makes_up_for_a_reset(peer: Peer, how: str) -> None:
    """As a proxy has it, one of whose clients in two leaves."""
    for stream in range(1, 8 * RESETS.burst, 4):
        peer.open(stream, get(stream))
        peer.feed(reset(stream))
        if how == "refused":
            peer.sink.error = ProtocolError(503, "busy")
        peer.open(stream + 2, get(stream + 2))
        peer.sink.error = None
        if how != "refused":
            peer.made[-1].answer(b"abc" if how == "body" else b"")
        peer.read()
        assert peer.replies[stream + 2].ended
        peer.window[0] = 65_535
        peer.sink.written = b""
    assert codes(peer) == []


@pytest.mark.parametrize("how", ["aborted", "half"])
def test_responses_that_are_not_whole_make_up_for_nothing(peer: Peer, how: str) -> None:
    for stream in range(1, 4 * RESETS.burst + 4, 4):
        peer.open(stream, get(stream))
        peer.feed(reset(stream))
        peer.open(stream + 2, get(stream + 2))
        if stream + 2 in peer.engine.streams:
            peer.made[-1].begin(b"")
            if how == "aborted":
                peer.made[-1].channel.abort()
        peer.read()
    assert codes(peer) == [CALM]


# Updates


@pytest.mark.parametrize("window", [65_535, 1_000_000, 4 << 20])
def test_go_tells_of_each_four_kibibytes_it_has_read(window: int) -> None:
    """Twice: for the stream, and for the connection. Over a download of 30 MB in no time.

    Its application is behind by a window, and reads on when all of the response is there.
    """
    size, step = 30_000_000, 4096
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, window))
    peer.credit(0, (1 << 30) - 65_535)
    reply = peer.open(1, get(1))
    peer.made[0].answer(bytes(size))
    come = taken = 0
    while taken < size - step:
        peer.read()
        come, reply.body = come + len(reply.body), b""
        assert taken + step <= come, f"it is stuck at {taken} bytes"
        taken += step
        for of in (1, 0):
            peer.credit(of, step)
        assert not peer.goaways, f"after {taken} bytes"
    assert come == size
    assert reply.ended
    peer.assert_nothing_is_left()


@pytest.mark.parametrize(("size", "given"), [(1, 2), (4095, 2), (4096, 4), (8192, 6), (16_384, 10)])
def test_a_piece_gives_back_what_its_receiver_may_say_of_it(
    peer: Peer, size: int, given: int
) -> None:
    peer.open(1, get(1))
    for _ in range(UPDATES.burst):
        peer.engine.budgets.spend(UPDATES)
    peer.made[0].begin(bytes(size))
    peer.read()
    peer.feed(*[window_update(0, 1)] * given)
    assert codes(peer) == []
    peer.feed(window_update(0, 1))
    assert codes(peer) == [CALM]


# Refusals


@pytest.mark.parametrize("paused", [False, True])
def test_who_does_not_read_its_answers_is_refused_so_often_only(peer: Peer, paused: bool) -> None:
    """Refusals cost it nothing else, and wait in our memory."""
    peer.sink.error = ProtocolError(503, "busy")
    if paused:
        peer.stop_reading()
    for stream in range(1, 2 * FAULTS.burst, 2):
        peer.feed(get(stream))
    assert not peer.sink.refused[FAULTS.burst :]
    peer.feed(get(2 * FAULTS.burst + 1))
    assert codes(peer) == ([CALM] if paused else [])
