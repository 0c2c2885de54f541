"""Text is checked as it comes (RFC 6455 section 8.1): a mistake is told with its first byte."""

import codecs
from itertools import product

import pytest

from aserver.engines.ws_frames import NewFrames
from tests.engines.ws_wire import Compressor, Peer, deflate_of, frame, more, ping, text

# The edges of what RFC 3629 allows, and what lies around them in the text.
VALID = [
    "",
    "\x00",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\ufdd0",
    "\ufffd",
    "\ufffe",
    "\uffff",
    "\U00010000",
    *(chr(plane << 16 | last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF)),
    "Grüße, κόσμε, 日本, 😀",
]
# Text that is none, and how many of its bytes it takes to see that.
INVALID = [
    (b"\x80", 1),
    (b"\xbf", 1),
    (b"ok\xbf\x80", 3),
    (b"\xc0\x80", 1),
    (b"\xc1\xbf", 1),
    (b"\xc2\x20", 2),
    (b"\xc3\xc3", 2),
    (b"\xe0\x80\x80", 2),
    (b"\xe0\x9f\xbf", 2),
    (b"\xe2\x82\x20", 3),
    (b"\xe2\x28\xa1", 2),
    (b"\xf0\x80\x80\x80", 2),
    (b"\xf0\x8f\xbf\xbf", 2),
    (b"\xf0\x9f\x98\x20", 4),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80\x80\x80", 1),
    (b"\xf7\xbf\xbf\xbf", 1),
    (b"\xf8\x88\x80\x80\x80", 1),
    (b"\xfc\x84\x80\x80\x80\x80", 1),
    (b"\xfe", 1),
    (b"\xff", 1),
    ("κόσμε".encode() + b"\xf4\x90\x80\x80edited", 12),
]
# Surrogates: their second byte could tell, but Python's decoder looks at the third.
SURROGATES = [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf"]
# Those that only the end of the message shows to be none.
UNFINISHED = [b"\xc2", b"\xdf", b"\xe1\x80", b"\xef\xbf", b"\xf0\x90\x80", b"\xf4\x8f\xbf"]


def fails_at(new_frames: NewFrames, begun: bytes, data: bytes) -> int:
    """How many bytes of the data are fed, one by one, until that is the end."""
    peer = Peer(new_frames)
    peer.feed(begun)
    for place in range(len(data)):
        peer.feed(data[place : place + 1])
        if peer.ended is not None:
            assert peer.ended == (1007, "server")
            assert not peer.messages
            return place + 1
    return -1


@pytest.mark.parametrize("message", VALID)
def test_text_that_is_text(new_frames: NewFrames, message: str) -> None:
    data = message.encode()
    call = ("message", message, len(data))
    fragments = [
        text(b"", fin=False),
        *(more(data[i : i + 1], fin=False) for i in range(len(data))),
    ]
    for frames in (text(data), b"".join(fragments) + more(b"")):
        peer = Peer(new_frames)
        peer.feed(frames)
        peer.feed_bytewise(frames)
        assert peer.calls == [call, call]
    for cut in range(len(data) + 1):
        peer = Peer(new_frames)
        peer.feed(text(data[:cut], fin=False) + ping() + more(data[cut:]))
        assert peer.calls == [call]


@pytest.mark.parametrize(("data", "seen"), INVALID)
def test_text_fails_with_its_first_wrong_byte(
    new_frames: NewFrames, data: bytes, seen: int
) -> None:
    """Whatever is announced to come behind it."""
    whole = text(data + bytes(10))
    assert fails_at(new_frames, whole[:6], whole[6:]) == seen
    for cut in range(seen):
        begun, rest = text(data[:cut], fin=False), more(data[cut:] + bytes(10))
        assert fails_at(new_frames, begun + rest[:6], rest[6:]) == seen - cut


@pytest.mark.parametrize("data", SURROGATES)
def test_surrogates_are_no_text(new_frames: NewFrames, data: bytes) -> None:
    whole = text(data + bytes(10))
    assert fails_at(new_frames, whole[:6], whole[6:]) in (2, 3)
    for pair in (data + b"\xed\xb0\x80", b"a" + data):
        peer = Peer(new_frames)
        peer.feed(text(pair))
        assert peer.ended == (1007, "server")


@pytest.mark.parametrize("data", UNFINISHED)
def test_text_that_is_not_finished_fails_at_its_end(new_frames: NewFrames, data: bytes) -> None:
    for before, last in product((b"", b"ok"), (True, False)):
        peer = Peer(new_frames)
        peer.feed(text(before + data, fin=last))
        assert (peer.ended is not None) is last
        peer.feed(more(b""))
        assert peer.ended == (1007, "server")
        assert not peer.messages


def test_every_pair_of_bytes(new_frames: NewFrames) -> None:
    for first, second in product(range(0x80, 0x100), range(0, 0x100, 5)):
        data = bytes([first, second])
        peer = Peer(new_frames)
        peer.feed(text(data))
        try:
            expected = data.decode()
        except UnicodeDecodeError:
            assert peer.ended == (1007, "server"), data
        else:
            assert peer.messages == [expected]


def test_next_message_begins_anew(new_frames: NewFrames) -> None:
    peer = Peer(new_frames)
    peer.feed(text("ä"), text("ö", fin=False), more("ü".encode()))
    assert peer.messages == ["ä", "öü"]


def test_bytes_are_not_checked(new_frames: NewFrames) -> None:
    peer = Peer(new_frames)
    peer.feed(*(frame(2, data) for data, _ in INVALID))
    assert peer.messages == [data for data, _ in INVALID]


@pytest.mark.parametrize(("data", "seen"), INVALID)
def test_inflated_text_is_checked_as_it_comes(
    new_frames: NewFrames, data: bytes, seen: int
) -> None:
    """A piece of what was compressed is enough, if what it inflates to is."""
    compress = Compressor()
    good = compress("Grüße".encode())
    peer = Peer(new_frames, deflate_of())
    peer.feed(text(good, rsv=4))
    first, last = compress(data[:seen]) + b"\x00\x00\xff\xff", compress(data[seen:])
    whole = text(first + last, rsv=4)
    peer.feed(whole[: 6 + len(first)])
    assert peer.messages == ["Grüße"]
    assert peer.ended == (1007, "server")


def test_decoder_of_python_is_as_strict_as_that() -> None:
    """What is said above of surrogates: should this change, they can join the others."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    assert decoder.decode(b"\xed\xa0") == ""
