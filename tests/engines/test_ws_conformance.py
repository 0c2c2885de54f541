"""What RFC 6455 asks of a server, by section: bytes in, frames out.

These are the themes of the public conformance suite. The WebSocket's owner sends each message back;
the bytes come whole, byte by byte, and cut at each place.
"""

from collections.abc import Iterator

import pytest

from aserver.engines.ws_frames import NewFrames
from tests.engines.ws_wire import (
    BINARY,
    CLOSE,
    PING,
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
    more,
    ping,
    pong,
    text,
)

Sent = list[tuple[int, bytes]]
BYE = closing(1000)
BYE_TOO = (CLOSE, code_and(1000))
ECHO: Sent = [(TEXT, b"Hi")]


def answer(new_frames: NewFrames, *pieces: bytes) -> Sent:
    """What is sent; a close frame without its reason, which is for people."""
    peer = Peer(new_frames, echo=True)
    peer.feed(*pieces)
    sent = peer.sent
    closes = [opcode == CLOSE for opcode, _ in sent]
    assert not any(closes[:-1]), "nothing comes behind a close frame"
    assert bool(peer.tunnel_ends) is any(closes) is (peer.ended is not None)
    return [(opcode, data[:2] if opcode == CLOSE else data) for opcode, data in sent]


def check(new_frames: NewFrames, data: bytes, expected: Sent) -> None:
    """However the data is cut."""
    for pieces in cut_everywhere(data):
        assert answer(new_frames, *pieces) == expected, pieces


def failing(code: int = 1002, *before: tuple[int, bytes]) -> Sent:
    return [*before, (CLOSE, code_and(code))]


# Framing


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536])
def test_messages_of_all_sizes_come_back(new_frames: NewFrames, opcode: int, size: int) -> None:
    payload = (b"*" if opcode == TEXT else b"\xfe") * size
    data = frame(opcode, payload) + BYE
    expected = [(opcode, payload), BYE_TOO]
    assert answer(new_frames, data) == expected
    assert answer(new_frames, *(data[i : i + 997] for i in range(0, len(data), 997))) == expected
    for size in range(1, 16):
        assert answer(new_frames, data[:size], data[size:]) == expected


def test_frame_byte_by_byte(new_frames: NewFrames) -> None:
    data = binary(b"\xfe" * 200) + BYE
    assert answer(new_frames, *(data[i : i + 1] for i in range(len(data)))) == [
        (BINARY, b"\xfe" * 200),
        BYE_TOO,
    ]


# Pings and pongs

PINGS = [b"", b"Hi there", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125]


@pytest.mark.parametrize("payload", PINGS)
def test_ping_is_answered_with_its_payload(new_frames: NewFrames, payload: bytes) -> None:
    check(new_frames, ping(payload) + BYE, [(PONG, payload), BYE_TOO])


def test_ping_that_is_too_long(new_frames: NewFrames) -> None:
    check(new_frames, ping(b"\xfe" * 126), failing())


@pytest.mark.parametrize("payload", PINGS)
def test_unsolicited_pong_is_ignored(new_frames: NewFrames, payload: bytes) -> None:
    check(new_frames, pong(payload) + ping(b"?") + BYE, [(PONG, b"?"), BYE_TOO])


def test_none_of_many_pings_is_left_out(new_frames: NewFrames) -> None:
    data = b"".join(ping(b"number %d" % number) for number in range(10))
    expected = [(PONG, b"number %d" % number) for number in range(10)]
    check(new_frames, data + BYE, [*expected, BYE_TOO])


# Reserved bits and opcodes

BAD_FRAMES = [
    *(frame(TEXT, b"Hi", rsv=rsv) for rsv in range(1, 8)),
    *(frame(BINARY, b"\x00\xff", rsv=rsv) for rsv in range(1, 8)),
    *(frame(PING, b"Hi", rsv=rsv) for rsv in (1, 2, 4)),
    frame(PONG, rsv=4),
    frame(CLOSE, rsv=7),
    frame(CLOSE, code_and(1000), rsv=1),
    *(frame(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    *(frame(opcode, b"payload") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    frame(TEXT, b"Hi", mask=None),
    frame(PING, mask=None),
    frame(CLOSE, mask=None),
]


@pytest.mark.parametrize("bad", BAD_FRAMES)
def test_reserved_bits_and_opcodes(new_frames: NewFrames, bad: bytes) -> None:
    """What came before is answered, what comes behind is not looked at."""
    check(new_frames, bad, failing())
    check(new_frames, bad + ping() + BYE, failing())
    check(new_frames, text("Hi") + bad + ping(), failing(1002, *ECHO))


# Fragmentation


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_frames_are_not_fragmented(new_frames: NewFrames, opcode: int) -> None:
    check(new_frames, frame(opcode, b"12", fin=False) + more(b"34"), failing())


def test_fragments_are_one_message(new_frames: NewFrames) -> None:
    parts = text("a", fin=False), more(b"b", fin=False), more(b"", fin=False), more(b"c")
    check(new_frames, b"".join(parts) + BYE, [(TEXT, b"abc"), BYE_TOO])
    check(new_frames, b"".join(parts) * 2 + BYE, [(TEXT, b"abc"), (TEXT, b"abc"), BYE_TOO])


def test_control_frames_between_fragments(new_frames: NewFrames) -> None:
    data = (
        text("a", fin=False)
        + ping(b"1")
        + more(b"b", fin=False)
        + pong(b"2")
        + ping(b"3")
        + more(b"c")
        + BYE
    )
    check(new_frames, data, [(PONG, b"1"), (PONG, b"3"), (TEXT, b"abc"), BYE_TOO])


@pytest.mark.parametrize("fin", [False, True])
def test_continuation_of_nothing(new_frames: NewFrames, fin: bool) -> None:
    bad = more(b"part", fin=fin)
    check(new_frames, bad + text("Hi"), failing())
    check(new_frames, text("Hi") + bad + text("Hi"), failing(1002, *ECHO))
    check(
        new_frames,
        text("H", fin=False) + more(b"i") + bad + text("Hi"),
        failing(1002, *ECHO),
    )
    check(new_frames, (bad + text("a", fin=False) + more(b"b")) * 2, failing())


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_in_a_message(new_frames: NewFrames, opcode: int) -> None:
    check(new_frames, text("a", fin=False) + frame(opcode, b"b") + more(b"c"), failing())


@pytest.mark.parametrize("last", [b"", b"z"])
def test_many_fragments(new_frames: NewFrames, last: bytes) -> None:
    data = text("", fin=False) + more(b"x", fin=False) * 3000 + more(last) + BYE
    assert answer(new_frames, data) == [(TEXT, b"x" * 3000 + last), BYE_TOO]


@pytest.mark.parametrize("size", [64, 256, 1024, 4096, 65536, 2**18])
def test_large_message_in_fragments(new_frames: NewFrames, size: int) -> None:
    payload = bytes(range(256)) * (2**18 // 256)
    data = binary(b"", fin=False)
    pieces = [payload[i : i + size] for i in range(0, len(payload), size)]
    data += b"".join(more(piece, fin=False) for piece in pieces) + more(b"") + BYE
    for read in (1500, 2**16):
        cut = [data[i : i + read] for i in range(0, len(data), read)]
        assert answer(new_frames, *cut) == [(BINARY, payload), BYE_TOO]


# The closing handshake


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (closing(), None),
        (closing(1000), 1000),
        (closing(1000, b"Hi"), 1000),
        (closing(1000, b"*" * 123), 1000),
        *((closing(code), code) for code in (*range(1000, 1004), *range(1007, 1014))),
        *((closing(code), code) for code in (3000, 3999, 4000, 4999)),
    ],
)
@pytest.mark.parametrize("behind", [b"", BYE, ping(), text("Hi"), more(b"a"), b"\xff"])
def test_close_frame_is_answered(
    new_frames: NewFrames, data: bytes, code: int | None, behind: bytes
) -> None:
    """With its code; and nothing behind it is heard."""
    check(new_frames, data + behind, [(CLOSE, code_and(code))])


def test_close_behind_a_message_and_in_the_middle_of_one(new_frames: NewFrames) -> None:
    check(new_frames, text("Hi") + BYE, [*ECHO, BYE_TOO])
    check(new_frames, text("a", fin=False) + BYE + more(b"b"), [BYE_TOO])


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"a", 1002),
        *((code_and(code), 1002) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100)),
        *((code_and(code), 1002) for code in (2000, 2999, 5000, 65535)),
        (code_and(1000, b"*" * 124), 1002),
        (code_and(1000, b"\xce\xba\xed\xa0\x80"), 1007),
        (code_and(1000, b"\xce"), 1007),
        (code_and(999, b"\xce"), 1002),
    ],
)
def test_close_frame_that_is_none(new_frames: NewFrames, payload: bytes, code: int) -> None:
    check(new_frames, frame(CLOSE, payload), failing(code))
    check(new_frames, text("Hi") + frame(CLOSE, payload) + BYE, failing(code, *ECHO))


# Compression


def compressed(opcode: int, messages: list[bytes], cut: int | None) -> Iterator[bytes]:
    """Messages of a client that keeps its window; in fragments of so many compressed bytes."""
    compress = Compressor(12)
    for message in messages:
        data = compress(message)
        if cut is None:
            yield frame(opcode, data, rsv=4)
            continue
        yield frame(opcode, data[:cut], rsv=4, fin=False)
        for start in range(cut, len(data), cut):
            yield more(data[start : start + cut], fin=False)
        yield more(b"")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(("size", "cut"), [(16, None), (1024, 7), (8192, 256), (131_072, 1024)])
def test_compressed_messages_of_all_sizes(
    new_frames: NewFrames, opcode: int, size: int, cut: int | None
) -> None:
    messages = [(b'{"number": %d, "text": "h\xc3\xa4"} ' % number) * size for number in range(5)]
    messages = [message[:size].decode(errors="ignore").encode() for message in messages]
    data = b"".join(compressed(opcode, messages, cut))
    for read in (997, len(data)):
        peer = Peer(new_frames, deflate_of(12))
        peer.feed(*(data[i : i + read] for i in range(0, len(data), read)))
        expected = [message.decode() if opcode == TEXT else message for message in messages]
        assert peer.messages == expected
        assert [call[2] for call in peer.calls] == [len(message) for message in messages]
