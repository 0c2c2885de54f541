"""The end of a WebSocket, in the middle of a large read that is taken in steps."""

import tracemalloc
from math import inf

import pytest

from aserver.engines.h1_tunnel import H1Tunnel
from aserver.engines.ws_frames import NewFrames
from aserver.limits import MessageLimits
from tests.engines.test_ws_steps import LETTERS, READ
from tests.engines.ws_wire import (
    CLOSE,
    PONG,
    Compressor,
    Peer,
    Speaker,
    binary,
    closing,
    code_and,
    deflate_of,
    frame,
    hold_at,
    in_steps_of,
    ping,
    text,
)
from tests.fakes import FakeSink

MIB = 2**20
BROKEN = frame(3)  # there is no such opcode


@pytest.fixture
def peer(new_frames: NewFrames) -> Peer:
    """Of whose bytes 14 are taken at a time: two messages of a letter each."""
    return Peer(in_steps_of(14, new_frames), stepwise=True, hasty=False)


def test_close_frame_behind_the_rest_is_heard_behind_it(peer: Peer) -> None:
    peer.feed(READ + closing(1001))
    while len(peer.messages) < len(LETTERS):
        assert peer.ended is None
        assert not peer.written
        peer.turn()
    peer.turns()
    assert peer.ended == (1001, "client")
    assert peer.tunnel_ends == ["close"]
    assert peer.tunnel.calls[-1] == "close"  # and no release behind it


def test_close_frame_behind_bombs(new_frames: NewFrames) -> None:
    """Not more is inflated than the owner has asked for; and the end comes behind it."""
    count = 40
    bomb = binary(Compressor(reset=True)(bytes(MIB)), rsv=4, mask=bytes(4))
    peer = Peer(
        new_frames,
        deflate_of(inward_reset=True),
        MessageLimits(MIB, inf, inf),
        stepwise=True,
        on_message=lambda peer: peer.websocket.hold(),
    )
    peaks, taken = [], 0
    tracemalloc.start()
    try:
        data = bomb * count + closing(1000)
        before, _ = tracemalloc.get_traced_memory()
        peer.feed(data)
        del data
        while peer.ended is None:
            taken += len(peer.messages)
            peer.calls.clear()
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
            tracemalloc.reset_peak()
            peer.websocket.release()
            peer.turns()
    finally:
        tracemalloc.stop()
    assert taken + len(peer.messages) == count
    assert peer.ended == (1000, "client")
    assert len(peaks) > 3
    assert max(peaks) < 14 * MIB  # of 40


def test_mistake_within_a_step_is_the_end_of_the_rest(peer: Peer) -> None:
    peer.feed(text("a") + BROKEN + READ)
    assert peer.calls == [("message", "a", 1), ("failing",)]
    assert not peer.asked
    assert not peer.tunnel.calls
    assert not peer.websocket.is_held
    peer.feed(READ)
    assert peer.calls[-1] == ("failing",)
    assert not peer.asked


def test_mistake_in_the_rest(peer: Peer) -> None:
    peer.feed(text("a") + text("b") + text("c") + BROKEN + READ)
    assert peer.calls[-1] == ("message", "b", 1)
    assert peer.turns() == 1
    assert peer.calls[-2:] == [("message", "c", 1), ("failing",)]
    # It is read on, so that the end is heard of; but nothing that comes matters.
    assert peer.tunnel.calls == ["hold", "release"]
    peer.feed(READ)
    assert len(peer.messages) == 3
    assert not peer.asked
    peer.websocket.end_failing()
    assert peer.ended == (1002, "server")
    assert peer.tunnel.calls == ["hold", "release", "close"]


def test_mistake_is_not_found_before_the_owner_wants_more(new_frames: NewFrames) -> None:
    peer = Peer(in_steps_of(14, new_frames), stepwise=True, hasty=False, on_message=hold_at("b"))
    peer.feed(text("a") + text("b") + BROKEN)
    assert ("failing",) not in peer.calls
    peer.websocket.release()
    peer.turns()
    assert peer.calls[-1] == ("failing",)


def test_mistake_that_is_told_at_once_ends_the_rest(new_frames: NewFrames) -> None:
    peer = Peer(in_steps_of(14, new_frames), stepwise=True)
    peer.feed(text("a") + text("b") + text("c") + BROKEN + READ)
    peer.turns()
    assert peer.ended == (1002, "server")
    assert peer.tunnel.calls == ["hold", "close"]


def test_our_close_looks_for_the_peers_in_the_rest(peer: Peer) -> None:
    peer.feed(READ + ping(b"?") + closing(1000))
    peer.websocket.close(3000)
    assert peer.sent == [(CLOSE, code_and(3000))]
    peer.turns()
    assert peer.messages == ["a", "b"]
    assert peer.sent == [(PONG, b"?")]
    assert peer.ended == (1000, "client")


def test_mistake_in_the_rest_behind_our_close_frame(peer: Peer) -> None:
    peer.feed(READ + BROKEN + READ)
    peer.websocket.close(1000)
    assert peer.sent == [(CLOSE, code_and(1000))]
    peer.turns()
    assert peer.ended == (1002, "server")
    assert not peer.written
    assert peer.tunnel.calls[-1] == "close"


@pytest.mark.parametrize("held", [False, True])
def test_rest_of_a_lost_websocket_is_let_go_of(peer: Peer, held: bool) -> None:
    peer.feed(READ)
    if held:
        peer.websocket.hold()
    peer.websocket.lost()
    calls = peer.tunnel.calls.copy()
    peer.turns()  # what was asked for comes too late
    assert peer.messages == ["a", "b"]
    assert peer.tunnel.calls == calls
    assert repr(peer.websocket) == f"<WebSocket CLOSED held={held} rest=0>"


# With a tunnel of HTTP/1.1


def test_end_of_what_the_peer_sends_is_heard_behind_the_rest(new_frames: NewFrames) -> None:
    """For it is read when nothing is left; event loops tell it of who is read from only."""
    peer = Peer(in_steps_of(14, new_frames), stepwise=True, on_message=hold_at("d"))
    sink = FakeSink()
    peer.websocket.tunnel = H1Tunnel(sink, Speaker())
    reads = []
    peer.feed(READ)
    while len(peer.messages) < len(LETTERS):
        reads.append(sink.reading)
        if not peer.asked:
            assert peer.messages == [*"abcd"]
            peer.websocket.release()
        peer.turn()
    peer.turns()
    assert not any(reads)
    assert sink.reading
