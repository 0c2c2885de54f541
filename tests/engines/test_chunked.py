"""The chunked coding by itself; what the engine makes of it is in `test_h1_corpus`."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.chunked import COMPLETE, DATA, DATA_END, SIZE, TRAILERS, ChunkedBody
from aserver.limits import MAX_CHUNK_EXTENSIONS
from aserver.types import ProtocolError
from tests.fakes import LIMITS


def decoded(*pieces: bytes) -> tuple[bytes, bytes, bool]:
    """The body in it, what is left over, and whether it is complete."""
    body, held, data = ChunkedBody(LIMITS), bytearray(), b""
    for piece in pieces:
        held += piece
        data += body.decode(held)
    return data, bytes(held), body.state is COMPLETE


def fault_of(*pieces: bytes) -> tuple[bytes, str]:
    """What came before the fault, and the fault."""
    body, held, data = ChunkedBody(LIMITS), bytearray(), b""
    with pytest.raises(ProtocolError) as caught:  # noqa: PT012
        for piece in pieces:
            held += piece
            before = len(held)
            while held:
                data += body.decode(held)
                if len(held) == before:
                    break
                before = len(held)
    assert caught.value.status in (400, 413, 431)
    return data, caught.value.reason


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


WHOLE = [
    (b"0\r\n\r\n", b""),
    (b"000\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    (b"00000000000000f\r\n0123456789abcde\r\n0\r\n\r\n", b"0123456789abcde"),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    (b"2;a\r\nhi\r\n0;b\r\n\r\n", b"hi"),
    (b"2;a=b;c\r\nhi\r\n0\r\n\r\n", b"hi"),
    (b'2;a="b;c\\"\xe9\t "\r\nhi\r\n0\r\n\r\n', b"hi"),
    (b"2 ;\ta = b \t; c\r\nhi\r\n0\r\n\r\n", b"hi"),
    (b"0\r\nX: y\r\n\r\n", b""),
    (b"2\r\nhi\r\n0\r\nX: y\r\nZ_: \xe9\r\n\r\n", b"hi"),
]


@pytest.mark.parametrize(("data", "expected"), WHOLE)
def test_body(data: bytes, expected: bytes) -> None:
    assert decoded(data) == (expected, b"", True)
    assert decoded(data + b"GET") == (expected, b"GET", True)
    assert decoded(*bytewise(data)) == (expected, b"", True)
    for i in range(1, len(data)):
        assert decoded(data[:i])[2] is False
        assert decoded(data[:i], data[i:] + b"GET") == (expected, b"GET", True)


def test_nothing_is_taken_behind_the_end() -> None:
    body, held = ChunkedBody(LIMITS), bytearray(b"0\r\n\r\n0\r\n\r\n")
    assert body.decode(held) == b""
    assert body.state is COMPLETE
    assert body.decode(held) == b""
    assert held == b"0\r\n\r\n"


def test_states() -> None:
    body, held = ChunkedBody(LIMITS), bytearray()
    for piece, state in (
        (b"", SIZE),
        (b"2", SIZE),
        (b";a", SIZE),
        (b"\r", SIZE),
        (b"\n", DATA),
        (b"h", DATA),
        (b"i", DATA_END),
        (b"\r", DATA_END),
        (b"\n", SIZE),
        (b"0\r\n", TRAILERS),
        (b"\r", TRAILERS),
        (b"\n", COMPLETE),
    ):
        held += piece
        body.decode(held)
        assert body.state is state, piece


def test_data_is_passed_on_as_it_comes() -> None:
    body = ChunkedBody(LIMITS)
    assert body.decode(bytearray(b"5\r\nhe")) == b"he"
    assert body.decode(bytearray(b"l")) == b"l"
    assert body.decode(bytearray(b"lo\r\n2\r\nyo")) == b"loyo"


SIZE_FAULT = "a chunk does not begin with its size, or has bad extensions"
LONGER = "a chunk is longer than its size"


@pytest.mark.parametrize(
    ("data", "expected", "reason"),
    [
        *(
            (b"2\r\nhi\r\n" + line + b"\r\n", b"hi", SIZE_FAULT)
            for line in (
                *(
                    b"",
                    b" ",
                    b"g",
                    b"-1",
                    b"+1",
                    b"0x1",
                    b" 1",
                    b"1 ",
                    b"1\t",
                    b"1_0",
                    b"1.0",
                    b"1,",
                ),
                *(b"1 1", b"\xb2", b"1\x00", b"\x0b1", b"1\r", b"\r1", b"0" * 16, b"f" * 16),
                *(b";a", b"1;", b"1; ", b"1;a;", b"1;;a", b"1;=a", b"1;a=", b"1;a b", b"1;a=b=c"),
                *(
                    b'1;a="',
                    b'1;a="\\"',
                    b'1;a="b"c',
                    b'1;a=b"c"',
                    b'1;"a"',
                    b"1;a=\xe9",
                    b"1;\xe9",
                ),
                *(b"1;a\x00", b"1;a=\x7f", b'1;a="\x01"', b"1;a\rb", b"1\r;a", b"1a;(", b"1;[=x"),
            )
        ),
        (b"1\nx\r\n", b"", SIZE_FAULT),
        (b"1;a\nx\r\n", b"", SIZE_FAULT),
        (b"1\r\r\nx\r\n", b"", SIZE_FAULT),
        (b"1\r\nxy", b"x", LONGER),
        (b"1\r\nx\n0\r\n\r\n", b"x", LONGER),
        (b"1\r\nx\ry", b"x", LONGER),
        (b"1\r\nx0\r\n\r\n", b"x", LONGER),
        (b"1\r\nxXX0\r\n\r\n", b"x", LONGER),
        (b"0\r\n\n", b"", "a line ends in LF, not in CRLF"),
        (b"0\r\n\rX", b"", "a CR is not followed by LF"),
        (b"0\r\nX: y\n\r\n", b"", "a line ends in LF, not in CRLF"),
        (b"0\r\nX: y\r\n\n", b"", "a line ends in LF, not in CRLF"),
        (b"0\r\nX: \x01\r\n\r\n", b"", "there is a control character in the head"),
        (b"0\r\nX\r\n\r\n", b"", "a header has no colon"),
        (b"0\r\nX: y\r\n z\r\n\r\n", b"", "a header is folded over two lines"),
        (b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", "a header has no colon"),
        *(
            (
                b"0\r\nX: y\r\n" + name.title() + b": x\r\n\r\n",
                b"",
                f"{name.decode()} is not allowed",
            )
            for name in (
                *(
                    b"host",
                    b"content-length",
                    b"transfer-encoding",
                    b"connection",
                    b"te",
                    b"cookie",
                ),
                *(b"trailer", b"authorization", b"content-type", b"expect", b"upgrade", b"range"),
            )
        ),
    ],
)
def test_fault(data: bytes, expected: bytes, reason: str) -> None:
    found = fault_of(data)
    assert found[0] == expected
    assert found[1].startswith(reason)
    assert fault_of(*bytewise(data)) == found
    for i in range(1, len(data)):
        assert fault_of(data[:i], data[i:]) == found


def test_fault_stays() -> None:
    """Nothing behind it is ever decoded."""
    body, held = ChunkedBody(LIMITS), bytearray(b"2\r\nhiX\r\n0\r\n\r\n")
    assert body.decode(held) == b"hi"
    for _ in range(3):
        with pytest.raises(ProtocolError, match=LONGER):
            body.decode(held)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("chunk", [1, 3, 10])
def test_body_size(chunk: int, over: int) -> None:
    """It is refused by the size that is announced, before it comes."""
    body = ChunkedBody(LIMITS._replace(body_size=30))
    held = bytearray()
    for _ in range(30 // chunk):
        held += b"%x\r\n%b\r\n" % (chunk, b"x" * chunk)
    assert body.decode(held) == b"x" * 30
    held += b"%x\r\n" % over
    if over:
        with pytest.raises(ProtocolError, match=r"30 bytes \(--max-body-size\)"):
            body.decode(held)
    else:
        body.decode(held)


def test_size_line_is_no_longer_than_it_can_be() -> None:
    longest = b"0" * 14 + b"1;" + b"a" * (MAX_CHUNK_EXTENSIONS - 1) + b"\r\n"
    assert decoded(*bytewise(longest)) == (b"", b"", False)
    for line in (b"0" * 14 + b"1;a" + longest[16:], b"1" * len(longest), b";" * len(longest)):
        assert "the chunk extensions are larger than" in fault_of(line)[1]
        assert "the chunk extensions are larger than" in fault_of(*bytewise(line))[1]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.integers(0, 3))), st.data())
def test_whatever_was_encoded(chunks: list[tuple[bytes, int]], data: st.DataObject) -> None:
    coded = b"".join(
        b"%x%b\r\n%b\r\n" % (len(chunk), b";a=b" * extensions, chunk)
        for chunk, extensions in chunks
    )
    coded += b"0\r\n\r\nGET"
    cuts = data.draw(st.sets(st.integers(1, len(coded) - 1), max_size=8))
    pieces = [coded[a:b] for a, b in pairwise([0, *sorted(cuts), len(coded)])]
    assert decoded(*pieces) == (b"".join(chunk for chunk, _ in chunks), b"GET", True)
