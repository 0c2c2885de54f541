"""How much of one read is looked at before others have their turn, and what becomes of the rest."""

import pytest

from aserver.engines.h2_frames import PING
from aserver.types import ProtocolError
from tests.engines.h2_bytes import (
    INITIAL_WINDOW,
    NO_ERROR,
    PROTOCOL_ERROR,
    data,
    get,
    ping,
    post,
    reset,
    settings,
)
from tests.engines.h2_peer import STREAMS, Peer

AT_ONCE = 256
MANY = 50_000
# What comes of any place in a body tells what came before it.
LONG = bytes(number % 251 for number in range(MANY))


@pytest.fixture
def peer() -> Peer:
    """With room for all that is sent here."""
    return Peer(STREAMS._replace(window=4 * MANY))


def crumbs(body: bytes, stream: int = 1) -> bytes:
    """A frame for each byte."""
    return b"".join(data(stream, body[at : at + 1]) for at in range(len(body)))


def is_paused(peer: Peer) -> bool:
    """Whether nothing is read, because there is more to look at."""
    return not peer.sink.reading


def turns(peer: Peer) -> None:
    """As many turns as it takes until everything is looked at."""
    while is_paused(peer):
        peer.sink.later.pop(0)()


def test_fifty_thousand_frames_in_one_read(peer: Peer) -> None:
    peer.open(1, post(1))
    call = peer.made[0]
    peer.turn()
    peer.feed(crumbs(LONG))
    assert is_paused(peer), "more would only wait"
    assert call.body == LONG[:AT_ONCE]
    while is_paused(peer):
        before = len(call.body)
        peer.sink.later.pop(0)()
        assert len(call.body) - before <= AT_ONCE
    assert call.body == LONG
    peer.feed(data(1, b"", ended=True))
    assert call.complete
    call.answer(b"abc")
    peer.read()
    assert peer.replies[1].end == (True, None)
    assert not peer.goaways
    peer.assert_nothing_is_left()


@pytest.mark.parametrize(("count", "paused"), [(AT_ONCE - 1, False), (AT_ONCE, False), (257, True)])
def test_as_many_as_are_taken_at_once(peer: Peer, count: int, paused: bool) -> None:
    peer.open(1, post(1))
    peer.feed(crumbs(LONG[:count]))
    assert is_paused(peer) is paused
    assert len(peer.made[0].body) == min(count, AT_ONCE)
    turns(peer)
    assert not is_paused(peer)
    assert peer.made[0].body == LONG[:count]


def test_what_comes_meanwhile_is_kept(peer: Peer) -> None:
    """Reading is paused, but TLS and the transport may have had something already."""
    peer.open(1, post(1))
    pieces = [crumbs(LONG[:1000]), crumbs(LONG[1000:1003])[:-1], b"", crumbs(LONG[1002:2000])[9:]]
    peer.feed(*pieces)
    assert len(peer.made[0].body) == AT_ONCE
    turns(peer)
    peer.feed(crumbs(LONG[2000:2010]))
    assert peer.made[0].body == LONG[:2010]
    assert not is_paused(peer)


def test_what_comes_meanwhile_may_be_the_rest_of_a_frame(peer: Peer) -> None:
    peer.open(1, post(1))
    everything = crumbs(LONG[:1000])
    peer.feed(everything[:-5])
    peer.feed(everything[-5:])
    turns(peer)
    assert peer.made[0].body == LONG[:1000]


def test_others_have_their_turn_in_between(peer: Peer) -> None:
    peer.open(1, post(1))
    peer.turn()
    peer.feed(crumbs(LONG[: 10 * AT_ONCE]))
    seen: list[int] = []
    for _ in range(3):
        peer.sink.soon(lambda: seen.append(len(peer.made[0].body)))
        for _ in range(len(peer.sink.later)):
            peer.sink.later.pop(0)()
    assert seen == [2 * AT_ONCE, 3 * AT_ONCE, 4 * AT_ONCE]


def test_requests_are_begun_in_their_order(peer: Peer) -> None:
    """Those of the first frames do not wait for the last."""
    peer.open(1, post(1))
    upload = peer.made.pop()
    paths = [b"/%d" % number for number in range(60)]
    streams = range(3, 123, 2)
    frames = [
        get(stream, path.decode()) + crumbs(LONG[:10])
        for stream, path in zip(streams, paths, strict=True)
    ]
    peer.feed(b"".join(frames))
    assert 0 < len(peer.made) < len(paths)
    assert all(call.started for call in peer.made)
    turns(peer)
    assert [call.request.target for call in peer.made] == paths
    assert upload.body == LONG[:10] * len(paths)


def test_a_request_that_is_reset_in_the_same_read_but_later_was_begun(peer: Peer) -> None:
    peer.feed(post(1) + crumbs(LONG[:300]) + reset(1))
    assert peer.made[0].calls == ["start"]
    turns(peer)
    assert peer.made[0].calls == ["start", "lost"]
    peer.assert_nothing_is_left()


@pytest.mark.parametrize(
    "wrong", [reset(99), settings((INITIAL_WINDOW, 2**31))], ids=["no stream", "window"]
)
def test_an_error_among_the_rest_ends_the_connection(peer: Peer, wrong: bytes) -> None:
    peer.open(1, post(1))
    peer.feed(crumbs(LONG[:1000]) + wrong + crumbs(LONG[:1000]))
    peer.feed(crumbs(LONG[:10]))
    turns(peer)
    assert peer.made[0].body == LONG[:1000]
    assert peer.made[0].calls == ["start", "lost"]
    assert len(peer.sink.refused) == 1
    peer.read()
    assert [last for last, _ in peer.goaways] == [1]
    assert peer.goaways[0][1] != NO_ERROR
    assert peer.calls == ["linger"]
    assert not is_paused(peer), "what it still sends is thrown away"
    peer.feed(crumbs(LONG[:10]))
    assert not peer.sink.later
    peer.assert_nothing_is_left()


@pytest.mark.parametrize("how", ["lost", "eof", "refused"])
def test_the_end_comes_in_the_middle(peer: Peer, how: str) -> None:
    peer.open(1, post(1))
    peer.feed(crumbs(LONG[:1000]))
    before = peer.made[0].body
    if how == "eof":
        assert not peer.engine.feed_eof()
    elif how == "refused":
        peer.sink.on_refused(peer.engine, ProtocolError(408, "too late"))
    peer.engine.lost()
    peer.turn()
    assert peer.made[0].body == before
    assert peer.made[0].calls == ["start", "lost"]
    assert not peer.sink.watched


def test_answers_do_not_wait_for_the_rest(peer: Peer) -> None:
    reply = peer.open(1, get(1))
    peer.feed(post(3) + crumbs(LONG[: 4 * AT_ONCE], 3))
    assert is_paused(peer)
    peer.made[0].answer(b"abc")
    peer.sink.later.pop(0)()
    peer.sink.later.pop(0)()
    assert b"abc" in peer.sink.written
    assert is_paused(peer)
    turns(peer)
    peer.read()
    assert reply.body == b"abc"
    assert peer.made[1].body == LONG[: 4 * AT_ONCE]


def test_pings_among_the_rest_are_answered(peer: Peer) -> None:
    peer.open(1, post(1))
    peer.feed(crumbs(LONG[:1000]) + ping(b"whatever"))
    assert not peer.pings
    assert [sent.payload for sent in peer.sent if sent.kind == PING] == [b"whatever"]


def test_an_error_in_the_first_frame_of_the_rest(peer: Peer) -> None:
    peer.open(1, post(1))
    peer.feed(crumbs(LONG[:AT_ONCE]) + reset(99))
    assert is_paused(peer)
    turns(peer)
    peer.read()
    assert peer.goaways == [(1, PROTOCOL_ERROR)]
