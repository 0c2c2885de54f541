"""How a connection ends: GOAWAY both ways, draining, limits, errors, and the loss of the peer."""

import pytest

from aserver.engines.h2_frames import GOAWAY, PING, PREFACE
from tests.engines.h2_bytes import (
    COMPRESSION_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    data,
    frame,
    get,
    goaway,
    headers,
    number,
    ping,
    post,
    reset,
    settings,
)
from tests.engines.h2_peer import Peer

MOST = 2**31 - 1


@pytest.fixture
def peer() -> Peer:
    return Peer()


def answer_ping(peer: Peer) -> None:
    """What tells the server that the client knows of its GOAWAY."""
    peer.read()
    peer.feed(ping(peer.pings[-1].payload, ack=True))
    peer.read()


# Section 6.8: the server is stopping


def test_drain_says_so_in_two_steps(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    peer.engine.drain()
    assert [sent.kind for sent in peer.sent] == [GOAWAY, PING]
    assert peer.goaways == [(MOST, NO_ERROR)]
    # What was on its way is served.
    late = peer.open(3, get(3))
    answer_ping(peer)
    assert peer.goaways == [(MOST, NO_ERROR), (3, NO_ERROR)]
    refused = peer.open(5, get(5))
    for call in peer.made:
        call.answer(b"abc")
    peer.read()
    assert (reply.body, late.body) == (b"abc", b"abc")
    assert refused.reset == REFUSED_STREAM
    assert peer.calls == ["linger"]
    peer.assert_nothing_is_left()


def test_drain_of_an_idle_connection_closes_it(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.made[0].answer()
    peer.read()
    peer.engine.drain()
    peer.read()
    assert peer.goaways == [(1, NO_ERROR)]
    assert peer.calls[-1] == "close"
    peer.feed(get(3))
    assert len(peer.made) == 1
    peer.assert_nothing_is_left()


def test_drain_does_not_wait_for_a_ping_when_all_is_answered(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.engine.drain()
    peer.made[0].answer(b"abc")
    peer.read()
    assert peer.goaways == [(MOST, NO_ERROR), (1, NO_ERROR)]
    assert peer.replies[1].ended
    assert peer.calls == ["linger"]


def test_drain_waits_for_what_the_client_has_to_take(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    peer.made[0].answer(bytes(100_000))
    peer.engine.drain()
    answer_ping(peer)
    assert peer.calls == []
    peer.credit(0, 100_000)
    peer.credit(1, 100_000)
    peer.read()
    assert len(reply.body) == 100_000
    assert peer.calls == ["linger"]


def test_drain_waits_for_a_request_that_comes_in_parts(peer: Peer) -> None:
    reply = peer.open(1, post(1))
    peer.engine.drain()
    answer_ping(peer)
    peer.send(1, b"abc")
    peer.send(1, b"def", ended=True)
    assert peer.made[0].body == b"abcdef"
    peer.made[0].answer()
    peer.read()
    assert reply.ended
    assert peer.calls == ["linger"]


def test_drain_of_an_idle_connection_says_goodbye(peer: Peer) -> None:
    peer.engine.drain()
    peer.read()
    assert peer.goaways[-1] == (0, NO_ERROR)
    refused = peer.open(1, get(1))
    peer.read()
    assert peer.made == []
    assert refused.reset in (None, REFUSED_STREAM)


def test_drain_with_a_request_unread_waits_for_it(peer: Peer) -> None:
    peer.sink.unread = True
    peer.engine.drain()
    peer.read()
    assert peer.goaways == [(MOST, NO_ERROR)]
    reply = peer.open(1, get(1))
    peer.made[0].answer(b"abc")
    peer.read()
    assert reply.body == b"abc"
    assert peer.goaways[-1] == (1, NO_ERROR)
    assert peer.calls == ["linger"]


def test_drain_with_a_request_unread_ends_when_there_was_none(peer: Peer) -> None:
    """What was unread was something else: the PING's answer tells that nothing comes behind it."""
    peer.sink.unread = True
    peer.engine.drain()
    peer.feed(settings())
    peer.read()
    assert peer.goaways == [(MOST, NO_ERROR)]
    assert "linger" not in peer.calls
    answer_ping(peer)
    assert peer.goaways == [(MOST, NO_ERROR), (0, NO_ERROR)]
    assert peer.calls == ["linger"]


def test_a_first_request_that_comes_behind_the_first_goaway_is_served(peer: Peer) -> None:
    peer.sink.unread = True
    peer.engine.drain()
    reply = peer.open(1, get(1))
    answer_ping(peer)
    assert peer.goaways == [(MOST, NO_ERROR), (1, NO_ERROR)]
    peer.calls.clear()
    assert peer.open(3, get(3)) is peer.replies[3]
    peer.made[0].answer(b"abc")
    peer.read()
    assert (reply.body, reply.ended) == (b"abc", True)
    assert peer.replies[3].reset == REFUSED_STREAM
    assert peer.calls == ["linger"]
    peer.assert_nothing_is_left()


def test_drain_before_the_client_has_begun() -> None:
    peer = Peer(hello=False)
    peer.engine.drain()
    reply = peer.open(1, PREFACE + settings() + get(1))
    peer.made[0].answer(b"abc")
    peer.read()
    assert reply.body == b"abc"
    assert peer.calls[-1] == "linger"


def test_drain_is_said_once(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.engine.drain()
    peer.engine.drain()
    peer.read()
    assert len(peer.goaways) == 1


def test_pings_of_the_client_s_own_do_not_end_anything(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.engine.drain()
    peer.feed(ping(b"unasked.", ack=True))
    peer.read()
    assert len(peer.goaways) == 1


def test_the_answer_without_a_question_is_nothing(peer: Peer) -> None:
    peer.feed(ping(b"aserver.", ack=True))
    peer.read()
    assert not peer.goaways


def test_a_response_that_fails_ends_the_drain_too(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.engine.drain()
    peer.made[0].channel.abort()
    peer.read()
    assert peer.calls == ["linger"]


def test_a_reset_by_the_client_ends_the_drain_too(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.engine.drain()
    peer.feed(reset(1))
    assert peer.calls == ["linger"]


def test_nothing_is_taken_behind_the_end(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.engine.drain()
    peer.made[0].answer()
    peer.read()
    sent = len(peer.sent)
    peer.feed(get(3) + ping(), b"garbage")
    peer.engine.drain()
    peer.engine.resume()
    assert sent
    assert not peer.sent
    assert len(peer.made) == 1


# The client ends it


def test_the_client_s_goaway_lets_its_requests_be_answered(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    upload = peer.open(3, post(3))
    peer.feed(goaway())
    peer.send(3, b"abc", ended=True)
    for call in peer.made:
        call.answer(b"abc")
    peer.read()
    assert (reply.body, upload.body) == (b"abc", b"abc")
    assert peer.goaways == [(3, NO_ERROR)]
    assert peer.calls == ["linger"]
    peer.assert_nothing_is_left()


def test_the_client_s_goaway_ends_an_idle_connection(peer: Peer) -> None:
    peer.feed(goaway(0, 2))
    peer.read()
    assert peer.goaways == [(0, NO_ERROR)]
    assert peer.calls == ["linger"]


def test_two_goaways_are_as_good_as_one(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.feed(goaway(MOST), goaway(0))
    peer.read()
    assert peer.goaways == [(1, NO_ERROR)]
    peer.made[0].answer()
    peer.read()
    assert peer.replies[1].ended


def test_control_frames_are_answered_behind_a_goaway(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.feed(goaway(), ping(), settings())
    peer.read()
    assert PING in [sent.kind for sent in peer.sent]
    assert peer.goaways == [(1, NO_ERROR)]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(GOAWAY, 0, 0, b"1234567"), FRAME_SIZE_ERROR),
        (frame(GOAWAY, 0, 1, number(0) * 2), PROTOCOL_ERROR),
    ],
)
def test_goaways_must_be_well_formed(peer: Peer, wrong: bytes, code: int) -> None:
    peer.open(1, get(1))
    peer.feed(wrong)
    peer.read()
    assert [code for _, code in peer.goaways] == [code]


# Errors of the connection


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"\x01\x00\x00\x00\x00\x00\x00\x00\x01", FRAME_SIZE_ERROR),  # and nothing behind it
        (headers(3, [], whole=False) + ping(), PROTOCOL_ERROR),
        (frame(1, 5, 3, b"\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
        (frame(0, 0, 0, b"abc"), PROTOCOL_ERROR),
        (frame(1, 5, 2, b"\x82"), PROTOCOL_ERROR),
        (frame(6, 0, 0, b"1234567"), FRAME_SIZE_ERROR),
        (frame(4, 0, 0, b"12345"), FRAME_SIZE_ERROR),
        (frame(4, 1, 0, b"123456"), FRAME_SIZE_ERROR),
        (settings((2, 7)), PROTOCOL_ERROR),
        (settings((5, 100)), PROTOCOL_ERROR),
    ],
)
def test_an_error_ends_the_connection(peer: Peer, wrong: bytes, code: int) -> None:
    peer.open(1, post(1))
    peer.feed(data(1, b"abc") + wrong)
    peer.read()
    assert [said for _, said in peer.goaways] in ([code], [PROTOCOL_ERROR])
    assert peer.made[0].body == b"abc"
    assert peer.made[0].calls == ["start", "lost"]
    assert peer.calls == ["linger"]
    assert len(peer.sink.refused) == 1
    peer.assert_nothing_is_left()


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE[:-1] + b"x",
        PREFACE + ping(),
        PREFACE + frame(4, 1),
        PREFACE + get(1),
        b"\0" * 100,
    ],
)
def test_what_does_not_begin_with_the_preface(beginning: bytes) -> None:
    peer = Peer(hello=False)
    peer.feed(beginning)
    peer.read()
    assert peer.goaways == [(0, PROTOCOL_ERROR)]
    assert peer.made == []
    assert peer.calls[-1] == "linger"


def test_requests_before_an_error_in_the_same_read_call_nobody(peer: Peer) -> None:
    """And may be tried again: the last stream says that they were not looked at (section 6.8)."""
    peer.open(1, get(1))
    peer.made[0].answer()
    peer.feed(get(3) + settings((2, 7)))
    peer.read()
    assert len(peer.made) == 1
    assert peer.calls[-1] == "linger"


def test_the_reason_is_in_the_goaway(peer: Peer) -> None:
    peer.feed(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
    assert b"16777215" in peer.sent[-1].payload


def test_an_error_is_answered_once(peer: Peer) -> None:
    peer.feed(settings((2, 7)), settings((2, 7)), get(1))
    peer.read()
    assert len(peer.goaways) == 1
    assert peer.calls == ["linger"]


# The peer is gone


@pytest.mark.parametrize("how", ["eof", "lost"])
def test_every_call_hears_of_the_loss_once(peer: Peer, how: str) -> None:
    for stream in (1, 3, 5):
        peer.open(stream, post(stream))
    peer.made[0].begin(b"abc")
    peer.made[1].channel.abort()
    peer.turn()
    peer.sink.written = b""
    if how == "eof":
        assert not peer.engine.feed_eof()
    peer.engine.lost()
    assert [call.calls for call in peer.made] == [
        ["start", "resume", "lost"],
        ["start"],
        ["start", "lost"],
    ]
    for call in peer.made:
        assert not call.begin(b"late")
        assert not call.go_on(b"", more=False)
        call.channel.abort()
        call.channel.consumed(5)
        call.channel.inform(103, [])
    assert not peer.sent
    assert not peer.sink.watched


def test_nobody_is_told_of_the_loss_whose_response_was_complete(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.made[0].answer()
    peer.engine.lost()
    assert peer.made[0].calls == ["start"]


def test_a_flush_that_comes_behind_the_loss_does_nothing(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.made[0].answer(b"abc")
    peer.engine.lost()
    peer.turn()
    assert not peer.sink.written


def test_a_connection_has_no_body_of_its_own(peer: Peer) -> None:
    peer.open(1, post(1))
    assert peer.engine.body_progress() is None
    peer.engine.hang_up()
    assert peer.made[0].calls == ["start"]
