"""The httptools parser by itself; what both parsers must do is in `test_h1_h11`."""

import pytest

from aserver.engines.h1_httptools import HttpToolsParser
from aserver.types import ProtocolError

# Whatever llhttp makes of a message's framing or persistence, it must have forgotten afterwards.
BLOCKS = [
    b"\r\n",
    b"Host: a\r\n\r\n",
    b"Connection: close\r\n\r\n",
    b"Connection: keep-alive\r\n\r\n",
    b"Proxy-Connection: close\r\n\r\n",
    b"Content-Length: 5000000000\r\n\r\n",
    b"Content-Length: 5000000000\r\nConnection: close\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    b"Transfer-Encoding: gzip\r\n\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n",
    b"Upgrade: h2c\r\nConnection: close, upgrade\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
]


@pytest.mark.parametrize("before", BLOCKS)
def test_nothing_is_left_over(before: bytes) -> None:
    """One client's head must not make a difference to another's, however often it comes."""
    parser = HttpToolsParser()
    expected = HttpToolsParser().parse(before)
    for _ in range(50):
        assert parser.parse(before) == expected
    for block in BLOCKS:
        assert parser.parse(block) == HttpToolsParser().parse(block)
        assert parser.parse(before) == expected


@pytest.mark.parametrize("bad", [b"X Y: 1\r\n\r\n", b"\x00: 1\r\n\r\n"])
@pytest.mark.parametrize("before", BLOCKS)
def test_refusal_is_forgotten(before: bytes, bad: bytes) -> None:
    parser = HttpToolsParser()
    parser.parse(before)
    for _ in range(3):
        with pytest.raises(ProtocolError, match="a header is not valid") as caught:
            parser.parse(bad)
        assert caught.value.status == 400
        assert parser.parse(b"X: y\r\n\r\n") == [(b"x", b"y")]


def test_fields_are_a_list_of_their_own() -> None:
    parser = HttpToolsParser()
    first = parser.parse(b"X: y\r\n\r\n")
    second = parser.parse(b"Z: y\r\n\r\n")
    assert first == [(b"x", b"y")]
    assert second == [(b"z", b"y")]
    first.clear()
    assert second == [(b"z", b"y")]


def test_values_end_where_their_white_space_begins() -> None:
    block = b"Host:  a \t \r\nX:\t\r\nY: b  c\t\r\n\r\n"
    assert HttpToolsParser().parse(block) == [(b"host", b"a"), (b"x", b""), (b"y", b"b  c")]
