"""Compressed messages (RFC 7692 section 7.2), in both directions, with clients and zlib."""

import os
import zlib
from collections.abc import Iterator
from itertools import product
from math import inf
from random import Random

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, Event, TextMessage
from wsproto.extensions import PerMessageDeflate

from aserver.engines.ws_deflate import Deflate, DeflateLimits, Deflater, Inflater, negotiated
from aserver.engines.ws_frames import NewFrames
from aserver.engines.ws_handshake import Offer
from aserver.types import WebSocketError
from tests.engines.ws_wire import (
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Compressor,
    Peer,
    binary,
    closing,
    cut_everywhere,
    deflate_of,
    frame,
    inflate,
    more,
    ping,
    sent_frames,
    text,
)

MIB = 2**20
STEP = 2**18  # how much may be inflated beyond the limit
RSV1 = 4
WINDOWS = list(range(9, 16))


def all_agreements() -> Iterator[Deflate]:
    for inward, outward in product(WINDOWS, repeat=2):
        for resets in product([False, True], repeat=2):
            yield deflate_of(inward, outward, inward_reset=resets[0], outward_reset=resets[1])


def messages(seed: int) -> list[bytes]:
    """Some that repeat themselves, at distances larger than the small windows."""
    random = Random(seed)
    words = [random.randbytes(random.randrange(1, 30)) for _ in range(40)]
    return [
        b"".join(random.choice(words) for _ in range(random.choice([0, 1, 3, 200, 3000])))
        for _ in range(6)
    ]


# Round trips


def test_every_agreement_with_a_client_of_zlib() -> None:
    for number, deflate in enumerate(all_agreements()):
        compress = Compressor(deflate.inward_bits, reset=deflate.inward_reset)
        inflater, deflater = Inflater(deflate, inf), Deflater(deflate)
        client = zlib.decompressobj(-deflate.outward_bits)
        for data in messages(number):
            assert inflate(inflater, compress(data)) == data
            compressed = deflater.deflate(data)
            if compressed is None:
                assert not data
                continue
            if deflate.outward_reset:
                client = zlib.decompressobj(-deflate.outward_bits)
            assert client.decompress(compressed + b"\x00\x00\xff\xff") == data
            assert not client.eof


@pytest.mark.parametrize("resets", [*product([False, True], repeat=2)])
@pytest.mark.parametrize(("inward", "outward"), [(9, 9), (9, 15), (12, 12), (15, 9), (15, 15)])
def test_talk_with_wsprotos_client(
    new_frames: NewFrames, inward: int, outward: int, resets: tuple[bool, bool]
) -> None:
    extension = PerMessageDeflate(resets[0], inward, resets[1], outward)
    offered = str(extension.offer()).split("; ")
    pairs = [parameter.partition("=")[::2] for parameter in offered]
    offer = Offer(b"permessage-deflate", [(a.strip().encode(), b.encode()) for a, b in pairs])
    deflate = negotiated([offer], DeflateLimits(15, 0))
    assert deflate is not None
    assert (deflate.inward_bits, deflate.outward_bits) == (inward, outward)
    assert (deflate.inward_reset, deflate.outward_reset) == resets
    extension.finalize(deflate.response.decode())
    client = Connection(ConnectionType.CLIENT, [extension])
    peer = Peer(new_frames, deflate, echo=True)
    for data in messages(inward + outward):
        for event in (BytesMessage(data), TextMessage(data.decode("latin-1"))):
            peer.feed(client.send(event))
            assert peer.messages[-1] == event.data
            client.receive_data(peer.written)
            assert joined(client) == event.data
    assert peer.ended is None


def joined(client: Connection) -> str | bytes:
    found: list[Event] = list(client.events())
    parts = [event.data for event in found if isinstance(event, TextMessage | BytesMessage)]
    assert len(parts) == len(found)
    return parts[0][:0].join(parts)  # type: ignore[arg-type, return-value]


def test_window_of_8_bits_is_inflated() -> None:
    """zlib compresses with no less than 9, but others may; and what they say fits into 9."""
    compressed = Compressor(9)(b"a" * 200)
    assert inflate(Inflater(deflate_of(8), inf), compressed) == b"a" * 200


def test_our_windows_are_as_small_as_agreed() -> None:
    data = os.urandom(300)
    for bits in WINDOWS:
        filler = os.urandom(2**bits - 100)
        sizes = []
        for window in (bits, min(bits + 1, 15)):
            deflater = Deflater(deflate_of(outward=window))
            deflater.deflate(data)
            deflater.deflate(filler)
            sizes.append(len(deflater.deflate(data) or b""))
        assert sizes[0] > 300  # what was the same is beyond the window
        assert sizes[1] < 50 or bits == 15


def test_context_is_kept_unless_agreed_otherwise() -> None:
    data = os.urandom(500)
    sizes = {}
    for reset in (False, True):
        deflater = Deflater(deflate_of(outward_reset=reset))
        sizes[reset] = [len(deflater.deflate(data) or b"") for _ in range(2)]
    assert sizes[True][0] == sizes[True][1] > 500
    assert sizes[False][1] < 50


def test_context_that_was_not_to_be_kept_is_not() -> None:
    compress = Compressor()
    data = os.urandom(500)
    first, second = compress(data), compress(data)
    inflater = Inflater(deflate_of(inward_reset=True), inf)
    assert inflate(inflater, first) == data
    with pytest.raises(WebSocketError) as caught:
        inflate(inflater, second)
    assert caught.value.code == 1007


# On the wire


@pytest.mark.parametrize(("size", "compressed"), [(0, False), (9, False), (10, True), (11, True)])
def test_messages_are_compressed_from_the_threshold_on(
    new_frames: NewFrames, size: int, compressed: bool
) -> None:
    peer = Peer(new_frames, deflate_of(threshold=10))
    for data in (b"x" * size, "x" * size):
        peer.websocket.send(data)
        ((bits, _, payload),) = sent_frames(peer.written)
        assert bits == (8 | RSV1 if compressed else 8)
        assert (payload == b"x" * size) is not compressed


def test_threshold_is_in_bytes(new_frames: NewFrames) -> None:
    peer = Peer(new_frames, deflate_of(threshold=9))
    peer.websocket.send("€€€")
    assert sent_frames(peer.written)[0][0] == 8 | RSV1


def test_empty_message_is_not_compressed(new_frames: NewFrames) -> None:
    peer = Peer(new_frames, deflate_of(threshold=0))
    peer.websocket.send("")
    assert peer.sent == [(TEXT, b"")]


def test_control_frames_are_not_compressed(new_frames: NewFrames) -> None:
    peer = Peer(new_frames, deflate_of())
    peer.websocket.ping()
    peer.feed(ping(b"x" * 100))
    peer.websocket.close(1000, "y" * 100)
    assert [opcode for opcode, _ in peer.sent] == [PING, PONG, 8]


def test_examples_of_the_rfc(new_frames: NewFrames) -> None:
    """RFC 7692 section 7.2.3."""
    one = bytes.fromhex("f248cdc9c90700")
    for pieces in (
        [one],
        [bytes.fromhex("f200110000")],  # .2: "Hello" again, of the window
        [bytes.fromhex("000500faff48656c6c6f00")],  # .3: without compression
        [bytes.fromhex("f348cdc9c9070000")],  # .4: BFINAL
        [bytes.fromhex("f248050000 00ffff cac9c90700")],  # .5: two blocks
    ):
        begun = [one] if pieces[0].startswith(b"\xf2\x00") else []
        peer = Peer(new_frames, deflate_of())
        peer.feed(*(text(piece, rsv=RSV1) for piece in begun + pieces))
        assert peer.messages == ["Hello"] * (len(begun) + 1)
    peer = Peer(new_frames, deflate_of())
    peer.feed(text(one[:3], rsv=RSV1, fin=False), more(one[3:]))  # .1: fragmented
    peer.feed(text(b"\x00", rsv=RSV1))  # .6: empty
    assert peer.messages == ["Hello", ""]


def test_compressed_messages_however_they_are_cut(new_frames: NewFrames) -> None:
    compress = Compressor()
    first, second = compress("schön".encode() * 20), compress(b"\x00\xff" * 30)
    data = (
        text(first[:1], rsv=RSV1, fin=False)
        + ping(b"?")
        + more(first[1:5], fin=False)
        + more(b"", fin=False)
        + more(first[5:], fin=False)
        + more(b"")
        + text("plain")
        + binary(second, rsv=RSV1)
        + closing(1000)
    )
    for pieces in cut_everywhere(data):
        peer = Peer(new_frames, deflate_of())
        peer.feed(*pieces)
        assert peer.calls == [
            ("message", "schön" * 20, 120),
            ("message", "plain", 5),
            ("message", b"\x00\xff" * 30, 60),
            ("closed", 1000, "", "client"),
        ]
        assert [opcode for opcode, _ in peer.sent] == [PONG, 8]


@pytest.mark.parametrize(
    "data",
    [
        frame(PING, rsv=RSV1),
        frame(8, rsv=RSV1),
        frame(PONG, b"x", rsv=RSV1),
        text("a", fin=False) + more(b"b", rsv=RSV1),
        text(Compressor()(b"a"), fin=False, rsv=RSV1) + more(b"", rsv=RSV1),
        frame(CONTINUATION, rsv=RSV1),
        text("a", rsv=2),
        text("a", rsv=1),
        text("a", rsv=RSV1 + 2),
        frame(3, rsv=RSV1),
    ],
)
def test_reserved_bits_with_compression(new_frames: NewFrames, data: bytes) -> None:
    """RFC 7692 section 6.1: RSV1 is for the first frame of a message, and the others for nobody."""
    for pieces in cut_everywhere(data):
        peer = Peer(new_frames, deflate_of())
        peer.feed(*pieces)
        assert peer.ended == (1002, "server")
        assert not peer.messages


def test_text_that_inflates_to_none(new_frames: NewFrames) -> None:
    data = Compressor()(b"a" * 50 + b"\xff" + b"b" * 50)
    for pieces in cut_everywhere(text(data, rsv=RSV1)):
        peer = Peer(new_frames, deflate_of())
        peer.feed(*pieces)
        assert peer.ended == (1007, "server")


def test_garbage_is_no_compressed_message(new_frames: NewFrames) -> None:
    random = Random(7692)
    for _ in range(500):
        peer = Peer(new_frames, deflate_of())
        for size in (random.randrange(1, 40), 9):  # the first may be one that does not end
            peer.feed(binary(random.randbytes(size), rsv=RSV1))
        assert peer.ended == (1007, "server")
