"""What a peer may do on an HTTP/2 connection at our expense, to the last token."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.h2_budgets import (
    CONTROLS,
    CRUMBS,
    EMPTIES,
    FAULTS,
    LATECOMERS,
    REFUSALS,
    RESETS,
    UPDATES,
    Budget,
    Budgets,
)
from aserver.engines.h2_frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    Frame,
    H2Error,
)
from tests.engines import h2_bytes
from tests.fakes import FakeSink


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> Frame:
    return Frame(kind, flags, stream, h2_bytes.frame(kind, flags, stream, payload))


def left(budgets: Budgets, budget: Budget) -> int:
    """How often one may still spend; it is spent then."""
    for count in range(10_000):
        try:
            budgets.spend(budget)
        except H2Error:
            return count
    raise AssertionError("there is no end of it")


def test_every_kind_has_its_name() -> None:
    """Two of equal numbers and words would be one and the same."""
    kinds = (RESETS, FAULTS, REFUSALS, CONTROLS, EMPTIES, LATECOMERS, UPDATES, CRUMBS)
    assert kinds == tuple(Budget)
    names = ("RESETS", "FAULTS", "REFUSALS", "CONTROLS", "EMPTIES", "LATECOMERS", "UPDATES")
    assert [kind.name for kind in kinds] == [*names, "CRUMBS"]
    assert len({kind.what for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("budget", Budget)
def test_floods_end_within_a_thousand_frames(budget: Budget) -> None:
    assert 0 < budget.rate <= budget.burst < 1000


@pytest.mark.parametrize("now", [0.0, 1e6])
@pytest.mark.parametrize("budget", Budget)
def test_burst(budget: Budget, now: float) -> None:
    """However old the connection is: nobody saves more than a burst."""
    sink = FakeSink()
    sink.now = now
    budgets = Budgets(sink)
    for _ in range(budget.burst):
        budgets.spend(budget)
    with pytest.raises(H2Error) as caught:
        budgets.spend(budget)
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM
    assert caught.value.reason == f"too many {budget.what}"


@pytest.mark.parametrize("budget", Budget)
def test_refill_by_the_clock(budget: Budget) -> None:
    sink = FakeSink()
    budgets = Budgets(sink)
    assert left(budgets, budget) == budget.burst
    assert left(budgets, budget) == 0
    sink.now = 1.0
    assert left(budgets, budget) == budget.rate
    sink.now += 2 * budget.burst / budget.rate
    assert left(budgets, budget) == budget.burst


@pytest.mark.parametrize("budget", Budget)
def test_who_keeps_to_the_rate_may_go_on_for_ever(budget: Budget) -> None:
    sink = FakeSink()
    budgets = Budgets(sink)
    for second in range(100):
        sink.now = float(second)
        for _ in range(budget.rate):
            budgets.spend(budget)


def test_budgets_are_apart() -> None:
    budgets = Budgets(FakeSink())
    for budget in Budget:
        assert left(budgets, budget) == budget.burst


def test_connections_are_apart() -> None:
    sink = FakeSink()
    assert [left(Budgets(sink), CONTROLS) for _ in range(2)] == [CONTROLS.burst] * 2


def test_give_back() -> None:
    budgets = Budgets(FakeSink())
    assert left(budgets, CONTROLS) == CONTROLS.burst
    budgets.give(CONTROLS, 3)
    assert left(budgets, CONTROLS) == 3
    budgets.give(UPDATES, 3)
    assert left(budgets, CONTROLS) == 0, "that was for something else"


def test_nobody_saves_more_than_a_burst() -> None:
    budgets = Budgets(FakeSink())
    budgets.give(CONTROLS, 100)
    budgets.spend(CONTROLS)
    budgets.give(CONTROLS, 100)
    assert left(budgets, CONTROLS) == CONTROLS.burst


# Which frame costs what

EMPTY = frame(DATA)
PADDING = frame(DATA, b"\x03\0\0\0", flags=PADDED)


@pytest.mark.parametrize(
    ("each", "is_late", "budget"),
    [
        (frame(DATA, b"x"), False, None),
        (frame(DATA, b"x"), True, LATECOMERS),
        (EMPTY, False, EMPTIES),
        (EMPTY, True, LATECOMERS),
        (PADDING, False, EMPTIES),
        (frame(DATA, b"\x09", flags=PADDED), False, EMPTIES),
        (frame(DATA, b"\x01x\0", flags=PADDED), False, None),
        (frame(DATA, flags=END_STREAM), False, None),
        (frame(DATA, b"\x00", flags=PADDED | END_STREAM), False, None),
        (frame(DATA, flags=END_STREAM), True, LATECOMERS),
        (frame(HEADERS), False, None),
        (frame(HEADERS), True, LATECOMERS),
        (frame(CONTINUATION), False, None),
        (frame(CONTINUATION), True, None),
        (frame(RST_STREAM, bytes(4)), False, None),  # it is counted with its stream
        (frame(RST_STREAM, bytes(4)), True, CONTROLS),
        (frame(WINDOW_UPDATE, b"\0\0\0\1"), False, UPDATES),
        (frame(WINDOW_UPDATE, b"\0\0\0\1"), True, UPDATES),
        (frame(WINDOW_UPDATE, b"\0\0\0\1", stream=0), False, UPDATES),
        *((frame(kind), late, CONTROLS)
          for kind in (PRIORITY, SETTINGS, PUSH_PROMISE, PING, GOAWAY, PRIORITY_UPDATE, 0xBE)
          for late in (False, True)),
    ],
)  # fmt: skip
def test_cost_of_a_frame(each: Frame, is_late: bool, budget: Budget | None) -> None:
    budgets = Budgets(FakeSink())
    for _ in range(10):
        budgets.count(each, is_late=is_late)
    for other in Budget:
        assert left(budgets, other) == other.burst - 10 * (other is budget)


@pytest.mark.parametrize("payload", [b"x", b"\x00x"])
def test_a_body_in_many_pieces_costs_nothing(payload: bytes) -> None:
    budgets = Budgets(FakeSink())
    data = frame(DATA, payload, flags=PADDED if len(payload) > 1 else 0)
    for _ in range(5000):
        budgets.count(data, is_late=False)


@settings(max_examples=200)
@given(
    st.sampled_from(list(Budget)),
    st.lists(st.integers(0, 40) | st.sampled_from(["spend"] * 3 + ["give"]), max_size=200),
)
def test_model(budget: Budget, moves: list[int | str]) -> None:
    """Against arithmetic in whole tokens: integers are seconds that pass."""
    sink = FakeSink()
    budgets = Budgets(sink)
    tokens = budget.burst
    for move in moves:
        if isinstance(move, int):
            sink.now += move
            tokens = min(budget.burst, tokens + move * budget.rate)
        elif move == "give":
            budgets.give(budget, 7)
            tokens = min(budget.burst, tokens + 7)
        elif tokens:
            budgets.spend(budget)
            tokens -= 1
        else:
            with pytest.raises(H2Error):
                budgets.spend(budget)
