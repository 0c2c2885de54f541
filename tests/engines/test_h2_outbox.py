"""What waits to be sent on one stream, on a wire whose windows are the test's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.engines.h2_budgets import CONTROLS, CRUMBS, UPDATES, Budgets
from aserver.engines.h2_frames import ErrorCode, Frame, H2Error
from aserver.engines.h2_outbox import AWAITED, ENDED, ENDING, OPEN, Outbox
from aserver.engines.h2_wire import WireReceiver
from aserver.types import Headers
from tests.fakes import FakeSink

HEAD = [(b":status", b"200"), (b"a", b"b")]
TRAILERS = [(b"x", b"y")]
FRAME = 100
STREAM = 7


class NarrowWire:
    """A wire that writes down what it is told; `window` is how much of a body it takes."""

    def __init__(self, window: int = 1 << 30, frame_size: int = FRAME) -> None:
        self.window = window
        self.frame_size = frame_size
        self.sent: list[tuple[str, Headers | bytes, bool]] = []

    @property
    def body(self) -> bytes:
        return b"".join(what for _, what, _ in self.sent if isinstance(what, bytes))

    def head(self, number: int, fields: Headers, *, ends: bool) -> None:
        self._put(number, "head", fields, ends=ends)

    def data(self, number: int, piece: bytes, *, ends: bool) -> None:
        assert len(piece) <= self.frame_size
        assert not piece or len(piece) <= self.window
        assert piece or ends, "a frame that says nothing"
        self.window -= len(piece)
        self._put(number, "data", piece, ends=ends)

    def _put(self, number: int, kind: str, what: Headers | bytes, *, ends: bool) -> None:
        assert number == STREAM
        assert not any(ended for _, _, ended in self.sent), "something behind the end"
        self.sent.append((kind, what, ends))

    def room(self, number: int) -> int:
        assert number == STREAM
        return self.window

    def has_window(self, number: int) -> bool:
        return self.window > 0

    # Of no use to an outbox

    def feed(self, frame: Frame, receiver: WireReceiver) -> None:
        raise NotImplementedError

    def credit(self, number: int, size: int) -> None:
        raise NotImplementedError

    def reset(self, number: int, code: int) -> None:
        raise NotImplementedError

    def close(self, code: int, reason: str) -> None:
        raise NotImplementedError

    def take(self) -> bytes:
        raise NotImplementedError


class Sender:
    """An outbox with its wire, and what its pushes cost."""

    def __init__(self, window: int = 1 << 30, frame_size: int = FRAME) -> None:
        self.wire = NarrowWire(window, frame_size)
        self.budgets = Budgets(FakeSink())
        self.box = Outbox(self.wire, STREAM, self.budgets)

    def push_all(self) -> int:
        """Push as long as more might be sent; returns how often."""
        count = 1
        while self.box.push():
            count += 1
        return count


# In order


def test_nothing_is_there_at_first() -> None:
    sender = Sender()
    box = sender.box
    assert (box.state, box.waiting, box.sent, box.is_empty) == (AWAITED, 0, 0, True)
    assert box.push() is False
    assert sender.wire.sent == []


def test_a_head_alone() -> None:
    sender = Sender()
    sender.box.put(HEAD, b"", more=True)
    assert (sender.box.state, sender.box.is_empty) == (OPEN, False)
    assert sender.push_all() == 1
    assert sender.wire.sent == [("head", HEAD, False)]
    assert sender.box.is_empty
    assert sender.push_all() == 1
    assert len(sender.wire.sent) == 1


def test_a_head_that_is_all() -> None:
    """One frame, with the end in it."""
    sender = Sender(window=0)
    sender.box.put(HEAD, b"", more=False)
    assert sender.box.state is ENDING
    assert sender.box.push() is False
    assert sender.wire.sent == [("head", HEAD, True)]
    assert (sender.box.state, sender.box.is_empty) == (ENDED, True)


def test_a_whole_response() -> None:
    """The last piece has the end in it."""
    sender = Sender()
    sender.box.put(HEAD, bytes(2 * FRAME + 1), more=False)
    assert (sender.box.waiting, sender.box.sent) == (2 * FRAME + 1, 0)
    assert sender.push_all() == 3
    assert [(kind, len(what), ends) for kind, what, ends in sender.wire.sent[1:]] == [
        ("data", FRAME, False),
        ("data", FRAME, False),
        ("data", 1, True),
    ]
    assert (sender.box.state, sender.box.waiting, sender.box.sent) == (ENDED, 0, 2 * FRAME + 1)


def test_the_head_comes_with_the_first_piece() -> None:
    """It takes no turn of its own: who has a small response has it at once."""
    sender = Sender()
    sender.box.put(HEAD, b"hello", more=False)
    assert sender.box.push() is False
    assert sender.wire.sent == [("head", HEAD, False), ("data", b"hello", True)]


def test_parts_that_come_one_by_one() -> None:
    sender = Sender()
    sender.box.put(HEAD, b"one", more=True)
    sender.push_all()
    sender.box.put(None, b"two", more=True)
    sender.box.put(None, b"", more=True)
    assert sender.box.waiting == 3
    sender.push_all()
    sender.box.put(None, b"", more=False)
    assert sender.box.state is ENDING
    assert sender.box.is_empty
    sender.push_all()
    assert sender.wire.sent == [
        ("head", HEAD, False),
        ("data", b"one", False),
        ("data", b"two", False),
        ("data", b"", True),
    ]
    assert sender.box.state is ENDED


def test_pieces_are_not_joined() -> None:
    """Each goes out as it came: copying them would cost more than a frame's header."""
    sender = Sender()
    piece = b"as it is"
    sender.box.put(HEAD, piece, more=True)
    sender.box.put(None, b"and another", more=False)
    sender.push_all()
    assert [what for _, what, _ in sender.wire.sent[1:]] == [piece, b"and another"]
    assert sender.wire.sent[1][1] is piece


def test_trailers_are_the_end() -> None:
    sender = Sender()
    sender.box.put(HEAD, b"text", more=True)
    sender.box.end(TRAILERS)
    assert sender.box.state is ENDING
    sender.push_all()
    assert sender.wire.sent[1:] == [("data", b"text", False), ("head", TRAILERS, True)]
    assert sender.box.state is ENDED


def test_trailers_without_a_body() -> None:
    sender = Sender(window=0)
    sender.box.put(HEAD, b"", more=True)
    sender.box.end(TRAILERS)
    sender.push_all()
    sender.push_all()
    assert sender.wire.sent == [("head", HEAD, False), ("head", TRAILERS, True)]


def test_trailers_without_a_field_are_none() -> None:
    sender = Sender()
    sender.box.put(HEAD, b"text", more=True)
    sender.box.end([])
    sender.push_all()
    assert sender.wire.sent[1:] == [("data", b"text", True)]


# Windows


def test_who_has_no_room_waits() -> None:
    sender = Sender(window=0)
    sender.box.put(HEAD, b"text", more=False)
    assert sender.box.push() is False
    assert sender.wire.sent == [("head", HEAD, False)]
    assert (sender.box.waiting, sender.box.is_empty, sender.box.state) == (4, False, ENDING)
    for window in (0, -5):
        sender.wire.window = window
        assert sender.box.push() is False
    assert len(sender.wire.sent) == 1
    sender.wire.window = 4
    assert sender.box.push() is False
    assert sender.wire.sent[1:] == [("data", b"text", True)]


def test_trailers_wait_for_the_body() -> None:
    sender = Sender(window=2)
    sender.box.put(HEAD, b"text", more=True)
    sender.box.end(TRAILERS)
    sender.push_all()
    assert sender.wire.sent[1:] == [("data", b"te", False)]
    sender.wire.window = 2
    sender.push_all()
    assert sender.wire.sent[2:] == [("data", b"xt", False), ("head", TRAILERS, True)]


def test_one_push_sends_one_piece() -> None:
    """So that others have their turn."""
    sender = Sender()
    sender.box.put(HEAD, bytes(10 * FRAME), more=False)
    for count in range(2, 11):
        assert sender.box.push() is True
        assert len(sender.wire.sent) == count
    assert sender.box.push() is False
    assert len(sender.wire.sent) == 11


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.lists(st.integers(0, 250), min_size=1, max_size=30),
    st.integers(1, 200),
    st.sampled_from(["piece", "end", "trailers"]),
)
def test_any_pieces_through_any_windows(
    pieces: list[bytes], windows: list[int], frame_size: int, end: str
) -> None:
    """All of it comes, in order, with one end; and what is said of it is true on the way."""
    sender = Sender(0, frame_size)
    box, wire = sender.box, sender.wire
    whole = b"".join(pieces)
    box.put(HEAD, b"", more=True)
    for each in pieces:
        box.put(None, each, more=True)
    if end == "trailers":
        box.end(TRAILERS)
    else:
        box.put(None, b"tail" if end == "piece" else b"", more=False)
        whole += b"tail" if end == "piece" else b""
    for window in [*windows, len(whole)]:
        wire.window += window
        while box.push():
            pass
        assert whole.startswith(wire.body)
        assert (box.sent, box.waiting) == (len(wire.body), len(whole) - len(wire.body))
        assert box.is_empty is (box.waiting == 0)
    box.push()
    assert wire.body == whole
    assert box.state is ENDED
    assert [ends for _, _, ends in wire.sent].index(True) == len(wire.sent) - 1
    assert (wire.sent[-1][1] == TRAILERS) is (end == "trailers")


# Budgets


def spent(sender: Sender) -> int:
    """How many small pieces the peer may not ask for any more."""
    count = 0
    try:
        while True:
            sender.budgets.spend(CRUMBS)
            count += 1
    except H2Error:
        return CRUMBS.burst - count


def test_small_pieces_that_the_window_has_made_are_counted() -> None:
    sender = Sender(frame_size=16_384)
    sender.box.put(HEAD, bytes(5_000), more=False)
    for window in (255, 1, 100):
        sender.wire.window = window
        sender.box.push()
    assert spent(sender) == 3


def test_too_many_small_pieces_are_an_error() -> None:
    sender = Sender(window=0, frame_size=16_384)
    sender.box.put(HEAD, bytes(5_000), more=False)
    with pytest.raises(H2Error) as caught:  # noqa: PT012
        for _ in range(CRUMBS.burst + 1):
            sender.wire.window = 1
            sender.box.push()
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assert sender.box.sent == CRUMBS.burst


@pytest.mark.parametrize("size", [256, 1_000])
def test_pieces_that_are_not_small_cost_nothing(size: int) -> None:
    sender = Sender(frame_size=16_384)
    sender.box.put(HEAD, bytes(50_000), more=False)
    for _ in range(10):
        sender.wire.window = size
        sender.box.push()
    assert spent(sender) == 0


def test_small_pieces_that_are_ours_cost_nothing() -> None:
    """The application sends them so, or frames are that small, or it was the last."""
    ours = Sender()
    for _ in range(10):
        ours.box.put(HEAD, b"text", more=True)
        ours.push_all()
    frames = Sender(frame_size=10)
    frames.box.put(HEAD, bytes(1_000), more=True)
    frames.push_all()
    last = Sender(window=4)
    last.box.put(HEAD, b"text", more=False)
    last.push_all()
    for sender in (ours, frames, last):
        assert spent(sender) == 0


def test_who_gets_data_may_say_so() -> None:
    """Each piece pays for what its receiver sends: its windows, and a PING."""
    sender = Sender(frame_size=16_384)
    for budget in (UPDATES, CONTROLS):
        sender.budgets.spend(budget, budget.burst)
    sender.box.put(HEAD, b"text", more=True)
    sender.push_all()
    for budget, count in ((UPDATES, 2), (CONTROLS, 1)):
        sender.budgets.spend(budget, count)
        with pytest.raises(H2Error):
            sender.budgets.spend(budget)


# The end


@pytest.mark.parametrize("pushed", [False, True])
def test_clear(pushed: bool) -> None:
    sender = Sender(window=3)
    sender.box.put(HEAD, b"text", more=True)
    if pushed:
        sender.push_all()
    before = list(sender.wire.sent)
    sender.box.clear()
    assert (sender.box.state, sender.box.waiting, sender.box.is_empty) == (ENDED, 0, True)
    sender.wire.window = 100
    assert sender.box.push() is False
    assert sender.wire.sent == before
    assert sender.box.sent == (3 if pushed else 0)


def test_clear_forgets_trailers() -> None:
    sender = Sender(window=0)
    sender.box.put(HEAD, b"text", more=True)
    sender.box.end(TRAILERS)
    sender.box.clear()
    assert sender.box.push() is False
    assert sender.wire.sent == []
