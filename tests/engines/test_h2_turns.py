"""Who sends next: turns, priorities (RFC 9218), and nobody in anybody's way."""

import pytest

from aserver.engines.h2_frames import DATA, PING
from tests.engines.h2_bytes import (
    FRAME_SIZE_ERROR,
    INITIAL_WINDOW,
    PROTOCOL_ERROR,
    frame,
    get,
    ping,
    priority_update,
    reset,
)
from tests.engines.h2_calls import Call
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS

SIZE = 100_000


def wide() -> Peer:
    """A client that takes a lot, and only the transport is in the way."""
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 1 << 20))
    peer.credit(0, 1 << 24)
    return peer


def order(peer: Peer) -> list[int]:
    """Whose data came, in order; each as often in a row as it came."""
    return [sent.stream for sent in peer.sent if sent.kind == DATA]


def finishing(peer: Peer) -> list[int]:
    """The order in which responses were complete."""
    return [sent.stream for sent in peer.sent if sent.kind == DATA and sent.flags & 1]


def answer_all_at_once(peer: Peer, size: int = SIZE) -> None:
    """Everybody has all of its response before anything of it is sent."""
    peer.stop_reading()
    for call in peer.made:
        call.answer(bytes(size))
    peer.read_on()


def test_everybody_has_a_turn() -> None:
    peer = wide()
    streams = [1, 3, 5, 7]
    for stream in streams:
        peer.open(stream, get(stream))
    answer_all_at_once(peer)
    turns = order(peer)
    for at in range(0, 24, 4):
        assert sorted(turns[at : at + 4]) == streams


def test_ten_large_responses_end_at_about_the_same_time() -> None:
    peer = Peer()
    streams = range(1, 20, 2)
    for stream in streams:
        peer.open(stream, get(stream))
    answer_all_at_once(peer, 60_000)
    for _ in range(8):
        peer.credit(0, 65_536)
        peer.read()
        sizes = [len(peer.replies[stream].body) for stream in streams]
        assert max(sizes) - min(sizes) <= 3 * 16_384
    peer.credit(0, 65_536)
    peer.read()
    assert all(peer.replies[stream].ended for stream in streams)


def test_a_small_response_overtakes_a_large_one() -> None:
    peer = wide()
    peer.open(1, get(1))
    peer.open(3, get(3))
    peer.stop_reading()
    peer.made[0].answer(bytes(10 * SIZE))
    peer.made[1].answer(bytes(10))
    peer.read_on()
    turns = order(peer)
    assert turns.index(3) <= 1


def test_a_stream_without_room_is_in_nobody_s_way() -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 0))
    stuck = peer.open(1, get(1, "/", (b"priority", b"u=0")))
    other = peer.open(3, get(3, "/", (b"priority", b"u=7")))
    for call in peer.made:
        call.answer(bytes(1000))
    peer.credit(3, 1000)
    peer.read()
    assert (other.ended, stuck.body) == (True, b"")
    peer.credit(1, 1000)
    peer.read()
    assert stuck.ended


def test_who_is_out_of_the_connection_s_window_goes_on_with_it() -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 1 << 20))
    for stream in range(1, 20, 2):
        peer.open(stream, get(stream))
    for call in peer.made:
        call.answer(bytes(10_000))
    peer.read()
    assert peer.window[0] == 0
    peer.credit(0, 100_000 - 65_535)
    peer.read()
    assert all(reply.ended for reply in peer.replies.values())
    peer.assert_nothing_is_left()


def test_pings_are_answered_while_much_is_sent() -> None:
    peer = wide()
    peer.open(1, get(1))
    peer.stop_reading()
    peer.made[0].answer(bytes(SIZE))
    peer.feed(ping())
    assert PING in [sent.kind for sent in peer.sent]


# RFC 9218


def test_the_more_urgent_come_first() -> None:
    peer = wide()
    for stream, urgency in ((1, 5), (3, 3), (5, 0), (7, 7)):
        peer.open(stream, get(stream, "/", (b"priority", b"u=%d, i" % urgency)))
    answer_all_at_once(peer)
    assert finishing(peer) == [5, 3, 1, 7]


def test_equally_urgent_ones_come_one_after_the_other() -> None:
    peer = wide()
    for stream in (1, 3, 5):
        peer.open(stream, get(stream, "/", (b"priority", b"u=2")))
    answer_all_at_once(peer)
    turns = order(peer)
    assert turns == sorted(turns)


def test_incremental_ones_take_turns() -> None:
    peer = wide()
    for stream in (1, 3):
        peer.open(stream, get(stream, "/", (b"priority", b"u=2, i")))
    answer_all_at_once(peer)
    turns = order(peer)
    assert sorted(turns[:2]) == sorted(turns[2:4]) == [1, 3]


def streaming(*wishes: bytes) -> Peer:
    """Responses, each of an application that sends on in the round after it was resumed."""

    class Streaming(Call):
        left = 10

        def resume(self) -> None:
            super().resume()
            peer.sink.soon(self.send_on)

        def send_on(self) -> None:
            has_room = True
            while has_room and self.left:
                self.left -= 1
                has_room = self.go_on(bytes(20_000), more=self.left > 0)

    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 1 << 20), make=Streaming)
    peer.credit(0, 1 << 24)
    for number, wish in enumerate(wishes):
        stream = 2 * number + 1
        fields = [(b"priority", wish)] if wish else []
        peer.open(stream, get(stream, "/", *fields))
    return peer


def begin_all(peer: Peer) -> list[int]:
    """Everybody begins in the last round before the transport is full; then it takes all."""
    peer.stop_reading()
    for call in peer.made:
        assert not call.begin(bytes(20_000))
    peer.turn()
    peer.read_on()
    return order(peer)


@pytest.mark.parametrize(
    ("wishes", "first"),
    [
        ((b"u=0", b"u=7"), 1),
        ((b"u=7", b"u=0"), 3),
        ((b"u=7, i", b"u=0, i"), 3),
        ((b"u=2", b"u=2"), 1),
        ((b"", b"u=2"), 3),
        ((b"u=5", b""), 3),
    ],
)
def test_streaming_responses_come_one_after_the_other(
    wishes: tuple[bytes, bytes], first: int
) -> None:
    """Though each of them has its next piece only when the last is sent."""
    peer = streaming(*wishes)
    turns = begin_all(peer)
    second = 4 - first
    assert set(turns) == {1, 3}
    assert turns.index(second) > len(turns) - turns[::-1].index(first) - 1
    assert all(len(reply.body) == 11 * 20_000 for reply in peer.replies.values())
    assert all(reply.ended for reply in peer.replies.values())


@pytest.mark.parametrize("wishes", [(b"", b""), (b"u=2, i", b"u=2, i"), (b"", b"u=3")])
def test_streaming_responses_take_turns(wishes: tuple[bytes, bytes]) -> None:
    peer = streaming(*wishes)
    turns = begin_all(peer)
    half = len(turns) // 2
    assert abs(turns[:half].count(1) - turns[:half].count(3)) <= 4
    assert all(reply.ended for reply in peer.replies.values())


def test_who_waited_for_the_transport_goes_on_before_less_urgent_ones() -> None:
    """It has nothing to send when the transport takes bytes again, but will have."""
    peer = streaming(b"u=0", b"u=7")
    peer.sink.full = True
    assert not peer.made[0].begin(bytes(65_536))  # so much is written at once
    assert not peer.made[1].begin(bytes(SIZE))
    peer.turn()
    assert peer.sink.write_paused
    assert peer.made[0].calls == ["start"]
    peer.read_on()
    turns = order(peer)
    assert turns == sorted(turns)
    assert all(reply.ended for reply in peer.replies.values())


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ((b"", b""), [1, 3]),
        ((b"u=2, i", b"u=2, i"), [1, 3]),
        ((b"u=0", b"u=7"), [1]),
        ((b"u=2", b"u=2"), [1]),
    ],
)
def test_only_those_who_would_go_before_all_are_waited_for(
    wishes: tuple[bytes, bytes], expected: list[int]
) -> None:
    """What everybody has is one write where they take turns."""
    peer = wide()
    for stream, wish in zip((1, 3), wishes, strict=True):
        peer.open(stream, get(stream, "/", *([(b"priority", wish)] if wish else [])))
    peer.read()
    for call in peer.made:
        call.begin(bytes(100))
    before = peer.sink.writes
    peer.sink.later.pop(0)()
    assert peer.sink.writes == before + 1
    later, peer.sink.later = peer.sink.later, []
    assert order(peer) == expected
    peer.sink.later += later
    peer.read()
    assert all(len(reply.body) == 100 for reply in peer.replies.values())


def test_who_has_nothing_to_send_is_in_nobody_s_way() -> None:
    """An urgent response that is resumed, and waits for its application, is waited for once."""
    peer = wide()
    urgent = peer.open(1, get(1, "/", (b"priority", b"u=0")))
    other = peer.open(3, get(3, "/", (b"priority", b"u=7")))
    peer.stop_reading()
    for call in peer.made:
        call.begin(bytes(50_000))
    peer.read_on()
    peer.read()
    assert len(urgent.body) == len(other.body) == 50_000
    peer.made[1].go_on(bytes(SIZE), more=False)
    peer.read()
    assert other.ended
    peer.made[0].go_on(b"", more=False)
    peer.read()
    assert urgent.ended


def test_the_last_of_several_fields_counts() -> None:
    peer = wide()
    peer.open(1, get(1))
    peer.open(3, get(3, "/", (b"priority", b"u=7"), (b"priority", b"u=0")))
    answer_all_at_once(peer)
    assert finishing(peer) == [3, 1]


@pytest.mark.parametrize("value", [b"", b"u=9", b"\xff\xff", b"u=-1", b"nonsense"])
def test_nonsense_is_no_mistake(value: bytes) -> None:
    peer = wide()
    reply = peer.open(1, get(1))
    peer.feed(priority_update(1, value))
    peer.made[0].answer(b"abc")
    peer.read()
    assert reply.ended
    assert not peer.goaways


def test_priorities_may_change_while_a_response_waits() -> None:
    peer = wide()
    for stream in (1, 3, 5):
        peer.open(stream, get(stream, "/", (b"priority", b"u=3")))
    peer.stop_reading()
    for call in peer.made:
        call.answer(bytes(SIZE))
    peer.feed(priority_update(5, b"u=0") + priority_update(1, b"u=6"))
    peer.read_on()
    assert finishing(peer) == [5, 3, 1]


def test_priorities_may_change_before_there_is_a_response() -> None:
    peer = wide()
    for stream in (1, 3):
        peer.open(stream, get(stream))
    peer.feed(priority_update(3, b"u=0"))
    answer_all_at_once(peer)
    assert finishing(peer) == [3, 1]


def test_priorities_may_come_before_their_stream() -> None:
    """And then count more than what the request says (section 7)."""
    peer = wide()
    peer.feed(priority_update(3, b"u=0"))
    peer.open(1, get(1))
    peer.open(3, get(3, "/", (b"priority", b"u=7")))
    answer_all_at_once(peer)
    assert finishing(peer) == [3, 1]


def test_the_last_wish_for_a_stream_counts() -> None:
    peer = wide()
    peer.feed(priority_update(3, b"u=7"), priority_update(3, b"u=0"))
    for stream in (1, 3):
        peer.open(stream, get(stream))
    answer_all_at_once(peer)
    assert finishing(peer) == [3, 1]


def test_wishes_for_streams_that_were_never_opened_are_forgotten() -> None:
    """Streams that a client has skipped are closed (RFC 9113 section 5.1.1)."""
    peer = Peer(STREAMS._replace(streams=3), LIMITS, (INITIAL_WINDOW, 1 << 20))
    peer.credit(0, 1 << 20)
    for stream in range(3, 63, 4):
        peer.feed(priority_update(stream, b"u=7"))
        peer.open(stream + 2, get(stream + 2))
        peer.made.pop().answer()
    peer.feed(priority_update(103, b"u=0"))
    for stream in (101, 103):
        peer.open(stream, get(stream))
    answer_all_at_once(peer)
    assert finishing(peer) == [103, 101]


def test_as_many_wishes_are_kept_as_there_may_be_streams() -> None:
    peer = Peer(STREAMS._replace(streams=3), LIMITS, (INITIAL_WINDOW, 1 << 20))
    peer.credit(0, 1 << 20)
    for stream in (3, 5, 7, 9):
        peer.feed(priority_update(stream, b"u=0"))
    for stream in (1, 3, 5):
        peer.open(stream, get(stream))
    answer_all_at_once(peer)
    assert finishing(peer) == [5, 1, 3]  # the wish for 3 had to go


def test_numbers_that_no_client_opens_are_not_wished_for() -> None:
    peer = Peer(STREAMS._replace(streams=2), LIMITS, (INITIAL_WINDOW, 1 << 20))
    peer.credit(0, 1 << 20)
    for stream in (3, 100, 102, 104):
        peer.feed(priority_update(stream, b"u=0"))
    for stream in (1, 3):
        peer.open(stream, get(stream))
    answer_all_at_once(peer)
    assert finishing(peer) == [3, 1]


def test_a_change_for_a_stream_that_is_gone_is_nothing() -> None:
    peer = wide()
    peer.open(1, get(1))
    peer.feed(reset(1))
    peer.feed(priority_update(1, b"u=0"))
    peer.read()
    assert not peer.goaways
    peer.assert_nothing_is_left()


@pytest.mark.parametrize("update", [priority_update(0, b"u=1"), frame(16, 0, 1, b"\0\0\0\1u=1")])
def test_updates_must_be_of_a_stream_and_on_the_connection(update: bytes) -> None:
    peer = wide()
    peer.open(1, get(1))
    peer.feed(update)
    peer.read()
    assert peer.goaways == [(1, PROTOCOL_ERROR)]


def test_updates_that_are_too_short_are_an_error() -> None:
    """RFC 9113 section 4.2: a frame too small for what it must have."""
    peer = wide()
    peer.feed(frame(16, 0, 0, b"\0\0\0"))
    peer.read()
    assert peer.goaways == [(0, FRAME_SIZE_ERROR)]


def test_nothing_is_pushed() -> None:
    peer = wide()
    peer.feed(frame(5, 4, 1, b"\0\0\0\2"))
    peer.read()
    assert peer.goaways == [(0, PROTOCOL_ERROR)]
