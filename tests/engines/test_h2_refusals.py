"""Requests that are refused: whole responses, or resets, and nobody else is affected."""

import pytest

from aserver.engines.h2_frames import DATA, HEADERS, RST_STREAM
from aserver.types import ProtocolError
from tests.engines.h2_bytes import (
    INITIAL_WINDOW,
    NO_ERROR,
    PROTOCOL_ERROR,
    continuation,
    get,
    headers,
    length,
    post,
    request_fields,
    reset,
)
from tests.engines.h2_peer import STREAMS, Peer, Reply
from tests.fakes import LIMITS


@pytest.fixture
def peer() -> Peer:
    return Peer()


def is_whole(reply: Reply, status: int) -> bool:
    """Whether a client can take it for an answer."""
    size = int(dict(reply.fields)[b"content-length"])
    return reply.status == status and reply.ended and len(reply.body) == size


@pytest.mark.parametrize("ended", [False, True])
def test_a_refusal_is_a_whole_response(peer: Peer, ended: bool) -> None:
    """Section 8.1: NO_ERROR comes behind a complete response only."""
    peer.sink.error = ProtocolError(503, "busy")
    reply = peer.open(1, get(1) if ended else post(1))
    peer.read()
    assert reply.body == b"busy\n"
    assert is_whole(reply, 503)
    if not ended:  # the rest is thrown away
        peer.send(1, b"abc", ended=True)
    assert reply.reset is None
    peer.assert_nothing_is_left()


def test_the_rest_of_a_refused_request_is_not_waited_for(peer: Peer) -> None:
    peer.sink.error = ProtocolError(503, "busy")
    reply = peer.open(1, post(1))
    assert peer.wait(2) == 1
    peer.read()
    assert is_whole(reply, 503)
    assert reply.reset == NO_ERROR
    peer.assert_nothing_is_left()


def test_requests_that_are_refused_leave_the_others(peer: Peer) -> None:
    other = peer.open(1, get(1))
    peer.sink.error = ProtocolError(503, "busy")
    peer.open(3, get(3))
    peer.sink.error = None
    peer.open(5, get(5))
    for call in peer.made:
        call.answer(b"abc")
    peer.read()
    assert other.ended
    assert peer.replies[3].status == 503
    assert peer.replies[5].body == b"abc"
    peer.assert_nothing_is_left()


def test_a_thousand_refusals_are_nobody_s_fault(peer: Peer) -> None:
    """It is us who have no room: the client is not told to calm down."""
    peer.sink.error = ProtocolError(503, "busy")
    for stream in range(1, 2001, 2):
        peer.open(stream, get(stream))
    peer.read()
    assert not peer.goaways
    assert peer.replies[1999].status == 503


@pytest.mark.parametrize("room", [0, 1, 10])
def test_a_refusal_is_whole_without_room_for_its_reason(room: int) -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, room))
    peer.sink.error = ProtocolError(503, "busy as can be")
    reply = peer.open(1, get(1))
    peer.read()
    assert (reply.status, reply.ended) == (503, True)
    assert dict(reply.fields).get(b"content-length", b"0") == b"%d" % len(reply.body)
    peer.assert_nothing_is_left()


def test_a_refused_head_request_has_no_body(peer: Peer) -> None:
    reply = peer.open(1, headers(1, request_fields("HEAD", "no-path")))
    peer.read()
    assert (reply.status, reply.body, reply.reset) == (400, b"", PROTOCOL_ERROR)


def test_malformed_requests_are_told_and_reset(peer: Peer) -> None:
    reply = peer.open(1, headers(1, request_fields("GET", "no-path")))
    assert [sent.kind for sent in peer.sent] == [HEADERS, DATA, RST_STREAM]
    assert (reply.status, reply.ended, reply.reset) == (400, False, PROTOCOL_ERROR)
    assert peer.made == []
    peer.assert_nothing_is_left()


def test_a_body_may_be_too_large_by_what_it_says() -> None:
    peer = Peer(STREAMS, LIMITS._replace(body_size=10))
    reply = peer.open(1, post(1, "/", length(11)))
    peer.read()
    assert peer.made == []
    assert is_whole(reply, 413)
    peer.send(1, bytes(11), ended=True)
    assert reply.reset is None
    peer.assert_nothing_is_left()


@pytest.mark.parametrize("ended", [False, True])
def test_a_body_may_turn_out_too_large(ended: bool) -> None:
    peer = Peer(STREAMS, LIMITS._replace(body_size=10))
    reply = peer.open(1, post(1))
    peer.send(1, bytes(10))
    assert not reply.status
    peer.send(1, bytes(1), ended=ended)
    peer.read()
    assert peer.made[0].calls == ["start", "lost"]
    assert is_whole(reply, 413)
    if not ended:
        peer.send(1, bytes(10_000), ended=True)
    assert reply.reset is None
    peer.assert_nothing_is_left()


@pytest.mark.parametrize("how", ["reset", "lost", "late"])
def test_a_call_hears_once_that_its_request_was_refused(how: str) -> None:
    peer = Peer(STREAMS, LIMITS._replace(body_size=10))
    peer.open(1, post(1))
    peer.send(1, bytes(11))
    peer.turn()
    if how == "reset":
        peer.feed(reset(1))
    elif how == "lost":
        peer.engine.lost()
    else:
        peer.wait(2)
    assert peer.made[0].calls == ["start", "lost"]
    peer.assert_nothing_is_left()


def test_a_body_that_turns_out_too_large_behind_a_head_is_broken_off() -> None:
    """Who has the head must not take what came for a response that is complete."""
    peer = Peer(STREAMS, LIMITS._replace(body_size=10))
    reply = peer.open(1, post(1))
    peer.made[0].begin(b"half")
    peer.send(1, bytes(11))
    peer.read()
    assert not reply.ended
    assert reply.reset not in (None, NO_ERROR)


def test_limits_of_heads_are_those_of_http_1(peer: Peer) -> None:
    large = (b"x-large", bytes(b"a" * 20_000))
    whole = headers(1, request_fields("GET", "/", large))[9:]
    reply = peer.open(1, headers(1, [], whole=False), continuation(1, whole[:16_384], whole=False))
    peer.feed(continuation(1, whole[16_384:]))
    peer.read()
    assert is_whole(reply, 431)
    assert not peer.goaways
