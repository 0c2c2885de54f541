"""HTTP/2's frames, cut off the bytes of a connection."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hyperframe.frame import FRAMES as KINDS
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame
from hyperframe.frame import Frame as LibraryFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    Frame,
    FrameReader,
    H2Error,
    TableUpdates,
    goaway,
    ping,
)
from aserver.types import ProtocolError
from tests.cases import each
from tests.engines.h2_bytes import frame

FIRST = frame(SETTINGS)
OPENING = PREFACE + FIRST
# One of each size that could matter to a reader, and of each kind to which something is special.
FRAMES = [
    FIRST,
    frame(HEADERS, 5, 1, b"\x82"),
    frame(DATA, stream=1, payload=b""),
    frame(DATA, END_STREAM, 1, b"x"),
    frame(PING, ACK, payload=b"12345678"),
    frame(PRIORITY_UPDATE, payload=b"\0\0\0\x01u=1"),
    frame(0xFF, 0xFF, 2**31 - 1, b"y" * 300),
]
CONVERSATION = PREFACE + b"".join(FRAMES)


def read(*pieces: bytes) -> list[bytes]:
    """The frames that come of pieces, as they were."""
    reader = FrameReader()
    return [each.data for piece in pieces for each in reader.feed(piece)]


def fault(*pieces: bytes) -> H2Error:
    with pytest.raises(H2Error) as caught:
        read(*pieces)
    return caught.value


# Where a frame ends


def test_frames_in_one_piece() -> None:
    assert read(CONVERSATION) == FRAMES


@each("cut", range(1, len(CONVERSATION)))
def test_cut_in_two(cut: int) -> None:
    assert read(CONVERSATION[:cut], CONVERSATION[cut:]) == FRAMES


def test_byte_by_byte() -> None:
    assert read(*(CONVERSATION[i : i + 1] for i in range(len(CONVERSATION)))) == FRAMES


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(0, 500), max_size=10),
)
def test_cut_anywhere(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    expected = [FIRST, *(frame(kind, payload=payload) for kind, payload in frames)]
    data = PREFACE + b"".join(expected)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert read(*(data[a:b] for a, b in pairwise(places))) == expected


def test_a_frame_comes_as_soon_as_it_is_whole() -> None:
    reader = FrameReader()
    assert [each.data for each in reader.feed(OPENING + FRAMES[1][:-1])] == [FIRST]
    assert [each.data for each in reader.feed(FRAMES[1][-1:])] == [FRAMES[1]]


def test_frames_come_one_by_one() -> None:
    """A mistake behind a frame does not keep that from being taken first."""
    reader = FrameReader()
    frames = reader.feed(OPENING + frame(DATA, payload=b"x" * (MAX_FRAME_SIZE + 1)))
    assert next(frames).data == FIRST
    with pytest.raises(H2Error):
        next(frames)


@pytest.mark.parametrize("cut", range(len(PREFACE) + 1))
def test_a_preface_in_part_counts_as_a_head(cut: int) -> None:
    """So the time for a head is running."""
    reader = FrameReader()
    list(reader.feed(PREFACE[:cut]))
    assert reader.mid_head is (0 < cut < len(PREFACE))


@pytest.mark.parametrize("kind", [*range(10), PRIORITY_UPDATE])
def test_frame_with_a_head_in_part(kind: int) -> None:
    """As soon as its kind has come, and until it is whole."""
    data = frame(kind, 0, 1, bytes(8))
    for cut in range(len(data) + 1):
        reader = FrameReader()
        list(reader.feed(OPENING + data[:cut]))
        is_head = kind in (HEADERS, CONTINUATION) and 4 <= cut < len(data)
        assert reader.mid_head is is_head


def test_large_frame_byte_by_byte() -> None:
    reader = FrameReader()
    list(reader.feed(OPENING))
    data = frame(DATA, payload=bytes(range(256)) * 64)
    assert not [each for i in range(len(data) - 1) for each in reader.feed(data[i : i + 1])]
    (whole,) = reader.feed(data[-1:])
    assert whole.data == data
    assert not reader.mid_head


# The preface


@pytest.mark.parametrize("place", range(len(PREFACE)))
def test_preface_that_is_wrong_at_one_byte(place: int) -> None:
    wrong = PREFACE[:place] + bytes([PREFACE[place] ^ 0x20]) + PREFACE[place + 1 :]
    for pieces in ([wrong], [wrong[: place + 1]], [wrong[:place], wrong[place:]]):
        error = fault(*(piece for piece in pieces if piece))
        assert error.code == ErrorCode.PROTOCOL_ERROR
        assert error.reason == "the connection preface is not HTTP/2's"


@pytest.mark.parametrize("kind", sorted({*range(20), 255} - {SETTINGS}))
def test_first_frame_is_settings(kind: int) -> None:
    for pieces in ([PREFACE + frame(kind)], [PREFACE, frame(kind)]):
        error = fault(*pieces)
        assert error.code == ErrorCode.PROTOCOL_ERROR
        assert error.reason == "the first frame is not SETTINGS"


def test_first_frame_is_no_acknowledgement() -> None:
    assert fault(PREFACE + frame(SETTINGS, ACK)).code == ErrorCode.PROTOCOL_ERROR
    assert read(OPENING + frame(SETTINGS, ACK)) == [FIRST, frame(SETTINGS, ACK)]


# Sizes


@pytest.mark.parametrize("kind", [DATA, HEADERS, SETTINGS, PUSH_PROMISE, 0xBE])
def test_largest_frame(kind: int) -> None:
    largest = frame(kind, payload=b"x" * MAX_FRAME_SIZE)
    assert read(OPENING + largest) == [FIRST, largest]
    assert read(OPENING + largest[:5000], largest[5000:]) == [FIRST, largest]
    error = fault(OPENING + frame(kind, payload=b"x" * (MAX_FRAME_SIZE + 1)))
    assert error.code == ErrorCode.FRAME_SIZE_ERROR
    assert error.reason == "a frame of 16385 bytes"


def test_size_that_we_allow_is_the_smallest_that_one_may() -> None:
    assert MAX_FRAME_SIZE == 2**14  # section 6.5.2


@pytest.mark.parametrize("cut", range(1, 9))
def test_too_large_is_seen_by_the_header(cut: int) -> None:
    """Nobody waits for 16 MiB in order to refuse them."""
    head = frame(DATA, payload=b"")[3:]
    data = b"\xff\xff\xff" + head
    assert read(OPENING, data[:cut]) == [FIRST]
    assert fault(OPENING, data[:cut], data[cut:]).reason == "a frame of 16777215 bytes"


# What a frame says


def test_fields_of_a_frame() -> None:
    (_, each) = FrameReader().feed(OPENING + frame(HEADERS, 0x25, 7, b"abc"))
    assert each == Frame(HEADERS, 0x25, 7, frame(HEADERS, 0x25, 7, b"abc"))
    assert (each.size, each.payload, each.ends_stream) == (3, b"abc", True)


def test_reserved_bit_of_a_stream_is_ignored() -> None:
    """Section 4.1."""
    reader = FrameReader()
    list(reader.feed(OPENING))
    (each,) = reader.feed(frame(DATA, stream=2**31 + 5))
    assert each.stream == 5


@each("flags", range(256))
def test_end_of_a_stream(flags: int) -> None:
    assert Frame(DATA, flags, 1, frame(DATA, flags, 1)).ends_stream is bool(flags & 1)


@pytest.mark.parametrize(
    ("payload", "flags", "size"),
    [
        (b"", 0, 0),
        (b"abc", 0, 3),
        (b"\x02ab\0\0", PADDED, 2),
        (b"\x00abc", PADDED, 3),
        (b"\x00", PADDED, 0),
        (b"\x03\0\0\0", PADDED, 0),
        (b"\x02ab\0\0", PADDED | END_STREAM, 2),
        (b"\x02ab\0\0", END_STREAM, 5),
        # Broken: no length of the padding, and more of it than there is. The wire refuses these.
        (b"", PADDED, 0),
        (b"\x04\0\0\0", PADDED, -1),
        (b"\xff", PADDED, -255),
    ],
)
def test_padding_is_no_body(payload: bytes, flags: int, size: int) -> None:
    assert Frame(DATA, flags, 1, frame(DATA, flags, 1, payload)).body_size == size


@given(st.binary(max_size=300), st.integers(0, 255))
def test_body_is_what_the_library_makes_of_it(body: bytes, padding: int) -> None:
    theirs = DataFrame(1, body, flags=["PADDED"], pad_length=padding)
    (_, ours) = FrameReader().feed(OPENING + theirs.serialize())
    assert ours.body_size == len(body)
    assert ours.size == theirs.flow_controlled_length


@pytest.mark.parametrize(
    ("payload", "is_zero"),
    [
        (bytes(4), True),
        (b"\x80\0\0\0", True),  # a reserved bit (section 6.9)
        (b"\0\0\0\x01", False),
        (b"\x7f\xff\xff\xff", False),
        (bytes(3), False),  # the wire refuses these
        (bytes(5), False),
        (b"", False),
    ],
)
def test_update_of_nothing(payload: bytes, is_zero: bool) -> None:
    found = Frame(WINDOW_UPDATE, 0, 1, frame(WINDOW_UPDATE, 0, 1, payload))
    assert found.is_zero is is_zero


# The table of a header section (RFC 7541 section 4.2)

UPDATES = [b"\x20", b"\x3e", b"\x3f\x00", b"\x3f\xe1\x1f", b"\x3f" + b"\x80" * 20 + b"\x01"]


def headers(payload: bytes, flags: int = 0) -> Frame:
    return Frame(HEADERS, flags, 1, frame(HEADERS, flags, 1, payload))


@pytest.mark.parametrize("rest", [b"", b"\x82", b"\x40\x01x\x01y", b"\x1f\x20", b"\x80", b"\x7f"])
@pytest.mark.parametrize(
    ("flags", "before"),
    [
        (0, b""),
        (PADDED, b"\x00"),
        (PRIORITISED, b"\0\0\0\x03\x20"),
        (PADDED | PRIORITISED, b"\x20\x20\x20\x20\x20\x20"),
    ],
)
def test_table_changes_twice_at_most(flags: int, before: bytes, rest: bytes) -> None:
    for update in UPDATES:
        for count in range(3):
            TableUpdates().check(headers(before + update * count + rest, flags))
        for count in (3, 1000):
            with pytest.raises(H2Error) as caught:
                TableUpdates().check(headers(before + update * count + rest, flags))
            assert caught.value.code == ErrorCode.COMPRESSION_ERROR


@given(st.binary(max_size=12), st.integers(0, 255))
def test_any_header_section_begins_somehow(payload: bytes, flags: int) -> None:
    """Nothing but a refusal may come of it; none of one that has not three updates."""
    if sum(byte & 0xE0 == 0x20 for byte in payload) < 3:
        TableUpdates().check(headers(payload, flags))
    else:
        with suppress(H2Error):
            TableUpdates().check(headers(payload, flags))


# Frames of our own


def parsed(data: bytes) -> LibraryFrame:
    """A frame as the library reads it."""
    found, size = LibraryFrame.parse_frame_header(memoryview(data[:9]), strict=True)
    assert len(data) == 9 + size
    found.parse_body(memoryview(data[9:]))
    return found


@pytest.mark.parametrize(("last", "said"), [(0, 0), (7, 7), (2**31 - 1,) * 2, (None, 2**31 - 1)])
@pytest.mark.parametrize("code", [ErrorCode.NO_ERROR, ErrorCode.ENHANCE_YOUR_CALM])
def test_goaway(last: int | None, said: int, code: int) -> None:
    found = parsed(goaway(last, code))
    assert isinstance(found, GoAwayFrame)
    assert (found.stream_id, found.last_stream_id, found.error_code) == (0, said, code)
    assert found.additional_data == b""


def test_ping() -> None:
    found = parsed(ping(b"12345678"))
    assert isinstance(found, PingFrame)
    assert (found.opaque_data, {*found.flags}) == (b"12345678", set())


def test_kinds_are_those_of_the_library() -> None:
    kinds = {
        "DATA": DATA,
        "HEADERS": HEADERS,
        "PRIORITY": PRIORITY,
        "RST_STREAM": RST_STREAM,
        "SETTINGS": SETTINGS,
        "PUSH_PROMISE": PUSH_PROMISE,
        "PING": PING,
        "GOAWAY": GOAWAY,
        "WINDOW_UPDATE": WINDOW_UPDATE,
        "CONTINUATION": CONTINUATION,
    }
    theirs = {each.__name__.removesuffix("Frame").upper(): kind for kind, each in KINDS.items()}
    for name, kind in kinds.items():
        assert theirs[name.replace("_", "")] == kind
    assert PRIORITY_UPDATE == 0x10  # RFC 9218 section 7.1


def test_errors_are_those_of_a_connection() -> None:
    error = H2Error(ErrorCode.ENHANCE_YOUR_CALM, "too much")
    assert isinstance(error, ProtocolError)
    assert (error.status, error.code, error.reason) == (400, 11, "too much")
