"""The beginning of a connection in cleartext, of which the first bytes tell the version."""

import pytest

from aserver.engines.h1_wire import refusal_response
from aserver.engines.h2_frames import PREFACE
from aserver.engines.opening import Opening
from aserver.types import ProtocolError
from tests.fakes import FakeDefaults, FakeSink

MARK = b"PRI * HTTP/2.0\r\n"


class Told(FakeSink):
    """A sink that keeps the bytes with which a version was recognised."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[bytes] = []

    def on_version(self, data: bytes, *, is_http2: bool) -> None:
        super().on_version(data, is_http2=is_http2)
        self.begun.append(data)


def opened(*pieces: bytes) -> tuple[Told, Opening]:
    """An opening that was fed until it knew."""
    sink = Told()
    opening = Opening(sink, FakeDefaults())
    for data in pieces:
        assert not sink.begun, "it has told already"
        opening.feed(data)
    return sink, opening


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"G",
        b"POST / HTTP/1.1\r\n",
        b"PR\n",
        b"PRI / HTTP/2.0\r\n",
        b"PRI * HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\n",
        b"pri * HTTP/2.0\r\n",
        b"\r\n" + PREFACE,
        b"\x16\x03\x01",
        b"\0",
    ],
)
def test_what_is_http1(data: bytes) -> None:
    """All of it goes on to HTTP/1, which has a word for each kind of nonsense."""
    sink, _ = opened(data)
    assert sink.calls == ["HTTP/1"]
    assert sink.begun == [data]


@pytest.mark.parametrize("rest", [b"", b"\r\nSM\r\n\r\n", b"\r\nSM\r\n\r\n\0\0\0\x04", b"x"])
def test_what_is_http2(rest: bytes) -> None:
    """What is behind the first line, its reader looks at."""
    sink, _ = opened(MARK + rest)
    assert sink.calls == ["HTTP/2"]
    assert sink.begun == [MARK + rest]


@pytest.mark.parametrize("cut", range(1, len(MARK)))
@pytest.mark.parametrize("rest", [b"", PREFACE[len(MARK) :] + b"more"])
def test_preface_cut_in_two(cut: int, rest: bytes) -> None:
    sink, _ = opened(MARK[:cut], MARK[cut:] + rest)
    assert sink.calls == ["head", "HTTP/2"]
    assert sink.begun == [MARK + rest]


def test_preface_byte_by_byte() -> None:
    sink, _ = opened(*(MARK[i : i + 1] for i in range(len(MARK))))
    assert sink.calls == ["head"] * (len(MARK) - 1) + ["HTTP/2"]
    assert sink.begun == [MARK]


@pytest.mark.parametrize("place", range(len(MARK)))
@pytest.mark.parametrize("bytewise", [False, True])
def test_first_line_that_is_wrong_at_one_byte(place: int, bytewise: bool) -> None:
    wrong = bytes([MARK[place] ^ 1])
    data = MARK[:place] + wrong
    pieces = [data[i : i + 1] for i in range(len(data))] if bytewise else [data]
    sink, _ = opened(*pieces)
    assert sink.calls[-1] == "HTTP/1"
    assert sink.begun == [data], "nothing of it is lost"


def test_a_beginning_counts_as_a_head() -> None:
    """So the time for a head is running, and not that for a first byte."""
    _, opening = opened()
    assert not opening.mid_head
    sink, opening = opened(b"PRI")
    assert opening.mid_head
    assert sink.calls == ["head"]


@pytest.mark.parametrize("begun", [b"P", b"PR", MARK[:-1]])
def test_who_does_not_go_on_is_answered_as_http1_would_be(begun: bytes) -> None:
    sink, opening = opened(begun)
    opening.refuse(ProtocolError(408, "too late"))
    assert sink.calls == ["head", "linger"]
    assert sink.written == refusal_response(ProtocolError(408, "too late"), FakeDefaults())
    assert sink.written.startswith(b"HTTP/1.1 408 ")


def test_nobody_waits_for_anything() -> None:
    sink, opening = opened(b"P")
    assert opening.feed_eof() is False
    assert opening.body_progress() is None
    for told in (opening.resume, opening.hang_up, opening.drain, opening.lost):
        told()
    assert sink.calls == ["head"]
    assert sink.written == b""


def test_repr() -> None:
    assert repr(opened(b"PRI")[1]) == "<Opening held=3>"
