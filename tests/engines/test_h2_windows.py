"""Flow control of HTTP/2, both ways (RFC 9113 sections 5.2, 6.9 and 6.9.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.engines.h2_frames import PREFACE, RST_STREAM, WINDOW_UPDATE
from tests.engines.h2_bytes import (
    FLOW_CONTROL_ERROR,
    INITIAL_WINDOW,
    MAX_FRAME,
    PROTOCOL_ERROR,
    WINDOW,
    data,
    get,
    headers,
    post,
    request_fields,
    reset,
    settings,
    window_update,
)
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS

MOST = 2**31 - 1


def with_window(size: int) -> Peer:
    """A client that lets streams send so much at first."""
    return Peer(STREAMS, LIMITS, (INITIAL_WINDOW, size))


@pytest.fixture
def peer() -> Peer:
    return Peer()


# What we send


def test_no_more_is_sent_than_the_window_allows() -> None:
    peer = with_window(10)
    reply = peer.open(1, get(1))
    assert not peer.made[0].begin(b"0123456789abcdef")
    peer.read()
    assert reply.body == b"0123456789"
    assert peer.made[0].calls == ["start"]
    peer.credit(1, 6)
    peer.read()
    assert reply.body == b"0123456789abcdef"
    assert peer.made[0].calls == ["start", "resume"]


def test_who_waits_is_told_when_all_of_it_is_sent() -> None:
    peer = with_window(5)
    peer.open(1, get(1))
    assert not peer.made[0].begin(b"0123456789")
    peer.credit(1, 4)
    assert peer.made[0].calls == ["start"]
    peer.credit(1, 1)
    assert peer.made[0].calls == ["start", "resume"]


def test_heads_need_no_window() -> None:
    peer = with_window(0)
    reply = peer.open(1, get(1))
    peer.made[0].begin(b"abc")
    peer.read()
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("more", [False, True])
def test_the_end_needs_no_window(more: bool) -> None:
    peer = with_window(3)
    reply = peer.open(1, get(1))
    peer.made[0].begin(b"abc", more=more)
    if more:
        peer.made[0].go_on(b"", more=False)
    peer.read()
    assert (reply.body, reply.ended) == (b"abc", True)


def test_a_window_of_one_byte() -> None:
    peer = with_window(0)
    reply = peer.open(1, get(1))
    peer.made[0].answer(b"hello")
    for size in range(1, 6):
        peer.credit(1, 1)
        peer.read()
        assert reply.body == b"hello"[:size]
    assert reply.end == (True, None)
    assert reply.sizes == [1] * 5
    peer.assert_nothing_is_left()


def test_the_connection_has_a_window_too(peer: Peer) -> None:
    replies = [peer.open(stream, get(stream)) for stream in (1, 3)]
    for call in peer.made:
        call.answer(bytes(40_000))
    peer.read()
    assert sum(len(reply.body) for reply in replies) == WINDOW
    peer.credit(0, 80_000 - WINDOW)
    peer.read()
    assert [len(reply.body) for reply in replies] == [40_000, 40_000]
    assert all(reply.ended for reply in replies)
    peer.assert_nothing_is_left()


def test_room_on_the_connection_is_no_room_on_the_stream() -> None:
    peer = with_window(0)
    reply = peer.open(1, get(1))
    peer.made[0].answer(b"abc")
    peer.credit(0, 1000)
    peer.read()
    assert reply.body == b""


@pytest.mark.parametrize("frame_size", [16_384, 20_000, 65_536, 2**24 - 1])
def test_frames_are_no_larger_than_the_client_takes(frame_size: int) -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 1 << 20), (MAX_FRAME, frame_size))
    peer.credit(0, 1 << 20)
    reply = peer.open(1, get(1))
    peer.made[0].answer(bytes(300_000))
    peer.read()
    assert len(reply.body) == 300_000
    # A frame as large as the response would keep all others waiting.
    assert max(reply.sizes) == min(frame_size, 65_536)


def test_frames_are_small_again_when_the_client_says_so() -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 1 << 20), (MAX_FRAME, 65_536))
    peer.credit(0, 1 << 20)
    peer.open(1, get(1))
    peer.made[0].answer(bytes(65_536))
    peer.tell((MAX_FRAME, 16_384))
    reply = peer.open(3, get(3))
    peer.made[1].answer(bytes(65_536))
    peer.read()
    assert reply.sizes == [16_384] * 4


# Section 6.9.2: the initial window changes


def test_a_larger_initial_window_counts_for_open_streams() -> None:
    peer = with_window(0)
    replies = [peer.open(stream, get(stream)) for stream in (1, 3)]
    for call in peer.made:
        call.answer(b"hello")
    peer.tell((INITIAL_WINDOW, 3))
    peer.read()
    assert [reply.body for reply in replies] == [b"hel", b"hel"]
    peer.tell((INITIAL_WINDOW, 5))
    peer.read()
    assert [reply.body for reply in replies] == [b"hello", b"hello"]
    peer.assert_nothing_is_left()


def test_a_window_may_become_negative(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    call = peer.made[0]
    call.begin(bytes(40_000))
    peer.tell((INITIAL_WINDOW, 0))
    assert peer.window[1] == -40_000
    assert not call.go_on(b"abc")
    for _ in range(2):
        peer.credit(1, 20_000)
        peer.read()
        assert len(reply.body) == 40_000
    peer.credit(1, 1)
    peer.read()
    assert reply.body[40_000:] == b"a"
    peer.tell((INITIAL_WINDOW, 10))
    peer.read()
    assert reply.body[40_000:] == b"abc"


def test_the_last_of_two_values_counts() -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1))
    reply = peer.open(1, get(1))
    peer.made[0].answer(b"abc")
    peer.read()
    assert reply.body == b"a"


def test_an_initial_window_that_is_too_large_ends_the_connection(peer: Peer) -> None:
    peer.feed(settings((INITIAL_WINDOW, 2**31)))
    peer.read()
    assert peer.goaways == [(0, FLOW_CONTROL_ERROR)]


def test_an_initial_window_that_makes_one_too_large_ends_the_connection(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.feed(window_update(1, MOST - WINDOW))
    peer.feed(settings((INITIAL_WINDOW, WINDOW + 1)))
    peer.read()
    assert peer.goaways == [(1, FLOW_CONTROL_ERROR)]


def test_the_largest_window(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.feed(window_update(1, MOST - WINDOW), window_update(0, MOST - WINDOW))
    peer.read()
    assert not peer.goaways
    assert peer.replies[1].reset is None


def test_a_connection_s_window_that_is_too_large_ends_it(peer: Peer) -> None:
    peer.feed(window_update(0, MOST - WINDOW + 1))
    peer.read()
    assert peer.goaways == [(0, FLOW_CONTROL_ERROR)]


def test_a_stream_s_window_that_is_too_large_ends_the_stream(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    peer.feed(window_update(1, MOST - WINDOW + 1))
    peer.read()
    assert reply.reset == FLOW_CONTROL_ERROR
    assert peer.made[0].calls == ["start", "lost"]
    assert not peer.goaways
    peer.assert_nothing_is_left()


def test_an_update_of_nothing_ends_the_connection(peer: Peer) -> None:
    peer.feed(window_update(0, 0))
    peer.read()
    assert peer.goaways == [(0, PROTOCOL_ERROR)]


def test_updates_of_streams_that_are_closed_are_nothing(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.made[0].answer()
    peer.read()
    peer.feed(window_update(1, 100))
    peer.read()
    assert not peer.goaways
    peer.assert_nothing_is_left()


# What we let the client send


def test_credit_comes_when_the_application_has_taken_the_bytes(peer: Peer) -> None:
    peer.open(1, post(1))
    for _ in range(3):
        peer.send(1, bytes(16_384))
    assert not [sent for sent in peer.sent if sent.kind == WINDOW_UPDATE]
    peer.made[0].take(3 * 16_384)
    updates = [sent.stream for sent in peer.sent if sent.kind == WINDOW_UPDATE]
    assert 1 in updates
    assert peer.room[1] == WINDOW


@pytest.mark.parametrize("step", [1_000, 16_384, 65_535])
def test_a_body_that_is_much_larger_than_the_window(step: int) -> None:
    """Whatever the application takes at a time, its client never waits in vain."""
    peer = Peer(STREAMS._replace(streams=1))
    peer.open(1, post(1))
    call = peer.made[0]
    taken = 0
    while taken < 500_000:
        peer.read()
        size = min(peer.room[1], 16_384)
        if size:
            peer.send(1, bytes(size))
        size = min(step, len(call.body) - taken)
        assert size, "it is stuck"
        call.take(size)
        taken += size


def test_settings_do_not_count_before_the_client_has_read_them() -> None:
    """Section 6.9.2: until then, it may send what everybody may at first."""
    peer = Peer(STREAMS._replace(window=1000), hello=False)
    peer.feed(PREFACE + settings(), post(1) + data(1, bytes(10_000)))
    peer.read()
    assert not peer.goaways
    assert peer.replies[1].reset is None
    assert len(peer.made[0].body) == 10_000


@pytest.mark.parametrize(("window", "streams"), [(WINDOW, 5), (100_000, 3), (WINDOW, 1)])
def test_streams_that_are_not_read_do_not_hold_up_others(window: int, streams: int) -> None:
    peer = Peer(STREAMS._replace(streams=streams, window=window))
    for index in range(streams - 1):
        peer.open(2 * index + 1, post(2 * index + 1))
        send_all(peer, 2 * index + 1, window)
    # The last may send all that it wants.
    last = 2 * streams - 1
    reply = peer.open(last, post(last))
    for _ in range(20):
        before = len(peer.made[-1].body)
        send_all(peer, last, peer.room[last])
        peer.made[-1].take(len(peer.made[-1].body) - before)
        peer.read()
    assert len(peer.made[-1].body) >= 10 * window
    peer.send(last, b"", ended=True)
    peer.made[-1].answer(b"thanks")
    peer.read()
    assert reply.body == b"thanks"


def send_all(peer: Peer, stream: int, size: int) -> None:
    """In frames of any size, as far as the connection's window allows."""
    while size and peer.room[0]:
        piece = min(size, peer.room[0], 16_384)
        peer.send(stream, bytes(piece))
        size -= piece


def test_a_get_is_answered_beside_an_upload_that_nobody_reads(peer: Peer) -> None:
    peer.open(1, post(1))
    for _ in range(20):
        peer.send(1, bytes(3000))
    reply = peer.open(3, get(3))
    peer.made[1].answer(b"abc")
    peer.read()
    assert (reply.body, reply.ended) == (b"abc", True)


@pytest.mark.parametrize("how", ["answered", "aborted", "reset", "refused"])
def test_what_nobody_took_comes_back_to_the_connection(how: str) -> None:
    peer = Peer(STREAMS._replace(streams=1))
    for stream in range(1, 81, 2):
        peer.open(stream, post(stream))
        peer.send(stream, bytes(10_000))
        call = peer.made[-1]
        if how == "answered":
            call.answer()
            peer.turn()
            peer.send(stream, bytes(10), ended=True)
        elif how == "aborted":
            call.channel.abort()
        elif how == "reset":
            peer.feed(reset(stream))
        else:
            peer.feed(headers(stream, [(b"connection", b"close")]))
        peer.assert_nothing_is_left()
    assert peer.wire.credited == 40 * (10_010 if how == "answered" else 10_000)
    assert peer.room[0] > WINDOW // 2


def test_data_on_streams_that_were_reset_come_back_to_the_connection() -> None:
    """They were on their way (section 5.4.2)."""
    peer = Peer(STREAMS._replace(streams=1))
    peer.open(1, post(1))
    peer.made[0].channel.abort()
    peer.turn()
    for _ in range(20):
        peer.feed(data(1, bytes(16_384)))
    peer.read()
    assert not peer.goaways
    other = peer.open(3, post(3))
    peer.room[0] = WINDOW
    for _ in range(3):
        peer.send(3, bytes(16_384))
    peer.read()
    assert other.reset is None
    assert len(peer.made[1].body) == 3 * 16_384


def test_more_than_the_stream_s_window_is_an_error(peer: Peer) -> None:
    reply = peer.open(1, post(1), *[data(1, bytes(16_384))] * 5)
    peer.read()
    assert peer.goaways == [(1, FLOW_CONTROL_ERROR)] or reply.reset == FLOW_CONTROL_ERROR
    assert all(call.disconnected for call in peer.made)


def test_padding_comes_back_at_once() -> None:
    peer = Peer(STREAMS._replace(streams=1))
    peer.open(1, post(1))
    for _ in range(1000):
        peer.feed(data(1, b"x", padding=255))
        peer.made[0].take(1)
    peer.read()
    assert not peer.goaways
    assert peer.made[0].body == b"x" * 1000
    assert peer.wire.credited == 257_000


@given(st.lists(st.integers(0, 60_000), max_size=8), st.lists(st.integers(0, 60_000), max_size=8))
def test_any_sequence_of_initial_windows(sizes: list[int], bodies: list[int]) -> None:
    """The client's end fails when a window is exceeded."""
    peer = Peer()
    peer.credit(0, 1 << 20)
    for index, size in enumerate(bodies):
        peer.open(2 * index + 1, get(2 * index + 1))
        peer.made[-1].answer(bytes(size))
        if index < len(sizes):
            peer.tell((INITIAL_WINDOW, sizes[index]))
    peer.tell((INITIAL_WINDOW, 60_000))
    peer.read()
    assert [len(peer.replies[2 * i + 1].body) for i in range(len(bodies))] == bodies
    peer.assert_nothing_is_left()


def test_a_reset_stream_gets_no_updates_of_its_own(peer: Peer) -> None:
    peer.open(1, post(1))
    for _ in range(3):
        peer.send(1, bytes(16_384))
    peer.made[0].channel.abort()
    kinds = [(sent.kind, sent.stream) for sent in peer.sent]
    assert (RST_STREAM, 1) in kinds
    assert (WINDOW_UPDATE, 1) not in kinds[kinds.index((RST_STREAM, 1)) :]


def test_head_requests_are_not_bound_by_windows() -> None:
    peer = with_window(0)
    reply = peer.open(1, headers(1, request_fields("HEAD")))
    peer.made[0].answer(b"not sent")
    peer.read()
    assert reply.end == (True, None)
