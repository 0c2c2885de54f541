"""Deadlines of streams: bodies that do not arrive, responses that are not taken."""

from math import inf

import pytest

from tests.engines.h2_bytes import INITIAL_WINDOW, NO_ERROR, data, get, length, post, reset
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS

# Of `STREAMS`: 2,400 bytes of body in 10 seconds, and 30 seconds for a response to be taken.
BODY, WRITE, REST = 10, 30, 2


@pytest.fixture
def peer() -> Peer:
    return Peer()


def deadlines(peer: Peer) -> list[float]:
    """Of whom is watched."""
    return sorted(each.deadline for each in peer.sink.watched)


# The body


def test_a_body_has_a_deadline(peer: Peer) -> None:
    peer.open(1, post(1))
    assert deadlines(peer) == [BODY]


def test_requests_without_a_body_have_none(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.open(3, post(3), data(3, b"abc", ended=True))
    assert deadlines(peer) == []


def test_a_body_that_is_there_has_none(peer: Peer) -> None:
    peer.open(1, post(1))
    peer.send(1, b"abc")
    assert deadlines(peer) == [BODY]
    peer.send(1, b"", ended=True)
    assert deadlines(peer) == []


def test_a_body_that_does_not_arrive_ends_its_stream(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    other = peer.open(3, get(3))
    peer.send(1, bytes(2_399))
    peer.made[0].take(2_399)
    assert peer.wait(BODY - 0.1) == 0
    assert peer.wait(0.1) == 1
    peer.made[1].answer()
    peer.read()
    assert reply.status == 408
    assert reply.end == (True, None)
    assert b"--min-body-rate" in reply.body
    assert peer.made[0].calls == ["start", "lost"]
    assert other.ended
    assert not peer.goaways
    assert deadlines(peer) == [BODY + REST]
    assert peer.wait(REST) == 1
    peer.read()
    assert reply.reset == NO_ERROR
    peer.assert_nothing_is_left()


def test_a_body_that_arrives_has_time(peer: Peer) -> None:
    peer.open(1, post(1))
    for lap in range(1, 4):
        peer.send(1, bytes(2_400))
        peer.made[0].take(2_400)
        assert peer.wait(BODY) == 1
        assert deadlines(peer) == [BODY * (lap + 1)]
    peer.wait(BODY)
    assert peer.made[0].disconnected


def test_time_in_which_the_application_does_not_read_is_not_the_client_s(peer: Peer) -> None:
    peer.open(1, post(1))
    for _ in range(2):
        peer.send(1, bytes(16_384))
    peer.send(1, bytes(100))
    assert peer.wait(BODY) == 1  # it has sent enough
    assert peer.wait(BODY) == 1  # it has little room
    assert not peer.made[0].disconnected
    peer.made[0].take(32_868)
    peer.wait(BODY)
    assert peer.made[0].disconnected


def test_who_waits_to_be_told_to_send_has_time(peer: Peer) -> None:
    peer.open(1, post(1, "/", (b"expect", b"100-continue")))
    peer.wait(BODY)
    peer.wait(BODY - 1)
    assert not peer.made[0].disconnected
    peer.made[0].channel.inform(100, [])
    assert deadlines(peer) == [3 * BODY - 1]
    peer.wait(BODY)
    assert peer.made[0].disconnected


def test_bodies_may_have_no_deadline() -> None:
    peer = Peer(STREAMS._replace(body_seconds=inf))
    peer.open(1, post(1))
    assert deadlines(peer) == []


def test_a_slow_body_behind_the_head_of_its_response_is_broken_off(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    peer.made[0].begin(b"half")
    peer.wait(BODY)
    peer.read()
    assert (reply.status, reply.ended) == (200, False)
    assert reply.reset not in (None, NO_ERROR), "it looks complete"
    peer.assert_nothing_is_left()


# The rest of a request that is answered


def test_the_rest_has_a_short_deadline(peer: Peer) -> None:
    peer.open(1, post(1))
    peer.made[0].answer()
    assert deadlines(peer) == [REST]
    peer.sink.now += 1
    peer.send(1, b"abc")
    assert deadlines(peer) == [REST]
    peer.send(1, b"", ended=True)
    assert deadlines(peer) == []


def test_a_rest_in_time_is_no_mistake(peer: Peer) -> None:
    reply = peer.open(1, post(1, "/", length(3)))
    peer.made[0].answer()
    assert peer.wait(REST - 0.1) == 0
    peer.send(1, b"abc", ended=True)
    assert peer.wait(10) == 0
    peer.read()
    assert reply.end == (True, None)


# The response


def stuck(*, room: int = 5) -> Peer:
    """A client that lets us send so much, of a response of ten bytes."""
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, room))
    peer.open(1, get(1))
    peer.made[0].begin(b"0123456789")
    return peer


def test_a_response_that_is_sent_has_no_deadline(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.made[0].begin(b"abc")
    assert deadlines(peer) == []
    peer.made[0].go_on(b"", more=False)
    assert deadlines(peer) == []


def test_a_response_that_waits_has_one() -> None:
    peer = stuck()
    assert deadlines(peer) == [WRITE]
    peer.sink.now = 7
    peer.made[0].go_on(b"more")
    assert deadlines(peer) == [WRITE]


def test_a_response_that_waits_for_the_transport_has_none(peer: Peer) -> None:
    """The connection has."""
    peer.open(1, get(1))
    peer.stop_reading()
    peer.made[0].begin(b"abc")
    peer.turn()
    assert peer.replies[1].status == 0
    assert deadlines(peer) == []
    peer.read_on()
    peer.read()
    assert peer.replies[1].body == b"abc"
    assert deadlines(peer) == []


def test_room_for_all_of_it_ends_the_deadline() -> None:
    peer = stuck()
    peer.credit(1, 4)
    assert deadlines(peer) == [WRITE]
    peer.credit(1, 1)
    assert deadlines(peer) == []


def test_a_response_that_is_not_taken_is_broken_off() -> None:
    peer = stuck()
    other = peer.open(3, get(3))
    assert peer.wait(WRITE - 0.1) == 0
    assert peer.wait(0.1) == 1
    peer.made[1].answer(b"abc")
    peer.read()
    reply = peer.replies[1]
    assert peer.made[0].calls == ["start", "lost"]
    assert (reply.status, reply.body, reply.ended) == (200, b"01234", False)
    assert reply.reset not in (None, NO_ERROR), "it looks complete"
    assert other.ended
    assert not peer.goaways
    peer.assert_nothing_is_left()


def test_who_takes_a_little_has_time() -> None:
    peer = stuck(room=1)
    for lap in range(1, 4):
        peer.sink.now += 1
        peer.credit(1, 1)
        assert peer.wait(WRITE - 1) == 1
        assert deadlines(peer) == [WRITE * (lap + 1)]
    peer.wait(WRITE)
    assert peer.made[0].disconnected


def test_who_makes_no_room_is_not_saved_by_other_streams() -> None:
    """They take their responses, but are not what this one waits for."""
    peer = stuck()
    peer.open(3, get(3))
    peer.made[1].begin(b"abc")
    peer.sink.now = WRITE - 1
    peer.made[1].go_on(b"de", more=True)
    peer.read()
    assert peer.replies[3].body == b"abcde"
    assert peer.wait(1) == 1
    peer.read()
    assert peer.made[0].calls == ["start", "lost"]
    assert peer.replies[1].reset not in (None, NO_ERROR)
    assert not peer.made[1].disconnected


def test_who_waits_for_other_streams_to_be_sent_has_time() -> None:
    """It is the connection's window that is small, and its turn comes behind theirs."""
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 1 << 20))
    peer.open(1, get(1, "/", (b"priority", b"u=0")))
    peer.open(3, get(3, "/", (b"priority", b"u=7")))
    for call in peer.made:
        call.answer(bytes(500_000))
    peer.read()
    assert peer.replies[3].body == b""
    for lap in range(1, 4):
        peer.sink.now += 1
        peer.credit(0, 1000)
        peer.read()
        assert peer.wait(WRITE - 1) == 2
        assert deadlines(peer) == [WRITE * (lap + 1)] * 2
    assert peer.replies[3].body == b""
    peer.wait(WRITE)
    peer.read()
    assert all(call.disconnected for call in peer.made)


def test_streams_are_not_to_blame_for_the_transport() -> None:
    """Which has a deadline of its own."""
    peer = stuck()
    peer.stop_reading()
    assert peer.wait(WRITE) == 1
    assert not peer.made[0].disconnected
    peer.read_on()
    assert deadlines(peer) == [2 * WRITE]
    peer.wait(WRITE)
    assert peer.made[0].disconnected


def test_one_stream_in_both_directions() -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 0))
    peer.open(1, post(1))
    peer.made[0].begin(b"abc")
    assert deadlines(peer) == [BODY]
    peer.sink.now = 9
    peer.send(1, b"", ended=True)
    assert deadlines(peer) == [WRITE]


def test_both_deadlines_at_once() -> None:
    peer = Peer(STREAMS._replace(write_seconds=BODY), LIMITS, (INITIAL_WINDOW, 0))
    peer.open(1, post(1))
    peer.made[0].begin(b"abc")
    peer.send(1, bytes(2_400))
    peer.made[0].take(2_400)
    peer.credit(1, 1)
    assert peer.wait(BODY) == 1
    assert not peer.made[0].disconnected
    assert deadlines(peer) == [2 * BODY]


def test_responses_may_have_no_deadline() -> None:
    peer = Peer(STREAMS._replace(write_seconds=inf), LIMITS, (INITIAL_WINDOW, 0))
    peer.open(1, get(1))
    peer.made[0].answer(b"abc")
    assert deadlines(peer) == []


@pytest.mark.parametrize("how", ["reset", "abort", "lost", "eof"])
def test_nobody_is_watched_behind_the_end(how: str) -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 0))
    peer.open(1, post(1))
    peer.made[0].begin(b"abc")
    peer.open(3, post(3))
    assert len(peer.sink.watched) == 2
    if how == "reset":
        peer.feed(reset(1), reset(3))
    elif how == "abort":
        for call in peer.made:
            call.channel.abort()
    elif how == "lost":
        peer.engine.lost()
    else:
        assert not peer.engine.feed_eof()
    assert deadlines(peer) == []


def test_a_watch_tells_whose_it_is(peer: Peer) -> None:
    peer.open(1, post(1))
    assert [repr(each) for each in peer.sink.watched] == [
        "<StreamWatch deadline=10.0 <H2Stream 1 POST b'/' inbound=OPEN outbound=AWAITED waiting=0>>"
    ]
