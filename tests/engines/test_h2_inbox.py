"""What has come of one stream's request, on a wire that only writes down what it is told."""

import pytest

from aserver.engines.h2_frames import DATA, Frame
from aserver.engines.h2_inbox import RECEIVED, RECEIVING, UNWANTED, Inbox
from aserver.engines.h2_wire import WireReceiver
from aserver.limits import DRAIN_BYTES
from aserver.types import Headers, ProtocolError
from tests.engines.h2_bytes import data

STREAM = 7


class CreditWire:
    """A wire for credit; `credited` is how much the peer was told that it may send."""

    def __init__(self) -> None:
        self.credited = 0
        self.frame_size = 16_384

    def credit(self, number: int, size: int) -> None:
        assert number == STREAM
        assert size > 0
        self.credited += size

    # Of no use to an inbox

    def feed(self, frame: Frame, receiver: WireReceiver) -> None:
        raise NotImplementedError

    def head(self, number: int, fields: Headers, *, ends: bool) -> None:
        raise NotImplementedError

    def data(self, number: int, piece: bytes, *, ends: bool) -> None:
        raise NotImplementedError

    def room(self, number: int) -> int:
        raise NotImplementedError

    def has_window(self, number: int) -> bool:
        raise NotImplementedError

    def reset(self, number: int, code: int) -> None:
        raise NotImplementedError

    def close(self, code: int, reason: str) -> None:
        raise NotImplementedError

    def take(self) -> bytes:
        raise NotImplementedError


@pytest.fixture
def wire() -> CreditWire:
    return CreditWire()


def frame(payload: bytes = b"", *, ended: bool = False, padding: int = -1) -> Frame:
    sent = data(STREAM, payload, ended=ended, padding=padding)
    return Frame(DATA, sent[4], STREAM, sent)


def test_at_first(wire: CreditWire) -> None:
    for ended, state in ((False, RECEIVING), (True, RECEIVED)):
        box = Inbox(wire, STREAM, None, ended=ended)
        assert (box.state, box.received, box.unread, box.early) == (state, 0, 0, [])
    assert wire.credited == 0


# Its length


@pytest.mark.parametrize("padding", [-1, 0, 100])
@pytest.mark.parametrize(
    ("length", "before", "size", "ended", "fits"),
    [
        (None, 0, 1000, False, True),
        (None, 0, 0, True, True),
        (10, 0, 9, False, True),
        (10, 0, 10, False, True),
        (10, 0, 11, False, False),
        (10, 0, 9, True, False),
        (10, 0, 10, True, True),
        (10, 0, 11, True, False),
        (10, 10, 0, True, True),
        (10, 10, 0, False, True),
        (10, 10, 1, False, False),
        (10, 4, 6, True, True),
        (10, 4, 7, True, False),
        (0, 0, 0, True, True),
        (0, 0, 1, False, False),
    ],
)
def test_data_must_fit(
    wire: CreditWire,
    length: int | None,
    before: int,
    size: int,
    ended: bool,
    fits: bool,
    padding: int,
) -> None:
    """By its content-length (RFC 9113 section 8.1.1), of which padding is no part."""
    box = Inbox(wire, STREAM, length, ended=False)
    box.count(before, before)
    assert box.fits(frame(bytes(size), ended=ended, padding=padding)) is fits


def test_what_comes_behind_the_end_is_the_wires(wire: CreditWire) -> None:
    box = Inbox(wire, STREAM, 5, ended=True)
    assert box.fits(frame(bytes(100)))


@pytest.mark.parametrize(("length", "received"), [(None, 3), (3, 3), (0, 0)])
def test_the_end(wire: CreditWire, length: int | None, received: int) -> None:
    box = Inbox(wire, STREAM, length, ended=False)
    box.count(received, received)
    box.end()
    assert (box.state, box.received) == (RECEIVED, received)


def test_an_end_that_comes_too_soon(wire: CreditWire) -> None:
    box = Inbox(wire, STREAM, 5, ended=False)
    box.count(4, 4)
    with pytest.raises(ProtocolError, match="shorter than its Content-Length") as caught:
        box.end()
    assert caught.value.status == 400
    assert box.state is RECEIVING


# What comes early


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ([1, 1, 1], [3]),
        ([1023, 1023, 1023], [2046, 1023]),
        ([1024, 1], [1024, 1]),
        ([1, 1024], [1, 1024]),
        ([16_384, 16_384], [16_384, 16_384]),
        ([1, 16_384, 1, 1], [1, 16_384, 2]),
    ],
)
def test_small_pieces_are_joined(wire: CreditWire, pieces: list[int], kept: list[int]) -> None:
    box = Inbox(wire, STREAM, None, ended=False)
    everything = bytes(number % 251 for number in range(sum(pieces)))
    position = 0
    for size in pieces:
        box.keep(everything[position : position + size])
        position += size
    assert [len(piece) for piece in box.early] == kept
    assert b"".join(box.early) == everything
    assert wire.credited == 0


def test_a_window_in_bytes_is_kept_in_few_pieces(wire: CreditWire) -> None:
    box = Inbox(wire, STREAM, None, ended=False)
    for _ in range(65_535):
        box.keep(b"x")
    assert len(box.early) == 64


# Credit


def test_padding_comes_back_at_once(wire: CreditWire) -> None:
    box = Inbox(wire, STREAM, None, ended=False)
    box.count(10, 111)
    assert (box.received, box.unread, wire.credited) == (10, 10, 101)


def test_credit_comes_when_it_is_taken(wire: CreditWire) -> None:
    box = Inbox(wire, STREAM, None, ended=False)
    box.count(100, 100)
    assert wire.credited == 0
    box.credit(30)
    assert (box.unread, wire.credited) == (70, 30)
    box.credit(70)
    assert (box.unread, wire.credited) == (0, 100)


def test_credit_is_given_once(wire: CreditWire) -> None:
    """The application may take what was there when its stream was over already."""
    box = Inbox(wire, STREAM, None, ended=False)
    box.count(100, 100)
    box.clear()
    assert wire.credited == 100
    box.credit(100)
    assert wire.credited == 100


# What nobody wants


def test_a_short_rest_may_come(wire: CreditWire) -> None:
    box = Inbox(wire, STREAM, None, ended=False)
    assert box.discard() is True
    assert box.state is UNWANTED
    for _ in range(DRAIN_BYTES // 1024):
        box.count(1024, 1024)
        assert box.discard() is True
        assert box.unread == 0
    assert wire.credited == DRAIN_BYTES
    box.count(1, 1)
    assert box.discard() is False
    assert wire.credited == DRAIN_BYTES + 1


@pytest.mark.parametrize(("length", "goes_on"), [(DRAIN_BYTES, True), (DRAIN_BYTES + 1, False)])
def test_a_rest_that_is_known_to_be_long(wire: CreditWire, length: int, goes_on: bool) -> None:
    """It need not begin."""
    assert Inbox(wire, STREAM, length, ended=False).discard() is goes_on


def test_what_was_taken_is_no_rest(wire: CreditWire) -> None:
    box = Inbox(wire, STREAM, 2 * DRAIN_BYTES, ended=False)
    box.count(DRAIN_BYTES, DRAIN_BYTES)
    box.credit(DRAIN_BYTES)
    assert box.discard() is True


def test_clear(wire: CreditWire) -> None:
    """The windows are the others', too."""
    box = Inbox(wire, STREAM, 500, ended=False)
    box.early.append(bytes(100))
    box.count(100, 100)
    box.clear()
    assert (box.state, box.early, box.unread, wire.credited) == (RECEIVED, [], 0, 100)
    box.clear()
    assert wire.credited == 100
