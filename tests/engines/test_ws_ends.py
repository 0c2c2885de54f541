"""The ends of a WebSocket that nobody asked for; and nothing is said behind any end."""

import gc
import os
import tracemalloc
from collections.abc import Callable

import pytest

from aserver.engines.ws import INTERNAL_ERROR, State
from aserver.engines.ws_frames import NewFrames
from aserver.limits import MessageLimits
from tests.engines.ws_wire import (
    CLOSE,
    PONG,
    TEXT,
    Compressor,
    Peer,
    binary,
    closing,
    code_and,
    cut_everywhere,
    deflate_of,
    frame,
    ping,
    text,
)

BROKEN = frame(3)  # there is no such opcode
# What a client may send behind the end, and nobody shall hear or answer.
ANYTHING = [b"\x00", text("late"), ping(b"late"), closing(1000), BROKEN, b"\xff" * 300]


@pytest.fixture
def peer(new_frames: NewFrames) -> Peer:
    return Peer(new_frames)


@pytest.fixture
def patient(new_frames: NewFrames) -> Peer:
    """Whose owner has to be asked before the client is told of its mistake."""
    return Peer(new_frames, hasty=False)


# The client makes a mistake


def test_mistake_is_told_and_nothing_is_waited_for(peer: Peer) -> None:
    peer.feed(BROKEN)
    ((opcode, payload),) = peer.sent
    assert opcode == CLOSE
    assert payload[:2] == code_and(1002)
    assert payload[2:].decode()  # it says why
    assert peer.calls == [("failing",), ("closed", 1002, payload[2:].decode(), "server")]
    assert peer.tunnel.calls == ["close"]


def test_messages_before_a_mistake_can_be_answered_first(patient: Peer) -> None:
    patient.feed(text("a") + ping(b"?") + text("b") + BROKEN + text("c") + ping(b"!"))
    assert patient.calls == [("message", "a", 1), ("message", "b", 1), ("failing",)]
    assert patient.sent == [(PONG, b"?")]
    assert patient.websocket.state is State.FAILING
    assert patient.websocket.send("answer")
    patient.websocket.end_failing()
    (answer, (opcode, payload)) = patient.sent
    assert answer == (TEXT, b"answer")
    assert (opcode, payload[:2]) == (CLOSE, code_and(1002))
    assert patient.ended == (1002, "server")


@pytest.mark.parametrize("mistake", [BROKEN, binary(b"x" * 11), text(b"\xff")])
def test_peer_that_is_failing_is_not_listened_to(new_frames: NewFrames, mistake: bytes) -> None:
    for late in ANYTHING:
        peer = Peer(new_frames, limits=MessageLimits(10, 10, 10), hasty=False)
        peer.feed(mistake + late)
        peer.feed(late)
        peer.websocket.ping()
        assert peer.calls == [("failing",)]
        assert not peer.written
        assert not peer.tunnel.calls


def test_mistake_is_told_and_nothing_else(patient: Peer) -> None:
    patient.feed(text(b"\xff"))
    patient.websocket.close(1000, "bye")
    assert not patient.written
    assert patient.websocket.state is State.FAILING
    patient.websocket.end_failing()
    assert patient.sent == [(CLOSE, code_and(1007, b"a text is not UTF-8"))]
    assert patient.calls == [("failing",), ("closed", 1007, "a text is not UTF-8", "server")]
    assert patient.tunnel.calls == ["close"]


def test_mistake_is_kept_without_its_frames(patient: Peer) -> None:
    """Those of the program, which would hold what they were at work on."""
    patient.feed(text(b"\xff"))
    assert not any(isinstance(each, Exception) for each in gc.get_referents(patient.websocket))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (BROKEN, 1002),
        (text(b"a\xff"), 1007),
        (binary(b"x" * 11), 1009),
        (frame(CLOSE, b"x"), 1002),
        (closing(1000, b"\xff"), 1007),
    ],
)
def test_mistakes_have_codes(new_frames: NewFrames, data: bytes, code: int) -> None:
    for pieces in cut_everywhere(text("ok") + data + text("late")):
        peer = Peer(new_frames, limits=MessageLimits(10, 10, 10))
        peer.feed(*pieces)
        assert peer.messages == ["ok"]
        assert peer.ended == (code, "server")
        assert [opcode for opcode, _ in peer.sent] == [CLOSE]


# The end


def close_by_client(peer: Peer) -> None:
    peer.feed(closing(1000))


def close_by_server(peer: Peer) -> None:
    peer.websocket.close(1000)
    peer.feed(closing(1000))


def fail(peer: Peer) -> None:
    peer.feed(BROKEN)


def fail_while_closing(peer: Peer) -> None:
    peer.websocket.close(1000)
    peer.feed(BROKEN)


def lose(peer: Peer) -> None:
    peer.websocket.lost()


def give_up(peer: Peer) -> None:
    peer.websocket.give_up()


@pytest.mark.parametrize(
    "end",
    [close_by_client, close_by_server, fail, fail_while_closing, lose, give_up],
    ids=lambda end: end.__name__,
)
def test_nothing_is_said_or_heard_behind_the_end(
    new_frames: NewFrames, end: Callable[[Peer], None]
) -> None:
    for late in ANYTHING:
        peer = Peer(new_frames)
        peer.feed(text("begun", fin=False))
        end(peer)
        assert peer.websocket.state is State.CLOSED
        calls, tunnel_calls = peer.calls.copy(), peer.tunnel.calls.copy()
        assert peer.written or end is lose
        peer.feed(late)
        peer.websocket.ping()
        peer.websocket.resume()
        peer.websocket.close(1000)
        assert not peer.written
        assert peer.calls == calls
        assert peer.tunnel.calls == tunnel_calls


@pytest.mark.parametrize("late", ANYTHING)
def test_end_in_the_middle_of_a_read(new_frames: NewFrames, late: bytes) -> None:
    for end in (closing(1000), BROKEN):
        peer = Peer(new_frames)
        peer.feed(end + late)
        assert [opcode for opcode, _ in peer.sent] == [CLOSE]
        assert len(peer.tunnel.calls) == 1
        assert peer.ended is not None


def test_owner_of_a_lost_websocket_is_not_told(peer: Peer) -> None:
    peer.websocket.lost()
    assert not peer.calls
    assert not peer.tunnel.calls


@pytest.mark.parametrize("before", [b"", text("begun", fin=False), BROKEN])
@pytest.mark.parametrize("untaken", [0, 1])
def test_silent_peer_is_given_up(new_frames: NewFrames, before: bytes, untaken: int) -> None:
    """It gets a last word in case that it is there, unless it takes nothing."""
    peer = Peer(new_frames, hasty=False)
    peer.feed(before)
    peer.tunnel.untaken = untaken
    peer.websocket.give_up()
    assert peer.sent == ([] if untaken else [(CLOSE, code_and(INTERNAL_ERROR))])
    assert peer.tunnel.calls == ["abort" if untaken else "close"]
    assert peer.websocket.state is State.CLOSED
    assert peer.ended is None  # the owner knows, it has given up


def test_peer_that_does_not_answer_a_close_frame_is_given_up_without_a_word(peer: Peer) -> None:
    peer.websocket.close(1000)
    assert peer.sent == [(CLOSE, code_and(1000))]
    peer.websocket.give_up()
    assert not peer.written
    assert peer.tunnel.calls == ["abort"]


@pytest.mark.parametrize(
    "end",
    [close_by_client, close_by_server, fail, lose, give_up],
    ids=lambda end: end.__name__,
)
def test_windows_are_let_go_of_at_the_end(
    new_frames: NewFrames, end: Callable[[Peer], None]
) -> None:
    """At once: the frame engine is left to the garbage collector."""
    data = os.urandom(40_000)
    compressed = binary(Compressor()(data), rsv=4, mask=bytes(4))
    tracemalloc.start()
    try:
        peer = Peer(new_frames, deflate_of(15, 15))
        before, _ = tracemalloc.get_traced_memory()
        peer.feed(compressed)
        peer.websocket.send(data)
        assert peer.messages == [data]
        peer.calls.clear()
        assert len(peer.written) > 40_000
        assert tracemalloc.get_traced_memory()[0] > before + 2 * 2**15
        end(peer)
        assert tracemalloc.get_traced_memory()[0] < before + 10_000
    finally:
        tracemalloc.stop()
    peer.websocket.lost()  # as the tunnel may be, later
    assert not peer.messages


# What is seen from outside


def test_taken_is_what_was_written_and_does_not_wait_any_more(peer: Peer) -> None:
    assert (peer.websocket.written, peer.websocket.taken()) == (0, 0)
    peer.websocket.send("hi")
    assert (peer.websocket.written, peer.websocket.taken()) == (4, 4)
    peer.tunnel.untaken = 3
    assert peer.websocket.taken() == 1
    peer.feed(ping(b"?"))
    peer.websocket.ping()
    assert (peer.websocket.written, peer.websocket.taken()) == (9, 6)
    peer.websocket.close(1000)
    assert peer.websocket.written == len(peer.written) == 13


def test_repr_says_how_far_it_is(patient: Peer) -> None:
    assert repr(patient.websocket) == "<WebSocket OPEN held=False rest=0>"
    patient.websocket.hold()
    patient.feed(BROKEN)
    assert repr(patient.websocket) == "<WebSocket OPEN held=True rest=6>"
    patient.websocket.release()
    patient.turns()
    assert repr(patient.websocket) == "<WebSocket FAILING held=False rest=0>"
