"""The grammar on raw bytes: what is well-formed, and what is said of what is not."""

import re
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.grammar import (
    check_field_lines,
    check_unfinished,
    check_unfinished_fields,
    elements,
    is_token,
    line_too_long,
    read_fields,
    split_fields,
    split_request_line,
)
from aserver.limits import RequestLimits
from aserver.types import Headers, ProtocolError
from tests.cases import each
from tests.fakes import LIMITS, PARSERS

UNLIMITED = RequestLimits(inf, inf, inf, inf, inf, 1)
TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
LF = "a line ends in LF, not in CRLF"
CR = "a CR is not followed by LF"
CONTROL = "there is a control character in the head"


def fault_of(block: bytes, limits: RequestLimits = LIMITS) -> tuple[int, str] | None:
    """What is wrong with field lines, if anything."""
    try:
        check_field_lines(block, limits)
    except ProtocolError as error:
        return error.status, error.reason
    return None


@each("code", range(256))
def test_token(code: int) -> None:
    assert bool(is_token(bytes([code]))) is (code in TOKEN)
    assert bool(is_token(b"a" + bytes([code]) + b"a")) is (code in TOKEN)


# Request lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.1", (b"GET", b"/", "1.1")),
        (b"GET / HTTP/1.0", (b"GET", b"/", "1.0")),
        (b"get x HTTP/1.1", (b"get", b"x", "1.1")),
        (b'!#$ \xe9\xff\\" HTTP/1.1', (b"!#$", b'\xe9\xff\\"', "1.1")),
        (TOKEN + b" * HTTP/1.1", (TOKEN, b"*", "1.1")),
    ],
)
def test_request_line(line: bytes, expected: tuple[bytes, bytes, str]) -> None:
    assert split_request_line(line) == expected


NO_LINE = "the request line is not a method, a target and HTTP/1.1 or HTTP/1.0"


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"", 400, NO_LINE),
        (b"GET", 400, NO_LINE),
        (b"GET /", 400, NO_LINE),
        (b"GET / ", 400, NO_LINE),
        (b"GET  HTTP/1.1", 400, NO_LINE),
        (b"GET  / HTTP/1.1", 400, NO_LINE),
        (b" GET / HTTP/1.1", 400, NO_LINE),
        (b"GET / HTTP/1.1 ", 400, NO_LINE),
        (b"GET / HTTP/1", 400, NO_LINE),
        (b"GET / HTTP/1.10", 400, NO_LINE),
        (b"GET / HTTP/11.1", 400, NO_LINE),
        (b"GET / http/1.1", 400, NO_LINE),
        (b"GET / HTTP/1.x", 400, NO_LINE),
        (b" / HTTP/1.1", 400, "the method is not a token"),
        (b"G(T / HTTP/1.1", 400, "the method is not a token"),
        (b"G\xc9T / HTTP/1.0", 400, "the method is not a token"),
        (b"GET / HTTP/1.2", 505, "HTTP/1.2 is not spoken here, only HTTP/1.0 and HTTP/1.1"),
        (b"G(T / HTTP/2.0", 505, "HTTP/2.0 is not spoken here, only HTTP/1.0 and HTTP/1.1"),
        (b"GET / HTTP/0.9", 505, "HTTP/0.9 is not spoken here, only HTTP/1.0 and HTTP/1.1"),
        (b"GET\t/ HTTP/1.1", 400, NO_LINE),
        (b"GET /\nX: y HTTP/1.1", 400, LF),
        (b"GET / HTTP/1.1\r", 400, CR),
        (b"GET /\x00 HTTP/1.1", 400, CONTROL),
        (b"GET /\x7f HTTP/1.1", 400, CONTROL),
        (b"\x16\x03\x01", 400, CONTROL),
        (b"GET /\x01\n HTTP/1.1", 400, CONTROL),
        (b"GET /\n\x01 HTTP/1.1", 400, LF),
    ],
)
def test_no_request_line(line: bytes, status: int, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        split_request_line(line)
    assert (caught.value.status, caught.value.reason) == (status, reason)


@each("code", range(256))
def test_characters_of_a_request_line(code: int) -> None:
    """In the target, all but controls pass: their form is for the guard."""
    try:
        assert split_request_line(b"GET /%ca HTTP/1.1" % code) == (b"GET", b"/%ca" % code, "1.1")
    except ProtocolError:
        assert code <= 32 or code == 127
    else:
        assert code > 32
        assert code != 127


def test_line_too_long() -> None:
    limits = LIMITS._replace(request_line=100)
    for line, status in (
        (b"GET /" + b"x" * 100, 414),
        (b"x" * 101, 400),
        (b"x" * 63 + b" " + b"x" * 100, 414),
        (b"x" * 64 + b" " + b"x" * 100, 400),
        (b"GET /\x01" + b"x" * 100, 400),
        (b"GET /" + b"x" * 95 + b"\x01", 414),
    ):
        error = line_too_long(line, limits)
        assert error.status == status
        assert ("--max-request-line" in error.reason) is (status == 414)


def test_no_method_within_a_short_limit() -> None:
    """The verdict does not depend on bytes beyond it."""
    limits = LIMITS._replace(request_line=10)
    reasons = {str(line_too_long(b"x" * 11 + more, limits)) for more in (b"", b" ", b"\x01")}
    assert len(reasons) == 1


# Field lines


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"A:b\r\n",
        b"A:\r\nB: \t \r\n",
        b"A: \xe9\x80\xff\tb\r\nA: c\r\n",
        TOKEN + b": :\r\n",
        b"A: b\r\n" * 100,
    ],
)
def test_field_lines(lines: bytes) -> None:
    assert fault_of(lines + b"\r\n") is None
    for parse in PARSERS.values():
        assert len(read_fields(lines + b"\r\n", parse, LIMITS)) == lines.count(b"\r\n")


FAULTS = [
    (b"A\r\n", 400, "a header has no colon"),
    (b"A: b\r\n c: d\r\n", 400, "a header is folded over two lines"),
    (b"A: b\r\n\tc\r\n", 400, "a header is folded over two lines"),
    (b" A: b\r\n", 400, "a header is folded over two lines"),
    (b"A : b\r\n", 400, "there is white space between a header's name and its colon"),
    (b"A\t: b\r\n", 400, "there is white space between a header's name and its colon"),
    (b": b\r\n", 400, "a header has no name"),
    (b"A B: c\r\n", 400, "a header's name is not a token"),
    (b"A(: c\r\n", 400, "a header's name is not a token"),
    (b"\xe9: c\r\n", 400, "a header's name is not a token"),
    (b"A: b\nC: d\r\n", 400, LF),
    (b"A: b\n", 400, LF),
    (b"A: b\rC: d\r\n", 400, CR),
    (b"A: b\r\r\n", 400, CR),
    (b"A: \x00\r\n", 400, CONTROL),
    (b"A: \x7f\r\n", 400, CONTROL),
    (b"A\x01: b\r\n", 400, CONTROL),
    (b"A\r\nB: \x01\r\n", 400, CONTROL),  # no waiting for an end that may never come
    (b"A: \x01\n\r\n", 400, CONTROL),
    (b"A: \n\x01\r\n", 400, LF),
    (b"A: b\r\n" * 101, 431, "there are more than 100 headers (--max-header-count)"),
    (
        b"A:" + b"b" * 16383 + b"\r\n",
        431,
        "a header is larger than 16384 bytes (--max-header-size)",
    ),
    (
        (b"A:" + b"b" * 16380 + b"\r\n") * 4 + b"\r\n"[:0] + b"A:\r\n",
        431,
        "the headers are larger than 65536 bytes (--max-headers-size)",
    ),
]


@pytest.mark.parametrize(("lines", "status", "reason"), FAULTS)
def test_no_field_lines(lines: bytes, status: int, reason: str) -> None:
    assert fault_of(lines + b"\r\n") == (status, reason)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(("lines", "status", "reason"), FAULTS)
def test_fields_of_no_field_lines(parser: str, lines: bytes, status: int, reason: str) -> None:
    """Refused, if perhaps in a parser's words."""
    with pytest.raises(ProtocolError) as caught:
        read_fields(lines + b"\r\n", PARSERS[parser], LIMITS)
    assert caught.value.status == status


def test_parser_that_makes_one_field_of_two() -> None:
    def careless(block: bytes) -> Headers:
        return split_fields(block)[1:]

    with pytest.raises(ProtocolError, match="not one header a line"):
        read_fields(b"A: b\r\nC: d\r\n\r\n", careless, LIMITS)


@each("code", range(256))
def test_characters_of_fields(code: int) -> None:
    name, value = b"A%cA: b\r\n\r\n" % code, b"A: b%cb\r\n\r\n" % code
    assert (fault_of(name) is None) is (code in TOKEN + b":")
    assert (fault_of(value) is None) is (code == 9 or (code >= 32 and code != 127))


def test_split_fields() -> None:
    block = b"A:b\r\nC-d: \t e f \t\r\nG::\r\nH:\r\n\r\n"
    assert split_fields(block) == [(b"a", b"b"), (b"c-d", b"e f"), (b"g", b":"), (b"h", b"")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([b""], [b""]),
        ([b"a"], [b"a"]),
        ([b"b, A"], [b"b", b"A"]),
        ([b" a\t,\t b ,c"], [b"a", b"b", b"c"]),
        ([b"a", b"b,c"], [b"a", b"b", b"c"]),
        ([b"a,,b,"], [b"a", b"", b"b", b""]),
        ([b",", b" \t"], [b"", b"", b""]),
        ([b"a b;c=1"], [b"a b;c=1"]),
        ([b'"a,b"'], [b'"a', b'b"']),  # it is for lists of tokens
        ([b"\x0ba\xa0"], [b"\x0ba\xa0"]),
    ],
)
def test_elements_of_a_list(values: list[bytes], expected: list[bytes]) -> None:
    assert elements(values) == elements(iter(values)) == expected


@pytest.mark.parametrize("size", [1_000, 10_000, 65_000])
def test_time_is_linear(size: int) -> None:
    """No pattern goes back and forth (CVE-2020-5236): were it so, this would never end."""
    for block in (b"A: " + b" \t" * size, b"a" * size, b":" * size, b"A: b\r\n" * size + b"A"):
        for end in (b"\r\n\r\n", b"\x00\r\n\r\n"):
            fault_of(block + end, UNLIMITED)


# Unfinished heads

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"


def test_unfinished_head() -> None:
    """It says how far it has looked, so that no byte is looked at twice."""
    for size in range(1, len(HEAD) + 1):
        held = bytearray(HEAD[:size])
        scanned = check_unfinished(held, 0, LIMITS)
        assert scanned == size - held.endswith(b"\r")
        for before in range(size):
            if not HEAD[:before].endswith(b"\r"):
                assert check_unfinished(held, before, LIMITS) == scanned


@pytest.mark.parametrize("code", [*range(9), *range(10, 32), 127])
def test_control_character_is_seen_at_once(code: int) -> None:
    for place in range(1, len(HEAD)):
        held = bytearray(HEAD[:place]) + bytes([code])
        if HEAD.startswith(held) or (code == 13 and place):
            continue
        with pytest.raises(ProtocolError) as caught:
            check_unfinished(held, place - held[:place].endswith(b"\r"), LIMITS)
        assert caught.value.reason in (LF, CR, CONTROL)


def test_request_line_is_judged_when_it_is_there() -> None:
    with pytest.raises(ProtocolError, match=re.escape("HTTP/2.0")):
        check_unfinished(bytearray(b"GET / HTTP/2.0\r\n"), 0, LIMITS)


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [b"A: b\r\n", b"A\r\n", b"\x01", b"\r", b"\n", b"xxxxxxxxxxx", b" ", b":", b"\r\n\r\n"]
        ),
        max_size=12,
    ).map(b"".join),
    st.data(),
)
def test_first_fault_does_not_depend_on_the_pieces(block: bytes, data: st.DataObject) -> None:
    """Seen as a whole, or as soon as the pieces show it: it is the same fault."""
    limits = RequestLimits(10, 12, 4, 40, 10, 10)
    block = (block + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    if block.startswith(b"\r\n"):
        return
    expected = fault_of(block, limits)
    scanned = size = 0
    found = None
    while size < len(block) - 1 and found is None:
        size = data.draw(st.integers(size + 1, len(block) - 1))
        try:
            scanned = check_unfinished_fields(bytearray(block[:size]), 0, scanned, limits)
        except ProtocolError as error:
            found = (error.status, error.reason)
    assert found in (None, expected)
