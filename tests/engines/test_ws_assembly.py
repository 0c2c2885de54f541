"""Messages from their fragments: limits of size and number, to the byte, and what they cost."""

import tracemalloc
from collections.abc import Callable
from math import inf

import pytest

from aserver.engines.ws_assembly import Assembly
from aserver.engines.ws_frames import NewFrames
from aserver.limits import MessageLimits
from aserver.types import WebSocketError
from tests.engines.ws_wire import Peer, binary, closing, more, ping, text

MIB = 2**20


def assembly(message: float = inf, frame: float = inf, fragments: float = inf) -> Assembly:
    return Assembly(MessageLimits(message, frame, fragments))


def code_of(call: Callable[[], None]) -> int:
    with pytest.raises(WebSocketError) as caught:
        call()
    assert "--websocket-max" in caught.value.reason
    return caught.value.code


# By itself


@pytest.mark.parametrize("count", [0, 1, 2, 1022, 1023, 1024, 1025, 2047, 2048, 5000])
def test_pieces_are_joined_in_order(count: int) -> None:
    whole = assembly()
    pieces = [b"%d;" % number for number in range(count)]
    for piece in pieces:
        whole.count(len(piece), ends_frame=True)
        whole.add(piece)
    assert whole.size == sum(map(len, pieces))
    whole.count(4, ends_frame=True)
    assert whole.take(b"last") == b"".join(pieces) + b"last"
    assert whole.size == 0


def test_message_of_one_piece_is_not_copied() -> None:
    piece = b"x" * 100
    whole = assembly()
    whole.count(100, ends_frame=True)
    assert whole.take(piece) is piece


def test_text_stays_text() -> None:
    whole = assembly()
    whole.add("")
    whole.add("h€")
    assert whole.take("") == "h€"
    assert whole.take("") == ""
    assert whole.take(b"") == b""


def test_what_is_cleared_does_not_come_back() -> None:
    whole = assembly(message=10, frame=10, fragments=2)
    whole.count(10, ends_frame=True)
    for number in range(2000):
        whole.add(b"%d" % number)
    whole.clear()
    assert whole.size == 0
    whole.count(5, ends_frame=False)
    whole.add(b"brand-")
    whole.count(5, ends_frame=True)
    assert whole.take(b"new") == b"brand-new"


def test_limit_of_a_message_is_the_last_size_that_is_taken() -> None:
    whole = assembly(message=10)
    whole.count(4, ends_frame=True)
    whole.count(6, ends_frame=True)
    assert code_of(lambda: whole.count(1, ends_frame=False)) == 1009


def test_limit_of_a_frame_begins_anew_with_each_frame() -> None:
    whole = assembly(frame=4)
    for _ in range(3):
        whole.count(2, ends_frame=False)
        whole.count(2, ends_frame=True)
    whole.count(4, ends_frame=False)
    assert code_of(lambda: whole.count(1, ends_frame=True)) == 1009


def test_limit_of_fragments_counts_frames_and_not_pieces() -> None:
    whole = assembly(fragments=2)
    for _ in range(5):
        whole.count(1, ends_frame=False)
    whole.count(1, ends_frame=True)
    whole.count(0, ends_frame=True)
    whole.count(1, ends_frame=False)
    assert code_of(lambda: whole.count(1, ends_frame=True)) == 1009


def test_limits_begin_anew_with_each_message() -> None:
    whole = assembly(message=4, frame=4, fragments=1)
    for _ in range(3):
        whole.count(4, ends_frame=True)
        whole.take(b"1234")


# On the wire


@pytest.mark.parametrize(
    ("limits", "taken", "refused"),
    [
        (MessageLimits(10, inf, inf), binary(b"x" * 10), binary(b"x" * 11)),
        (MessageLimits(6, inf, inf), text("€€"), text("€€x")),
        (
            MessageLimits(10, inf, inf),
            binary(b"x" * 5, fin=False) + more(b"x" * 5),
            binary(b"x" * 5, fin=False) + more(b"x" * 6),
        ),
        (MessageLimits(inf, 5, inf), binary(b"x" * 5), binary(b"x" * 6)),
        (MessageLimits(5, 6, inf), text("x" * 5), text("x" * 6)),
        (MessageLimits(inf, inf, 1), text("x"), text("x", fin=False) + more(b"")),
        (
            MessageLimits(inf, 5, inf),
            binary(b"x" * 5, fin=False) + more(b"x" * 5),
            binary(b"x", fin=False) + more(b"x" * 6),
        ),
        (
            MessageLimits(inf, inf, 3),
            binary(b"", fin=False) + more(b"", fin=False) + more(b""),
            binary(b"", fin=False) + more(b"", fin=False) * 3,
        ),
        (MessageLimits(0, inf, inf), binary(b""), binary(b"x")),
    ],
)
def test_limits_to_the_byte(
    new_frames: NewFrames, limits: MessageLimits, taken: bytes, refused: bytes
) -> None:
    for bytewise in (False, True):
        peer = Peer(new_frames, limits=limits)
        feed = peer.feed_bytewise if bytewise else peer.feed
        feed(taken + taken)
        assert len(peer.messages) == 2
        feed(refused + text("late"))
        assert len(peer.messages) == 2
        assert peer.ended == (1009, "server")


def test_message_that_is_too_large_is_refused_before_it_is_there(new_frames: NewFrames) -> None:
    peer = Peer(new_frames, limits=MessageLimits(10, inf, inf))
    peer.feed(binary(b"x" * 1000)[: 8 + 11])
    assert peer.ended == (1009, "server")


def test_control_frames_count_for_nothing(new_frames: NewFrames) -> None:
    peer = Peer(new_frames, limits=MessageLimits(2, 1, 2))
    data = binary(b"a", fin=False) + ping(b"x" * 125) * 10 + more(b"b") + closing(1000, b"x" * 100)
    peer.feed(data)
    assert peer.messages == [b"ab"]
    assert peer.ended == (1000, "client")


@pytest.mark.parametrize("kind", [binary, text])
def test_tiny_fragments_cost_little_more_than_their_bytes(
    new_frames: NewFrames, kind: Callable[..., bytes]
) -> None:
    count = 5_000
    peer = Peer(new_frames)
    peer.feed(kind(b"a", fin=False))
    batch = more(b"x", fin=False) * 100
    tracemalloc.start()
    try:
        for _ in range(count // 100):
            peer.feed(batch)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * count + 80_000  # as many objects would be three times that
    peer.feed(more(b"z"))
    ((_, message, size),) = peer.calls
    assert len(message) == size == count + 2
    assert message[:2] + message[-1:] in ("axz", b"axz")


def test_empty_fragments_cost_nothing(new_frames: NewFrames) -> None:
    peer = Peer(new_frames)
    peer.feed(binary(b"", fin=False))
    batch = more(b"", fin=False) * 1000
    tracemalloc.start()
    try:
        for _ in range(10):
            peer.feed(batch)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000


def refuse(peer: Peer) -> None:
    peer.feed(more(b"x"))
    assert peer.calls == [("failing",)]


def close(peer: Peer) -> None:
    peer.websocket.close(1000)


def be_closed(peer: Peer) -> None:
    peer.feed(closing(1000))


def lose(peer: Peer) -> None:
    peer.websocket.lost()


@pytest.mark.parametrize("end", [refuse, close, be_closed, lose], ids=lambda end: end.__name__)
def test_message_that_is_not_wanted_any_more_is_let_go_of(
    new_frames: NewFrames, end: Callable[[Peer], None]
) -> None:
    """Although it may be some time until the WebSocket itself is."""
    peer = Peer(new_frames, limits=MessageLimits(2 * MIB, inf, inf), hasty=False)
    piece = more(bytes(2**16), fin=False, mask=bytes(4))
    tracemalloc.start()
    try:
        peer.feed(binary(b"", fin=False))
        for _ in range(32):
            peer.feed(piece)
        assert tracemalloc.get_traced_memory()[0] > 2 * MIB
        end(peer)
        assert tracemalloc.get_traced_memory()[0] < MIB / 2
    finally:
        tracemalloc.stop()
