"""A large read is taken in steps: in the same order, and no faster than the owner wants it."""

import pytest

from aserver.engines.ws_deflate import Deflate
from aserver.engines.ws_frames import Frames, NewFrames
from tests.engines.ws_wire import (
    PING,
    PONG,
    TEXT,
    Peer,
    Steps,
    closing,
    frame,
    hold_at,
    in_steps_of,
    more,
    ping,
    text,
)

BROKEN = frame(3)  # there is no such opcode
LETTERS = "abcdefghij"
READ = b"".join(map(text, LETTERS))  # of 7 bytes each


@pytest.fixture
def peer(new_frames: NewFrames) -> Peer:
    """Of whose bytes 14 are taken at a time: two messages of a letter each."""
    return Peer(in_steps_of(14, new_frames), stepwise=True, hasty=False)


# In steps


@pytest.mark.parametrize("size", [1, 2, 6, 7, 8, 13, 14, 15, 69, 70, 71, 1000])
def test_read_is_taken_in_steps(new_frames: NewFrames, size: int) -> None:
    steps: list[Steps] = []

    def make(deflate: Deflate | None, most: float) -> Frames:
        steps.append(Steps(new_frames(deflate, most), size))
        return steps[0]

    peer = Peer(make, stepwise=True)
    peer.feed(READ)
    count = -(-len(READ) // size)
    assert peer.turns() == count - 1
    assert steps[0].sizes == [*[size] * (count - 1), len(READ) - size * (count - 1)]
    assert peer.messages == [*LETTERS]


def test_rest_waits_for_its_turn(peer: Peer) -> None:
    peer.feed(READ)
    assert peer.messages == ["a", "b"]
    assert peer.asked == 1
    assert peer.tunnel.calls == ["hold"]
    assert peer.websocket.is_held
    peer.turn()
    assert peer.messages == ["a", "b", "c", "d"]
    assert peer.asked == 1
    assert "release" not in peer.tunnel.calls
    assert peer.turns() == 3
    assert peer.messages == [*LETTERS]
    assert peer.tunnel.calls[-1] == "release"
    assert peer.tunnel.calls.count("release") == 1
    assert not peer.websocket.is_held


def test_read_of_one_step_is_taken_at_once(peer: Peer) -> None:
    peer.feed(READ[:14])
    assert not peer.asked
    assert not peer.tunnel.calls
    assert not peer.websocket.is_held


def test_what_comes_meanwhile_comes_behind(peer: Peer) -> None:
    peer.feed(READ, text("k"), text("l")[:3])
    assert peer.messages == ["a", "b"]
    assert peer.asked == 1
    peer.turn()
    peer.feed(text("l")[3:])
    peer.turns()
    assert "".join(map(str, peer.messages)) == LETTERS + "kl"


@pytest.mark.parametrize(
    "end", [b"", closing(1000), BROKEN, text(b"\xff"), BROKEN + text("late"), closing(1001) + READ]
)
def test_steps_make_no_difference(new_frames: NewFrames, end: bytes) -> None:
    data = ping(b"1") + READ + text("h€".encode()[:2], fin=False) + ping(b"2")
    data += more(b"\x82\xac") + end
    outcomes = []
    for step in (*range(1, 30), 50, len(data) - 1, len(data), 2**18):
        peer = Peer(in_steps_of(step, new_frames), echo=True)
        peer.feed(data)
        outcomes.append((peer.calls, peer.sent, peer.tunnel_ends, peer.websocket.state))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0][0][10] == ("message", "h€", 4)


def test_pings_are_answered_when_it_is_their_turn(peer: Peer) -> None:
    peer.feed(ping(b"1") + text("a") + ping(b"2") + text("b") + ping(b"3"))
    assert peer.sent == [(PONG, b"1")]
    peer.turn()
    assert peer.sent == [(PONG, b"2")]
    peer.tunnel.is_full = True
    peer.turns()
    assert not peer.written
    peer.websocket.resume()
    assert peer.sent == [(PONG, b"3")]


# Held


def test_nothing_is_taken_while_the_owner_has_enough(new_frames: NewFrames) -> None:
    peer = Peer(in_steps_of(14, new_frames), stepwise=True, on_message=hold_at("b", "e"))
    peer.feed(READ)
    assert peer.messages == ["a", "b"]
    assert not peer.asked
    peer.websocket.go_on()  # that was asked for before
    peer.feed(text("k"))
    assert peer.messages == ["a", "b"]
    assert "release" not in peer.tunnel.calls
    peer.websocket.release()
    assert peer.messages == ["a", "b"]  # not in the middle of what the owner does
    assert peer.turns() == 2
    assert peer.messages == [*"abcdef"]  # a step is not cut short
    assert "release" not in peer.tunnel.calls
    peer.websocket.release()
    peer.turns()
    assert peer.messages == [*LETTERS, "k"]
    assert peer.tunnel.calls[-1] == "release"


def test_tunnel_is_held_and_released_with_nothing_left(peer: Peer) -> None:
    peer.websocket.hold()
    assert peer.tunnel.calls == ["hold"]
    assert peer.websocket.is_held
    peer.websocket.release()
    assert peer.tunnel.calls == ["hold", "release"]
    assert not peer.asked
    assert not peer.websocket.is_held


def test_what_comes_while_held_is_kept(peer: Peer) -> None:
    """The connection may have read it before it heard of that."""
    peer.websocket.hold()
    peer.feed(READ[:7], READ[7:14])
    assert not peer.messages
    peer.websocket.release()
    assert peer.tunnel.calls == ["hold"]
    assert peer.turns() == 1
    assert peer.messages == ["a", "b"]
    assert peer.tunnel.calls == ["hold", "release"]


def test_release_in_a_step_is_no_second_turn_too_many(new_frames: NewFrames) -> None:
    """An owner that takes a message as it comes."""

    def take(peer: Peer) -> None:
        peer.websocket.hold()
        peer.websocket.release()

    peer = Peer(in_steps_of(14, new_frames), stepwise=True, on_message=take)
    peer.feed(READ)
    for _ in range(100):
        if not peer.asked:
            break
        peer.turn()
    assert not peer.asked
    assert peer.messages == [*LETTERS]
    assert peer.tunnel.calls[-1] == "release"


def test_everything_can_be_sent_while_there_is_a_rest(peer: Peer) -> None:
    peer.feed(READ[:20])
    assert peer.websocket.send("hi")
    peer.websocket.ping()
    assert peer.sent == [(TEXT, b"hi"), (PING, b"")]
