"""As many streams, and calls of the application, as there may be (RFC 9113 section 5.1.2)."""

from math import inf

import pytest

from aserver.engines.h2_frames import RST_STREAM
from tests.engines.h2_bytes import (
    CALM,
    NO_ERROR,
    REFUSED_STREAM,
    connect,
    data,
    get,
    goaway,
    headers,
    length,
    ping,
    post,
    request_fields,
    reset,
)
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS

MOST = 2**31 - 1


@pytest.fixture
def peer() -> Peer:
    return Peer()


def answer_ping(peer: Peer) -> None:
    """What tells the server that the client knows of its GOAWAY."""
    peer.read()
    peer.feed(ping(peer.pings[-1].payload, ack=True))
    peer.read()


def test_streams_above_the_limit_are_refused() -> None:
    peer = Peer(STREAMS._replace(streams=2))
    for stream in (1, 3, 5, 7):
        peer.open(stream, get(stream))
    peer.read()
    assert len(peer.made) == 2
    assert [peer.replies[stream].reset for stream in (1, 3, 5, 7)] == [None, None, 7, 7]
    peer.made[0].answer()
    peer.turn()
    peer.open(9, get(9))
    assert len(peer.made) == 3
    assert not peer.goaways


def test_the_body_of_a_refused_stream_is_thrown_away() -> None:
    peer = Peer(STREAMS._replace(streams=1))
    peer.open(1, get(1))
    for stream in range(3, 43, 2):
        peer.feed(post(stream, "/", length(16_384)) + data(stream, bytes(16_384), ended=True))
    peer.made[0].answer()
    peer.turn()
    peer.open(43, post(43))
    for _ in range(3):
        peer.feed(data(43, bytes(16_384)))
    peer.read()
    assert not peer.goaways
    assert len(peer.made[1].body) == 3 * 16_384


def test_calls_that_go_on_behind_their_streams_count() -> None:
    peer = Peer(STREAMS._replace(streams=3))
    for stream in (1, 3, 5):
        peer.open(stream, get(stream))
        peer.made[-1].running = True
        peer.feed(reset(stream))
    refused = peer.open(7, get(7))
    peer.read()
    assert refused.reset == REFUSED_STREAM
    peer.made[1].running = False
    served = peer.open(9, get(9))
    peer.read()
    assert served.reset is None
    assert peer.made[-1].started
    assert not peer.goaways


@pytest.mark.parametrize("how", ["abort", "mistake", "too large", "end of a tunnel"])
def test_calls_that_go_on_count_whatever_cut_them_off(how: str) -> None:
    peer = Peer(STREAMS._replace(streams=3), LIMITS._replace(body_size=10))
    for stream in (1, 3, 5):
        is_tunnel = how == "end of a tunnel"
        peer.open(stream, connect(stream) if is_tunnel else post(stream))
        call = peer.made[-1]
        call.running = True
        if is_tunnel:
            call.accept().abort()
        elif how == "abort":
            call.channel.abort()
        elif how == "too large":
            peer.send(stream, bytes(11))
            peer.send(stream, b"", ended=True)
        else:
            peer.feed(headers(stream, [(b"connection", b"close")]))
        peer.turn()
    refused = peer.open(7, get(7))
    peer.read()
    assert refused.reset == REFUSED_STREAM


def test_calls_that_have_answered_do_not_count() -> None:
    """What they still do is their own affair, as on HTTP/1."""
    peer = Peer(STREAMS._replace(streams=2))
    for stream in range(1, 21, 2):
        reply = peer.open(stream, get(stream))
        peer.made[-1].running = True
        peer.made[-1].answer()
        peer.read()
        assert reply.ended


def test_calls_that_are_over_do_not_count() -> None:
    peer = Peer(STREAMS._replace(streams=2))
    for stream in range(1, 101, 2):
        reply = peer.open(stream, get(stream))
        peer.made[-1].running = True
        peer.made[-1].answer()
        peer.made[-1].running = False
        peer.read()
        assert reply.ended


def test_a_refused_stream_is_no_fault_of_those_that_are_there(peer: Peer) -> None:
    peer = Peer(STREAMS._replace(streams=1, requests=inf))
    reply = peer.open(1, get(1))
    peer.open(3, headers(3, request_fields()))
    peer.made[0].answer(b"abc")
    kinds = [(sent.kind, sent.stream) for sent in peer.sent]
    assert kinds[0] == (RST_STREAM, 3)
    assert reply.body == b"abc"
    assert CALM not in [code for _, code in peer.goaways]


# The limit of requests


def test_a_connection_serves_as_many_requests_as_it_may() -> None:
    peer = Peer(STREAMS._replace(requests=3))
    for stream in (1, 3):
        peer.open(stream, get(stream))
        peer.made[-1].answer()
        peer.read()
    assert peer.calls == ["idle", "idle"]
    peer.open(5, get(5))
    peer.made[-1].answer()
    peer.read()
    assert peer.goaways == [(5, NO_ERROR)]
    assert peer.replies[5].ended
    assert peer.calls == ["linger"]


def test_a_connection_does_not_end_while_somebody_waits() -> None:
    """Not all clients are good at it: some lose what they wait for with the GOAWAY."""
    peer = Peer(STREAMS._replace(requests=1))
    replies = [peer.open(stream, get(stream)) for stream in (1, 3, 5)]
    for call in peer.made[:2]:
        call.answer()
    peer.read()
    assert (peer.goaways, peer.calls) == ([], [])
    peer.made[2].answer()
    peer.read()
    assert all(reply.ended for reply in replies)
    assert peer.goaways == [(5, NO_ERROR)]
    assert peer.calls == ["linger"]


def test_who_waits_for_ever_is_told_in_two_steps() -> None:
    peer = Peer(STREAMS._replace(requests=10, streams=5))
    first = peer.open(1, get(1))
    for stream in range(3, 31, 2):
        peer.open(stream, get(stream))
        peer.made[-1].answer()
    answer_ping(peer)
    assert peer.goaways == [(MOST, NO_ERROR), (29, NO_ERROR)]
    refused = peer.open(31, get(31))
    peer.made[0].answer()
    peer.read()
    assert refused.reset == REFUSED_STREAM
    assert first.ended
    assert peer.calls == ["linger"]


def test_who_does_not_listen_is_not_served_for_ever() -> None:
    """It answers no PING, and always has a request that waits."""
    peer = Peer(STREAMS._replace(requests=10, streams=5))
    peer.open(1, get(1))
    for stream in range(3, 401, 2):
        peer.open(stream, get(stream))
        if stream in peer.engine.streams:
            peer.made[-1].answer()
    peer.read()
    assert len(peer.made) <= 10 + 2 * 5
    assert peer.replies[399].reset == REFUSED_STREAM


@pytest.mark.parametrize("how", ["spent", "left by the client"])
def test_a_server_that_stops_tells_the_tunnels_of_a_connection_that_ends(how: str) -> None:
    peer = Peer(STREAMS._replace(requests=1 if how == "spent" else inf))
    peer.open(1, connect(1))
    peer.made[0].accept()
    if how != "spent":
        peer.feed(goaway())
    assert peer.made[0].calls == ["start", "upgraded"]
    peer.engine.drain()
    assert peer.made[0].calls == ["start", "upgraded", "drain"]
