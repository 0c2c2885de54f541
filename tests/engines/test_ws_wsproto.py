"""The frame engine of wsproto, where it is not like any other: its words, and its steps."""

from math import inf

import pytest
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Pong

from aserver.engines import ws_wsproto
from aserver.engines.ws_deflate import Deflate
from aserver.engines.ws_wsproto import WsprotoFrames
from aserver.types import WebSocketError
from tests.engines.test_ws_frames import Record
from tests.engines.ws_wire import (
    CLOSE,
    PONG,
    Compressor,
    binary,
    closing,
    code_and,
    deflate_of,
    frame,
    more,
    sent_frames,
    text,
)

DATA = b"x" * 100_000


def test_read_is_taken_whole() -> None:
    frames, record = WsprotoFrames(None, inf), Record()
    frames.feed(binary(DATA), record)
    assert record.pieces == [(DATA, len(DATA), True, True)]


def test_step_bounds_what_a_read_inflates_to() -> None:
    """That is copied several times, and only then counted."""
    frames, record = WsprotoFrames(deflate_of(), inf), Record()
    data = binary(Compressor()(bytes(2**25)), rsv=4, mask=bytes(4))
    for start in range(0, len(data), frames.step):
        frames.feed(data[start : start + frames.step], record)
    assert max(size for _, size, *_ in record.pieces) <= 8192 * 1032
    assert record.found == [bytes(2**25)]


@pytest.mark.parametrize("closes_first", [False, True])
@pytest.mark.parametrize("end", [closing(1000), text("late") + closing(1000)])
def test_reads_behind_a_close_frame_are_not_looked_at(end: bytes, closes_first: bool) -> None:
    frames, record = WsprotoFrames(deflate_of(), inf), Record()
    if closes_first:
        frames.close(1000, "")
    frames.feed(text("a") + end + frame(3), record)
    frames.feed(frame(3), record)
    assert record.found[-1] == ("close", 1000, "")


def test_what_is_behind_a_mistake_is_not_looked_at() -> None:
    frames, record = WsprotoFrames(deflate_of(), inf), Record()
    with pytest.raises(WebSocketError):
        frames.feed(text("a") + frame(3) + text("b") * 3000, record)
    assert record.found == ["a"]


# Each way in which wsproto finds something wrong; and what is said of it. Should a new wsproto say
# it in other words, a mistake would be told in the general sentence only.
WORDS = {
    "a frame's length has its highest bit set": [b"\x82\xff" + b"\x80" + bytes(7)],
    "a close frame has half of a code": [frame(8, b"\x03")],
    "a close frame has a code that is none": [closing(999), closing(5000), closing(1016)],
    "a control frame has more than 125 bytes": [frame(9, bytes(126)), frame(8, bytes(65536))],
    "a control frame is a fragment": [frame(9, fin=False), frame(8, fin=False)],
    "a frame has an opcode that is none": [frame(3), frame(11), frame(15)],
    "a frame's length is not in its shortest form": [
        binary(b"", length_bytes=2),
        binary(bytes(125), length_bytes=8),
        binary(bytes(65535), length_bytes=8),
    ],
    "a frame has a reserved bit set": [text("a", rsv=1), text("a", rsv=2), frame(9, rsv=3)],
    "a message begins before the one before it has ended": [
        text("a", fin=False) + text("b"),
        text("a", fin=False) + binary(b"b"),
    ],
    "a close frame has a code that must not be sent": [
        closing(code) for code in (1005, 1006, 1015)
    ],
    "a frame is not masked": [text("a", mask=None), frame(8, mask=None)],
    "a fragment is of no message": [more(b"a"), text("a") + more(b"b", fin=False)],
    "a text is not UTF-8": [text(b"\xff"), text(b"\xe2\x82"), closing(1000, b"\xff")],
}
COMPRESSED_WORDS = {
    **WORDS,
    "only a message's first frame says that it is compressed": [
        text("a", fin=False) + more(b"", rsv=4),
        frame(9, rsv=4),
    ],
    "the message is not compressed as was agreed": [text(b"\xff\xff", rsv=4)],
}


@pytest.mark.parametrize("words", WORDS)
def test_mistakes_are_told_in_our_words(words: str) -> None:
    for data in WORDS[words]:
        assert words_for(None, data) == words


@pytest.mark.parametrize("words", COMPRESSED_WORDS)
def test_mistakes_of_who_compresses_are_told_in_our_words(words: str) -> None:
    for data in COMPRESSED_WORDS[words]:
        assert words_for(deflate_of(), data) == words


def words_for(deflate: Deflate | None, data: bytes) -> str:
    with pytest.raises(WebSocketError) as caught:
        WsprotoFrames(deflate, inf).feed(data, Record())
    return caught.value.reason


def test_no_words_are_for_nothing() -> None:
    assert {*ws_wsproto._MISTAKES.values(), "a text is not UTF-8"} == set(WORDS)


def test_words_are_few_enough_for_a_close_frame() -> None:
    assert all(len(words) <= 123 for words in COMPRESSED_WORDS)


def test_mistake_of_which_wsproto_says_something_new() -> None:
    event = CloseConnection(1002, "brand-new")
    assert ws_wsproto._in_our_words(event) == "a frame breaks the protocol"
    assert ws_wsproto._in_our_words(CloseConnection(1002)) == "a frame breaks the protocol"


def test_close_code_of_a_gateway_with_a_bad_answer_is_taken_for_none() -> None:
    """1014: IANA has registered it in 2018, and wsproto does not know it.

    It may be sent all the same. No harm is done: it is said of others' servers, not by clients.
    When this fails, wsproto has learned it: then the documentation has a limitation too many.
    """
    assert words_for(None, closing(1014)) == "a close frame has a code that is none"
    assert sent_frames(WsprotoFrames(None, inf).close(1014, "")) == [(8, CLOSE, code_and(1014))]


def test_pong_is_written_in_every_state() -> None:
    """By hand, for wsproto has none behind our close frame."""
    frames = WsprotoFrames(None, inf)
    for payload in (b"", b"\x00\xff", b"x" * 125):
        assert frames.pong(payload) == WsprotoFrames(None, inf)._connection.send(Pong(payload))
    frames.close(1000, "")
    assert sent_frames(frames.pong(b"x" * 125)) == [(8, PONG, b"x" * 125)]


def test_loss_is_heard_twice_and_without_compression() -> None:
    for deflate in (None, deflate_of()):
        frames = WsprotoFrames(deflate, inf)
        frames.lost()
        frames.lost()


def test_wsproto_makes_no_handshake() -> None:
    """What is agreed on is agreed on elsewhere; here it only has to be spoken."""
    compression = WsprotoFrames(deflate_of(), inf)._compression
    assert compression is not None
    assert compression.enabled()
    assert not compression.offer()


def test_step_is_smaller_for_who_compresses() -> None:
    plain, compressed = WsprotoFrames(None, inf).step, WsprotoFrames(deflate_of(), inf).step
    assert 2**16 <= plain <= 2**18
    assert compressed * 1032 < 2**23 + 2**20  # which is the most that it can inflate to


def test_close_frame_of_a_mistake_does_not_count_as_the_peers() -> None:
    for data in (frame(3), frame(8, b"x"), closing(1005)):
        frames = WsprotoFrames(None, inf)
        with pytest.raises(WebSocketError):
            frames.feed(data, Record())
        assert frames._connection.state is ConnectionState.OPEN
