"""Frame engines (RFC 6455 section 5): what they find and write, what they refuse and when."""

import struct
from typing import Any

import pytest

from aserver.engines.ws import NO_STATUS
from aserver.engines.ws_frames import Frames, NewFrames
from aserver.types import WebSocketError
from tests.cases import each
from tests.engines.ws_wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    binary,
    closing,
    code_and,
    cut_everywhere,
    frame,
    more,
    ping,
    pong,
    sent_frames,
    text,
)

DATA_OPCODES = {CONTINUATION, TEXT, BINARY}
OPCODES = DATA_OPCODES | {CLOSE, PING, PONG}
# RFC 6455 section 7.4.1 and IANA's registry.
CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


class Record:
    """A FrameReceiver: `found` are the messages, frames joined, and all else in order."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.pieces: list[tuple[str | bytes, int, bool, bool]] = []
        self._data: list[Any] = []

    def on_data(
        self, data: str | bytes, size: int, *, ends_frame: bool, ends_message: bool
    ) -> None:
        assert ends_frame or not ends_message
        self.pieces.append((data, size, ends_frame, ends_message))
        self._data.append(data)
        if ends_message:
            self.found.append(self._data[0][:0].join(self._data))
            self._data = []

    def on_ping(self, payload: bytes) -> None:
        assert type(payload) is bytes
        self.found.append(("ping", payload))

    def on_close(self, code: int, reason: str) -> None:
        assert type(code) is int
        self.found.append(("close", code, reason))


def read(new_frames: NewFrames, *pieces: bytes) -> list[Any]:
    """What is found in them; a mistake is its code, at the end."""
    frames, record = new_frames(None, 2**24), Record()
    try:
        for piece in pieces:
            frames.feed(piece, record)
    except WebSocketError as error:
        record.found.append(error.code if error.reason else "a mistake without a reason")
    return record.found


@pytest.fixture
def frames(new_frames: NewFrames) -> Frames:
    return new_frames(None, 2**24)


# Well-formed


def test_frames_are_found_however_they_are_cut(new_frames: NewFrames) -> None:
    data = (
        text("h€")
        + ping(b"?")
        + binary(b"\x00\xff", fin=False)
        + pong(b"!")
        + more(b"", fin=False)
        + ping()
        + more(b"\x80")
        + text("")
        + binary(b"")
        + closing(1000, "schön".encode())
    )
    for pieces in cut_everywhere(data):
        assert read(new_frames, *pieces) == [
            "h€",
            ("ping", b"?"),
            ("ping", b""),
            b"\x00\xff\x80",
            "",
            b"",
            ("close", 1000, "schön"),
        ]


def test_examples_of_the_rfc(new_frames: NewFrames) -> None:
    """Section 5.7, as far as a client sends them."""
    assert read(new_frames, bytes.fromhex("818537fa213d7f9f4d5158")) == ["Hello"]
    assert read(new_frames, bytes.fromhex("898537fa213d7f9f4d5158")) == [("ping", b"Hello")]
    assert read(new_frames, bytes.fromhex("8a8537fa213d7f9f4d5158")) == []


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 65537])
def test_sizes_on_both_sides_of_each_length_form(new_frames: NewFrames, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    assert read(new_frames, binary(data[:size])) == [data[:size]]
    assert read(new_frames, text("x" * size)) == ["x" * size]
    written = new_frames(None, 2**24).message(data[:size])
    assert sent_frames(written) == [(8, BINARY, data[:size])]


@pytest.mark.parametrize(
    "mask", [b"\x00" * 4, b"\xff" * 4, b"\x01\x02\x04\x08", b"\x80\x00\x00\x01"]
)
def test_any_mask_and_any_byte(new_frames: NewFrames, mask: bytes) -> None:
    data = bytes(range(256))
    whole = binary(data, mask=mask)
    assert read(new_frames, whole) == [data]
    assert read(new_frames, *(whole[i : i + 3] for i in range(0, len(whole), 3))) == [data]


def test_pieces_say_where_frames_and_messages_end(frames: Frames) -> None:
    record = Record()
    first, last = binary(b"abcd", fin=False), more(b"ef")
    for piece in (first[:-2], first[-2:], last[:-1], last[-1:]):
        frames.feed(piece, record)
    assert record.pieces == [
        (b"ab", 2, False, False),
        (b"cd", 2, True, False),
        (b"e", 1, False, False),
        (b"f", 1, True, True),
    ]


def test_pieces_of_text_are_sized_in_bytes(frames: Frames) -> None:
    record = Record()
    data = text("a€b", fin=False)
    frames.feed(data[:-3], record)
    frames.feed(data[-3:] + more("€".encode()), record)
    assert "".join(str(data) for data, *_ in record.pieces) == "a€b€"
    assert sum(size for _, size, *_ in record.pieces) == 8


def test_control_frames_are_taken_whole(frames: Frames) -> None:
    record = Record()
    data = ping(b"x" * 125)
    for i in range(len(data) - 1):
        frames.feed(data[i : i + 1], record)
    assert not record.found
    frames.feed(data[-1:], record)
    assert record.found == [("ping", b"x" * 125)]


@pytest.mark.parametrize("late", [text("a"), ping(), closing(1000), frame(3), b"\xff" * 20])
def test_nothing_comes_behind_a_close_frame(new_frames: NewFrames, late: bytes) -> None:
    assert read(new_frames, closing(1000) + late) == [("close", 1000, "")]
    assert read(new_frames, closing(1000), late) == [("close", 1000, "")]


# Mistakes


@each("first", range(256))
def test_each_first_byte(new_frames: NewFrames, first: int) -> None:
    """Without a message in progress, and with one; without extensions, each bit is a mistake."""
    fin, rsv, opcode = first >> 7, first >> 4 & 7, first & 15
    well_formed = not rsv and opcode in OPCODES and (fin or opcode in DATA_OPCODES)
    data = bytes([first, 0x80, 0, 0, 0, 0])
    found = {CLOSE: ("close", NO_STATUS, ""), PING: ("ping", b"")}
    outside = inside = well_formed
    if opcode == CONTINUATION:
        outside = False
    elif opcode in DATA_OPCODES:
        inside = False
    for begun, good in ((b"", outside), (binary(b"", fin=False), inside)):
        result = read(new_frames, begun + data)
        if not good:
            assert result == [1002]
        elif opcode in found:
            assert result == [found[opcode]]
        elif opcode == PONG or not fin:
            assert result == []
        else:
            assert result in ([""], [b""])
        assert read(new_frames, begun, *(data[i : i + 1] for i in range(6))) == result


# Of each, what there is before any of its payload; masked, but for one.
BAD_HEADS = {
    "unmasked": b"\x81\x05",
    "unmasked and empty": b"\x81\x00",
    "unmasked control frame": b"\x89\x00",
    "unmasked close frame": b"\x88\x02",
    "RSV1": b"\xc1\x85",
    "RSV2": b"\xa1\x85",
    "RSV3": b"\x91\x85",
    "RSV3 of a ping": b"\x99\x85",
    "all bits of a close frame": b"\xf8\x82",
    "opcode 3": b"\x83\x80",
    "opcode 7": b"\x87\x85",
    "opcode 11": b"\x8b\x80",
    "opcode 15": b"\x8f\xfe",
    "fragmented ping": b"\x09\x85",
    "fragmented pong": b"\x0a\x80",
    "fragmented close frame": b"\x08\x82",
    "long ping": b"\x89\xfe",
    "long pong": b"\x8a\xfe",
    "very long ping": b"\x89\xff",
    "long close frame": b"\x88\xfe",
    "2 bytes where 1 would do": b"\x82\xfe\x00\x7d",
    "2 bytes that say nothing": b"\x82\xfe\x00\x00",
    "8 bytes where 2 would do": b"\x82\xff" + struct.pack("!Q", 65535),
    "8 bytes where 1 would do": b"\x82\xff" + struct.pack("!Q", 1),
    "the sign of 8 bytes": b"\x82\xff" + struct.pack("!Q", 1 << 63),
    "all of 8 bytes": b"\x82\xff" + b"\xff" * 8,
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_bad_head_is_refused_as_soon_as_it_is_there(new_frames: NewFrames, name: str) -> None:
    head = BAD_HEADS[name]
    for pieces in cut_everywhere(text("a") + head):
        assert read(new_frames, *pieces) == ["a", 1002]
    assert read(new_frames, text("a") + head[:-1]) == ["a"]


@pytest.mark.parametrize(
    "pieces",
    [
        (more(b"a"),),
        (more(b"a", fin=False),),
        (text("a"), more(b"b")),
        (text("a", fin=False), more(b"b"), more(b"c")),
        (text("a", fin=False), text("b")),
        (text("a", fin=False), binary(b"b", fin=False)),
        (binary(b"a", fin=False), ping(), binary(b"b")),
    ],
)
def test_fragments_out_of_order(new_frames: NewFrames, pieces: tuple[bytes, ...]) -> None:
    for cut in cut_everywhere(b"".join(pieces)):
        assert [each for each in read(new_frames, *cut) if each != ("ping", b"")][-1] == 1002


@pytest.mark.parametrize("begun", [b"", text("a", fin=False)])
def test_fragment_out_of_order_is_refused_with_its_first_byte(
    new_frames: NewFrames, begun: bytes
) -> None:
    out_of_order = text("12345") if begun else more(b"12345")
    assert read(new_frames, begun, out_of_order[:7]) == [1002]


# Close frames


def test_each_close_code(new_frames: NewFrames) -> None:
    taken = {1014}  # some take it, and some do not: see the frame engines' own tests
    for code in {*range(6000), *range(6000, 65536, 251), 65535} - taken:
        (found,) = read(new_frames, closing(code))
        if found == 1002:
            continue
        assert found == ("close", code, "")
        taken.add(code)
    assert taken == CODES


@pytest.mark.parametrize("size", [0, 1, 122, 123])
def test_close_frame_with_a_reason(new_frames: NewFrames, size: int) -> None:
    assert read(new_frames, closing(1000, b"x" * size)) == [("close", 1000, "x" * size)]


def test_half_a_close_code_is_none(new_frames: NewFrames) -> None:
    assert read(new_frames, frame(CLOSE, b"\x03")) == [1002]


@pytest.mark.parametrize(
    "reason", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"x" * 120 + b"\xe2\x82"]
)
def test_reason_that_is_no_text(new_frames: NewFrames, reason: bytes) -> None:
    for pieces in cut_everywhere(closing(1000, reason)):
        assert read(new_frames, *pieces) == [1007]


# What is written


def test_control_frames_that_are_written(new_frames: NewFrames) -> None:
    frames = new_frames(None, 2**24)
    assert sent_frames(frames.ping(b"")) == [(8, PING, b"")]
    assert sent_frames(frames.ping(b"x" * 125)) == [(8, PING, b"x" * 125)]
    assert sent_frames(frames.pong(b"\x00\xff")) == [(8, PONG, b"\x00\xff")]
    assert sent_frames(frames.close(1000, "bye")) == [(8, CLOSE, code_and(1000, b"bye"))]


@pytest.mark.parametrize("code", sorted(CODES - set(range(3001, 4999))))
def test_close_code_is_written_as_it_is(frames: Frames, code: int) -> None:
    assert sent_frames(frames.close(code, "")) == [(8, CLOSE, code_and(code))]


def test_no_code_is_not_written(frames: Frames) -> None:
    assert sent_frames(frames.close(NO_STATUS, "")) == [(8, CLOSE, b"")]


def test_frames_are_bytes(frames: Frames) -> None:
    """Transports keep what they are given, and what is kept must not change."""
    written = [frames.message("a"), frames.message(b"b"), frames.ping(b""), frames.pong(b"")]
    for data in (*written, frames.close(1000, "")):
        assert type(data) is bytes


def test_everything_can_be_written_while_a_message_arrives(frames: Frames) -> None:
    record = Record()
    frames.feed(text("a", fin=False), record)
    assert sent_frames(frames.message("b") + frames.ping(b"")) == [(8, TEXT, b"b"), (8, PING, b"")]
    frames.feed(more(b"c"), record)
    assert record.found == ["ac"]


def test_close_frame_can_be_written_behind_a_mistake(frames: Frames) -> None:
    with pytest.raises(WebSocketError):
        frames.feed(frame(3), Record())
    assert sent_frames(frames.message("a")) == [(8, TEXT, b"a")]
    assert sent_frames(frames.close(1002, "")) == [(8, CLOSE, code_and(1002))]


def test_close_frames_cross(frames: Frames) -> None:
    record = Record()
    assert frames.close(1000, "")
    frames.feed(text("on its way") + closing(1001), record)
    assert record.found == ["on its way", ("close", 1001, "")]
