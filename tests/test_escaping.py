"""Text from outside in a log."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.escaping import (
    peer_name,
    printable,
    printable_lines,
    quoted,
    quoted_target,
    quoted_targets,
    request_name,
)
from aserver.types import Request

VISIBLE = re.compile(r"[ -~]*")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", ""),
        (b"Mozilla/5.0 (X11; Linux)", "Mozilla/5.0 (X11; Linux)"),
        (b'a" 200 1 "b', r"a\x22 200 1 \x22b"),
        (b"a\\x22b", r"a\x5cx22b"),
        (b"\x1b[31m\r\n\x00\x7f\t", r"\x1b[31m\x0d\x0a\x00\x7f\x09"),
        ("é".encode(), r"\xc3\xa9"),
    ],
)
def test_a_value_between_quotes(value: bytes, text: str) -> None:
    assert quoted(value) == text


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (b"/a?b=c&d", "/a?b=c&d"),
        (b'/"a"', "/%22a%22"),
        (b"/a\\b", "/a\\b"),
        (b"/%1b[31m%0a", "/%1b[31m%0a"),
        (b"/\n\xff", r"/\x0a\xff"),
    ],
)
def test_a_target_between_quotes(target: bytes, text: str) -> None:
    assert quoted_target(target) == text


@given(st.lists(st.binary(), min_size=1))
def test_many_targets_are_quoted_as_one_is(targets: list[bytes]) -> None:
    assert quoted_targets(targets) == [quoted_target(target) for target in targets]
    plain = [b"/%d" % len(target) for target in targets]
    assert quoted_targets(plain) == [target.decode() for target in plain]


@given(st.binary())
def test_whatever_comes_is_visible_and_ends_no_quotes(value: bytes) -> None:
    for text in (quoted(value), quoted_target(value)):
        assert VISIBLE.fullmatch(text)
        assert '"' not in text
    unescaped = re.sub(r"\\x(..)", lambda match: chr(int(match[1], 16)), quoted(value))
    assert unescaped.encode("latin-1") == value, "and can be told"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is: é, 中", "as it is: é, 中"),
        ("a\nb\r\x1b[31m\x9b\u2028", r"a\x0ab\x0d\x1b[31m\x9b\u2028"),
        ("\udcff", r"\udcff"),
        ("x" * 501, "x" * 500 + "..."),
    ],
)
def test_a_message_is_one_line(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines() -> None:
    assert printable_lines("a") == "a"
    assert printable_lines("a\n\tb\x1b[31m\r\n") == "a\n\tb\\x1b[31m\\x0d\n"


def test_peers() -> None:
    assert peer_name(("192.0.2.1", 80)) == "192.0.2.1:80"
    assert peer_name(None) == "a unix socket"


def test_request_name() -> None:
    request = Request("GET", b"/a\x1b?b", "1.1", [])
    assert request_name(request, ("192.0.2.2", 50000)) == "GET /a\\x1b?b from 192.0.2.2:50000"
    assert request_name(request, None) == "GET /a\\x1b?b from a unix socket"
    assert request_name(request, None, "WebSocket") == "WebSocket /a\\x1b?b from a unix socket"
