"""A stream's request: its body, content-length, and what is answered before it is complete."""

import pytest

from aserver.limits import DRAIN_BYTES
from aserver.types import Field
from tests.engines.h2_bytes import (
    CANCEL,
    INITIAL_WINDOW,
    NO_ERROR,
    PROTOCOL_ERROR,
    continuation,
    data,
    get,
    headers,
    length,
    post,
    reset,
)
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS


@pytest.fixture
def peer() -> Peer:
    return Peer()


# Bodies


@pytest.mark.parametrize("fields", [(), (length(6),)])
def test_a_body(peer: Peer, fields: tuple[Field, ...]) -> None:
    peer.open(1, post(1, "/", *fields))
    call = peer.made[0]
    peer.send(1, b"abc")
    assert (call.body, call.complete) == (b"abc", False)
    peer.send(1, b"def", ended=True)
    assert call.body == b"abcdef"
    assert call.calls == ["start", "eof"]


def test_a_body_that_comes_with_its_head(peer: Peer) -> None:
    peer.open(1, post(1), data(1, b"abc"), data(1, b"def", ended=True))
    assert peer.made[0].body == b"abcdef"
    assert peer.made[0].calls == ["start", "eof"]


def test_a_body_may_end_in_an_empty_frame(peer: Peer) -> None:
    peer.open(1, post(1), data(1, b"abc"))
    peer.send(1, b"", ended=True)
    assert peer.made[0].calls == ["start", "eof"]


def test_a_body_that_is_empty(peer: Peer) -> None:
    peer.open(1, post(1), data(1, ended=True))
    assert peer.made[0].body == b""
    assert peer.made[0].calls == ["start", "eof"]


def test_a_body_of_length_zero_is_none(peer: Peer) -> None:
    peer.open(1, post(1, "/", length(0)))
    peer.send(1, b"", ended=True)
    assert peer.made[0].complete
    assert peer.made[0].calls == ["start"]


def test_trailers_end_a_body(peer: Peer) -> None:
    peer.open(1, post(1, "/", length(3)), data(1, b"abc"), headers(1, [(b"x-sum", b"1")]))
    assert peer.made[0].body == b"abc"
    assert peer.made[0].calls == ["start", "eof"]


def test_trailers_in_several_frames(peer: Peer) -> None:
    peer.open(1, post(1), headers(1, [(b"x-sum", b"1")], whole=False))
    assert peer.made[0].calls == ["start"]
    peer.feed(continuation(1, b""))
    assert peer.made[0].calls == ["start", "eof"]


@pytest.mark.parametrize(
    "fields", [[(b":path", b"/")], [(b"connection", b"close")], [(b"X-Upper", b"1")]]
)
def test_trailers_that_are_wrong_are_a_mistake_of_their_stream(
    peer: Peer, fields: list[Field]
) -> None:
    reply = peer.open(1, post(1))
    peer.feed(headers(1, fields))
    peer.read()
    assert (reply.status, reply.reset) == (400, PROTOCOL_ERROR)
    assert peer.made[0].calls == ["start", "lost"]
    assert not peer.goaways
    peer.assert_nothing_is_left()


def test_padding_is_no_body(peer: Peer) -> None:
    peer.open(1, post(1, "/", length(3)), data(1, b"abc", ended=True, padding=200))
    assert peer.made[0].body == b"abc"
    assert peer.made[0].complete
    # Whoever takes the body gives back what it took of the windows, the rest came back already.
    assert peer.wire.credited == 201
    peer.made[0].take(3)
    assert peer.wire.credited == 204


# Section 8.1.1: content-length


@pytest.mark.parametrize(
    ("size", "frames"),
    [
        (3, [data(5, b"abcd")]),
        (3, [data(5, b"ab"), data(5, b"cd")]),
        (3, [data(5, b"ab", ended=True)]),
        (3, [data(5, ended=True)]),
        (0, [data(5, b"a", ended=True)]),
        (3, [data(5, b"ab"), headers(5, [(b"x-sum", b"1")])]),
        (3, [data(5, b"abcd", padding=0)]),
        (3, [data(5, b"abc", padding=5), data(5, b"d", padding=5)]),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_a_body_must_have_the_length_that_it_says(
    peer: Peer, size: int, frames: list[bytes], together: bool
) -> None:
    other = peer.open(3, post(3))
    peer.open(5, post(5, "/", length(size)))
    peer.feed(*([b"".join(frames)] if together else frames))
    peer.read()
    assert (peer.replies[5].status, peer.replies[5].reset) == (400, PROTOCOL_ERROR)
    assert peer.made[1].calls[-1] == "lost"
    assert "eof" not in peer.made[1].calls
    assert not peer.goaways
    peer.send(3, b"x", ended=True)
    peer.made[0].answer()
    peer.read()
    assert other.ended
    peer.assert_nothing_is_left()


@pytest.mark.parametrize("stream_ended", [False, True])
def test_a_wrong_length_in_the_same_read_calls_nobody(peer: Peer, stream_ended: bool) -> None:
    peer.open(1, post(1, "/", length(1)), data(1, b"ab", ended=stream_ended))
    assert peer.made == []
    peer.assert_nothing_is_left()


def test_nothing_is_complete_that_says_a_length_and_has_no_body(peer: Peer) -> None:
    reply = peer.open(1, get(1, "/", length(3)))
    peer.read()
    assert (reply.status, reply.reset) == (400, PROTOCOL_ERROR)
    assert peer.made == []


# Section 8.1: responses before the end of their requests


def test_the_rest_of_an_answered_request_is_thrown_away(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    peer.send(1, b"abc")
    peer.made[0].answer(b"early")
    peer.read()
    assert reply.end == (True, None)
    for _ in range(3):
        peer.send(1, bytes(10_000))
    peer.send(1, b"", ended=True)
    assert peer.made[0].body == b"abc"
    assert peer.made[0].calls == ["start"]
    assert peer.wire.credited == 30_003
    assert reply.end == (True, None)
    peer.assert_nothing_is_left()


def test_the_rest_may_end_with_trailers(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    peer.made[0].answer(b"early")
    peer.feed(headers(1, [(b"x-sum", b"1")]))
    peer.read()
    assert reply.reset is None
    peer.assert_nothing_is_left()


def test_a_long_rest_is_not_waited_for(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    peer.made[0].answer(b"early")
    for _ in range(4):
        peer.send(1, bytes(DRAIN_BYTES // 4))
        peer.read()
    assert list(peer.engine.streams) == [1]
    peer.send(1, b"x")
    peer.read()
    assert reply.end == (True, NO_ERROR)
    peer.assert_nothing_is_left()


def test_a_long_rest_may_end_with_the_piece_that_is_too_much(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    peer.made[0].answer(b"early")
    for _ in range(4):
        peer.send(1, bytes(DRAIN_BYTES // 4))
        peer.read()
    peer.send(1, b"x", ended=True)
    peer.read()
    assert reply.ended
    assert reply.reset in (None, NO_ERROR)
    assert not peer.goaways
    peer.assert_nothing_is_left()


@pytest.mark.parametrize("fields", [[(b":path", b"/")], [(b"x-sum", b"1")]])
def test_a_wrong_end_behind_the_answer_is_no_matter(peer: Peer, fields: list[Field]) -> None:
    """Both sides are done by it: there is no stream to reset any more."""
    reply = peer.open(1, post(1, "/", length(3)))
    peer.made[0].answer(b"early")
    peer.feed(headers(1, fields))
    peer.read()
    assert (reply.body, reply.ended) == (b"early", True)
    assert not peer.goaways
    peer.assert_nothing_is_left()


def test_a_rest_that_is_known_to_be_long_is_not_waited_for(peer: Peer) -> None:
    reply = peer.open(1, post(1, "/", length(DRAIN_BYTES + 1)))
    peer.made[0].answer(b"early")
    peer.read()
    assert (reply.body, reply.ended, reply.reset) == (b"early", True, NO_ERROR)
    peer.assert_nothing_is_left()


def test_a_rest_that_is_known_to_be_short_is_waited_for(peer: Peer) -> None:
    reply = peer.open(1, post(1, "/", length(DRAIN_BYTES)))
    peer.made[0].answer(b"early")
    peer.read()
    assert reply.reset is None


@pytest.mark.parametrize("seconds", [1.9, 2])
def test_a_slow_rest_is_not_waited_for(peer: Peer, seconds: float) -> None:
    reply = peer.open(1, post(1))
    peer.made[0].answer(b"early")
    peer.read()
    assert peer.wait(seconds) == (seconds == 2)
    peer.read()
    assert reply.reset == (NO_ERROR if seconds == 2 else None)
    assert len(peer.engine.streams) == (seconds < 2)


def test_what_was_not_read_counts_as_rest(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    for _ in range(3):
        peer.send(1, bytes(16_384))
    peer.made[0].answer(b"early")
    peer.read()
    assert peer.wire.credited == 3 * 16_384
    peer.send(1, bytes(16_384))
    peer.read()
    assert reply.reset is None
    peer.send(1, b"x")
    peer.read()
    assert reply.reset == NO_ERROR


def test_a_wrong_length_counts_behind_the_answer_too(peer: Peer) -> None:
    reply = peer.open(1, post(1, "/", length(3)))
    peer.made[0].answer(b"early")
    peer.read()
    peer.feed(data(1, b"abcd"))
    peer.read()
    assert (reply.status, reply.ended, reply.reset) == (200, True, PROTOCOL_ERROR)
    assert not peer.goaways
    peer.assert_nothing_is_left()


def test_the_end_may_be_there_when_its_response_still_waits(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    peer.stop_reading()
    peer.made[0].answer(b"early")
    peer.send(1, b"abc", ended=True)
    peer.read_on()
    peer.read()
    assert reply.end == (True, None)
    peer.assert_nothing_is_left()


def test_an_application_may_answer_before_the_body_that_came_with_its_head() -> None:
    peer = Peer(eager=lambda call: call.answer(b"at once"))
    reply = peer.open(1, post(1), data(1, b"abc", ended=True))
    peer.read()
    assert (reply.body, reply.ended, reply.reset) == (b"at once", True, None)
    assert peer.wire.credited == 3
    peer.assert_nothing_is_left()


# Expect: 100-continue


def test_continue_is_sent_when_the_application_asks_for_the_body(peer: Peer) -> None:
    reply = peer.open(1, post(1, "/", (b"expect", b"100-continue")))
    request = peer.made[0].request
    peer.read()
    assert (request.expects_continue, reply.interim) == (True, [])
    peer.made[0].channel.inform(100, [])
    peer.read()
    assert (request.expects_continue, reply.interim) == (False, [100])


def test_continue_is_not_sent_behind_a_response(peer: Peer) -> None:
    reply = peer.open(1, post(1, "/", (b"expect", b"100-continue")))
    peer.made[0].begin(b"no")
    peer.made[0].channel.inform(100, [])
    peer.read()
    assert (reply.status, reply.interim) == (200, [])


@pytest.mark.parametrize(
    "rest", [data(1, b"abc", ended=True), data(1, b"abc") + data(1, b"", ended=True)]
)
def test_continue_is_not_sent_when_the_body_is_here(rest: bytes) -> None:
    """Nor is anything of it waited for (RFC 9110 section 10.1.1)."""
    peer = Peer(eager=lambda call: call.channel.inform(100, []))
    reply = peer.open(1, post(1, "/", (b"expect", b"100-continue")), rest)
    peer.read()
    assert peer.made[0].body == b"abc"
    assert (peer.made[0].request.expects_continue, reply.interim) == (False, [])
    assert not peer.sink.watched
    assert peer.wait(1000) == 0
    peer.made[0].answer(b"late")
    peer.read()
    assert (reply.status, reply.ended) == (200, True)
    peer.assert_nothing_is_left()


def test_continue_is_sent_when_only_some_of_the_body_is_here() -> None:
    peer = Peer(eager=lambda call: call.channel.inform(100, []))
    reply = peer.open(1, post(1, "/", (b"expect", b"100-continue")), data(1, b"abc"))
    peer.read()
    assert reply.interim == [100]
    peer.wait(STREAMS.body_seconds)
    peer.read()
    assert reply.status == 408


def test_who_is_answered_before_its_body_is_asked_for_has_to_send_it(peer: Peer) -> None:
    """It is not told to, but knows by the response that it may (RFC 9110 section 10.1.1)."""
    reply = peer.open(1, post(1, "/", (b"expect", b"100-continue")))
    peer.made[0].begin(b"half")
    peer.wait(STREAMS.body_seconds)
    peer.wait(STREAMS.body_seconds - 1)
    peer.read()
    assert not reply.is_over, "nobody has asked"
    peer.made[0].channel.inform(100, [])
    assert peer.wait(STREAMS.body_seconds - 0.1) == 0
    assert peer.wait(0.1) == 1
    peer.read()
    assert (reply.interim, reply.body) == ([], b"half")
    assert (reply.ended, reply.reset) == (False, CANCEL)
    assert peer.made[0].disconnected
    peer.assert_nothing_is_left()


# Resets by the client


def test_a_reset_ends_the_call_s_part(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    peer.send(1, b"abc")
    peer.made[0].begin(b"x")
    peer.feed(reset(1))
    assert peer.made[0].calls == ["start", "lost"]
    assert not peer.made[0].go_on(b"y")
    peer.read()
    assert (reply.body, reply.reset) == (b"x", None)
    assert peer.wire.credited == 3
    peer.assert_nothing_is_left()


@pytest.mark.parametrize("frames", [get(1), post(1), post(1) + data(1, b"abc")])
def test_requests_that_are_reset_at_once_call_nobody(peer: Peer, frames: bytes) -> None:
    peer.open(1, frames, reset(1), get(3))
    assert [call.calls for call in peer.made] == [["start"]]
    assert list(peer.engine.streams) == [3]


def test_what_waits_of_a_response_goes_with_its_stream() -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 0))
    peer.open(1, get(1))
    peer.made[0].answer(bytes(1000))
    peer.feed(reset(1))
    assert peer.made[0].calls == ["start", "lost"]
    peer.assert_nothing_is_left()
