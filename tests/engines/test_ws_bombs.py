"""How much a compressed message may inflate to, and what that holds meanwhile."""

import os
import tracemalloc
import zlib
from math import inf

import pytest

from aserver.engines.ws_deflate import Deflater, Inflater
from aserver.engines.ws_frames import NewFrames
from aserver.limits import MessageLimits
from aserver.types import WebSocketError
from tests.engines.ws_wire import (
    BINARY,
    TEXT,
    UNLIMITED,
    Compressor,
    Peer,
    binary,
    deflate_of,
    frame,
    inflate,
    more,
    text,
)

MIB = 2**20
STEP = 2**18  # how much may be inflated beyond the limit
RSV1 = 4
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # RFC 7692 section 7.2.3.6


# BFINAL


def final(data: bytes) -> bytes:
    """Compressed to an end: what follows is another stream."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def test_blocks_for_good_behind_each_other() -> None:
    data = final(b"a" * 100) + final(b"") + final(b"b" * 100) + Compressor()(b"c")
    inflater = Inflater(deflate_of(), inf)
    for _ in range(2):
        assert inflate(inflater, data) == b"a" * 100 + b"b" * 100 + b"c"
    pieces = [inflater.inflate(data[i : i + 1]) for i in range(len(data))]
    assert b"".join(pieces) + inflater.finish() == b"a" * 100 + b"b" * 100 + b"c"


def test_message_that_ends_for_good_is_no_end_of_the_next() -> None:
    inflater = Inflater(deflate_of(), inf)
    assert inflate(inflater, final(b"one") + b"\x00") == b"one"
    assert inflate(inflater, Compressor()(b"two")) == b"two"


# Bombs


def bomb(size: int) -> bytes:
    return Compressor()(bytes(size))


@pytest.mark.parametrize("most", [0, 1, 1000, STEP - 1, STEP, STEP + 1, 3 * STEP])
def test_limit_is_the_last_size_that_is_inflated(most: int) -> None:
    inflater = Inflater(deflate_of(inward_reset=True), most)
    for _ in range(2):  # it is each message's own
        assert len(inflate(inflater, bomb(most))) == most
    with pytest.raises(WebSocketError) as caught:
        inflate(inflater, bomb(most + 1))
    assert caught.value.code == 1009
    assert str(most) in caught.value.reason


def test_limit_counts_all_pieces_of_a_message() -> None:
    data = Compressor()(os.urandom(1000))
    inflater = Inflater(deflate_of(), 999)
    half = len(data) // 2
    assert 0 < len(inflater.inflate(data[:half])) < 999
    with pytest.raises(WebSocketError) as caught:
        inflater.inflate(data[half:])
    assert caught.value.code == 1009


def test_limit_counts_all_streams_of_a_message() -> None:
    inflater = Inflater(deflate_of(), 1000)
    with pytest.raises(WebSocketError) as caught:
        inflater.inflate(final(bytes(600)) + final(bytes(600)))
    assert caught.value.code == 1009


@pytest.mark.parametrize("most", [0, 4, 1000, MIB])
def test_limit_is_for_what_is_inflated_too(most: int) -> None:
    """Empty blocks inflate to nothing, and there may be any number of them."""
    blocks = EMPTY_BLOCK * (MIB // 2)
    taken = most * 5 // 4 + 65_536
    inflater = Inflater(deflate_of(), most)
    for size in (taken - 4, 1, taken - 4):  # it is each message's own; the end takes 4
        size -= (size - 1) % 5  # of the last block, there is the first byte only
        assert inflate(inflater, blocks[:size]) == b""
    for start in range(0, taken, 4096):
        assert inflater.inflate(blocks[start : min(start + 4096, taken)]) == b""
    with pytest.raises(WebSocketError) as caught:
        inflater.inflate(b"\x00")
    assert (caught.value.code, str(most) in caught.value.reason) == (1009, True)


def test_end_of_a_message_counts_as_the_rest() -> None:
    inflater = Inflater(deflate_of(), 1000)
    assert inflater.inflate(EMPTY_BLOCK * 13_356 + EMPTY_BLOCK[:3]) == b""  # 66,783: 3 are left
    with pytest.raises(WebSocketError) as caught:
        inflater.finish()
    assert caught.value.code == 1009


@pytest.mark.parametrize("most", [0, 1, 1000, 100_000])
def test_what_cannot_be_compressed_is_taken_up_to_the_limit(most: int) -> None:
    """Even from a client that does not try, and sends small blocks."""
    data = os.urandom(most)
    compressor = zlib.compressobj(0, wbits=-15)
    compressed = b"".join(
        compressor.compress(data[i : i + 30]) + compressor.flush(zlib.Z_FULL_FLUSH)
        for i in range(0, most, 30)
    )
    assert len(compressed) >= most
    assert (
        inflate(Inflater(deflate_of(), most), compressed.removesuffix(b"\x00\x00\xff\xff")) == data
    )


def test_no_limit_is_none() -> None:
    inflater = Inflater(deflate_of(), inf)
    assert inflate(inflater, EMPTY_BLOCK * 50_000 + b"\x00") == b""


def test_empty_blocks_on_the_wire(new_frames: NewFrames) -> None:
    peer = Peer(new_frames, deflate_of(), MessageLimits(1000, inf, inf))
    piece = more(EMPTY_BLOCK * 1000, fin=False, mask=bytes(4))
    peer.feed(binary(b"", rsv=RSV1, fin=False), *[piece] * 13)
    assert peer.ended is None
    peer.feed(piece)
    assert peer.ended == (1009, "server")


def peak_of(new_frames: NewFrames, data: bytes, limit: int) -> int:
    """What a WebSocket holds at most while this arrives, which is too much."""
    peer = Peer(new_frames, deflate_of(), MessageLimits(limit, limit, 100))
    tracemalloc.start()
    try:
        peer.feed(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peer.ended == (1009, "server")
    return peak


@pytest.mark.parametrize("kind", [BINARY, TEXT])
def test_bomb_is_inflated_no_further_than_to_the_limit(new_frames: NewFrames, kind: int) -> None:
    data = frame(kind, bomb(40 * MIB), rsv=RSV1, mask=bytes(4))
    peak = peak_of(new_frames, data, MIB)
    assert peak < MIB + 2 * STEP + 3 * len(data)


def test_bomb_in_fragments(new_frames: NewFrames) -> None:
    data = bomb(40 * MIB)
    size = len(data) // 50
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    frames = binary(pieces[0], rsv=RSV1, fin=False, mask=bytes(4))
    frames += b"".join(more(piece, fin=False, mask=bytes(4)) for piece in pieces[1:])
    assert peak_of(new_frames, frames, 8 * MIB) < 8 * MIB + 9 * MIB + 3 * len(frames)


def test_windows_are_made_when_they_are_needed(new_frames: NewFrames) -> None:
    tracemalloc.start()
    try:
        peer = Peer(new_frames, deflate_of(15, 15, threshold=100), UNLIMITED)
        peer.feed(text("short"))
        peer.websocket.send("short")
        assert peer.messages == ["short"]
        assert tracemalloc.get_traced_memory()[0] < 30_000
    finally:
        tracemalloc.stop()


def test_windows_are_let_go_of_when_they_are_not_kept() -> None:
    deflate = deflate_of(15, 15, inward_reset=True, outward_reset=True)
    data = Compressor()(b"x" * 1000)
    tracemalloc.start()
    try:
        inflater, deflater = Inflater(deflate, inf), Deflater(deflate)
        assert inflate(inflater, data) == b"x" * 1000
        assert deflater.deflate(b"x" * 1000)
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()


def test_windows_take_what_was_agreed_on() -> None:
    sizes = []
    data = Compressor(9)(os.urandom(40_000))
    for bits in (9, 12, 15):
        tracemalloc.start()
        try:
            inflater = Inflater(deflate_of(bits), inf)
            inflate(inflater, data)
            sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert sizes[1] - sizes[0] > 3000  # 4096 and 512 bytes
    assert sizes[2] - sizes[1] > 28_000  # 32,768
