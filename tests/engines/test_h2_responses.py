"""Responses of HTTP/2 (RFC 9113 section 8.1): heads, bodies, trailers, interim ones, ends."""

import pytest

from aserver.engines.h2_frames import DATA, HEADERS
from tests.engines.h2_bytes import (
    INITIAL_WINDOW,
    get,
    headers,
    request_fields,
)
from tests.engines.h2_peer import DATE_AND_SERVER, STREAMS, Peer
from tests.fakes import LIMITS


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_a_request(peer: Peer) -> None:
    peer.open(1, get(1, "/path?query", (b"accept", b"*/*")))
    request = peer.made[0].request
    assert (request.method, request.target, request.http_version) == ("GET", b"/path?query", "2")
    assert request.headers == [(b"host", b"a"), (b"accept", b"*/*")]
    assert peer.made[0].complete


def test_a_response(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    assert peer.made[0].answer(b"hello", (b"X-Name", b"value"))
    assert [(sent.kind, sent.flags) for sent in peer.sent] == [(HEADERS, 4), (DATA, 1)]
    assert reply.status == 200
    length = (b"content-length", b"5")
    assert reply.fields == [(b"x-name", b"value"), length, *DATE_AND_SERVER]
    assert reply.body == b"hello"
    assert reply.ended
    peer.assert_nothing_is_left()


def test_a_response_in_parts(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    call = peer.made[0]
    assert call.begin()
    peer.read()
    assert (reply.status, reply.body) == (200, b"")
    assert reply.fields == DATE_AND_SERVER
    for part in (b"a", b"b"):
        assert call.go_on(part)
    peer.read()
    assert (reply.body, reply.ended) == (b"ab", False)
    call.go_on(b"", more=False)
    peer.read()
    assert reply.ended
    assert reply.sizes == [1, 1, 0]
    peer.assert_nothing_is_left()


def test_a_response_that_says_its_own_length(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    peer.made[0].answer(b"abc", (b"content-length", b"3"))
    peer.read()
    assert [value for name, value in reply.fields if name == b"content-length"] == [b"3"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body(peer: Peer, method: str, status: int) -> None:
    reply = peer.open(1, headers(1, request_fields(method)))
    peer.made[0].answer(b"not sent", status=status)
    assert [(sent.kind, sent.flags) for sent in peer.sent] == [(HEADERS, 5)]
    assert (reply.status, reply.body, reply.ended) == (status, b"", True)
    assert b"content-length" not in dict(reply.fields)
    peer.assert_nothing_is_left()


def test_head_keeps_the_length_that_get_has(peer: Peer) -> None:
    reply = peer.open(1, headers(1, request_fields("HEAD")))
    peer.made[0].answer(b"", (b"content-length", b"1000"))
    peer.read()
    assert (b"content-length", b"1000") in reply.fields
    assert reply.ended


def test_an_empty_response_is_one_frame(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    peer.made[0].answer()
    assert [(sent.kind, sent.flags) for sent in peer.sent] == [(HEADERS, 5)]
    assert (b"content-length", b"0") in reply.fields


def test_interim_responses(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    call = peer.made[0]
    call.channel.inform(103, [(b"Link", b"</style.css>")])
    peer.read()
    assert (reply.interim, reply.status) == ([103], 0)
    call.begin()
    call.channel.inform(103, [])
    peer.read()
    assert reply.interim == [103]
    assert reply.status == 200


def test_nothing_is_informed_of_behind_the_end(peer: Peer) -> None:
    peer.open(1, get(1))
    peer.made[0].answer()
    sent = len(peer.sent)
    peer.made[0].channel.inform(103, [])
    assert (sent, peer.sent) == (1, [])


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_trailers(peer: Peer, body: bytes) -> None:
    reply = peer.open(1, get(1, "/", (b"te", b"trailers")))
    call = peer.made[0]
    call.begin(body)
    call.channel.trailers([(b"X-Sum", b"1")])
    peer.read()
    assert reply.trailers == [(b"x-sum", b"1")]
    assert reply.body == body
    assert reply.ended
    assert 0 not in reply.sizes
    peer.assert_nothing_is_left()


def test_trailers_wait_for_the_body_before_them() -> None:
    peer = Peer(STREAMS, LIMITS, (INITIAL_WINDOW, 2))
    reply = peer.open(1, get(1))
    peer.made[0].begin(b"abc")
    peer.made[0].channel.trailers([(b"x-sum", b"1")])
    peer.read()
    assert (reply.body, reply.trailers) == (b"ab", None)
    peer.credit(1, 1)
    peer.read()
    assert (reply.body, reply.trailers) == (b"abc", [(b"x-sum", b"1")])
    peer.assert_nothing_is_left()


def test_abort_lets_the_client_see_that_it_is_broken(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    peer.made[0].begin(b"half")
    peer.made[0].channel.abort()
    peer.read()
    assert (reply.body, reply.ended, reply.reset) == (b"half", False, 2)
    peer.assert_nothing_is_left()
    assert peer.made[0].calls == ["start"]


def test_nothing_is_sent_behind_the_end(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    call = peer.made[0]
    call.channel.abort()
    assert peer.sent
    assert not call.begin(b"late")
    assert not call.go_on(b"later", more=False)
    call.channel.trailers([(b"x-sum", b"1")])
    call.channel.abort()
    call.channel.consumed(5)
    assert not peer.sent
    assert reply.status == 0


def test_files_are_not_sent_by_the_kernel(peer: Peer) -> None:
    peer.open(1, get(1))
    assert peer.made[0].channel.send_file(0, 0, 10) is None
