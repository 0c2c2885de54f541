"""The clock, and the sweep over deadlines."""

from math import inf

import pytest

from aserver.limits import Clock, Phase, or_unlimited, sweep


@pytest.mark.parametrize(("option", "seconds"), [(0, inf), (0.0, inf), (1.5, 1.5)])
def test_or_unlimited(option: float, seconds: float) -> None:
    assert or_unlimited(option) == seconds


def test_clock_starts_at_zero() -> None:
    clock = Clock(1000.0, 1.0)
    assert clock.now == 0.0
    clock.advance(1001.0)
    assert clock.now == 1.0


def test_clock_follows_small_differences() -> None:
    clock = Clock(0.0, 1.0)
    clock.advance(1.25)
    clock.advance(2.0)
    assert clock.now == 2.0


def test_clock_does_not_count_a_stall() -> None:
    clock = Clock(0.0, 1.0)
    clock.advance(3600.0)
    assert clock.now == 2.0
    clock.advance(3601.0)
    assert clock.now == 3.0


def test_clock_goes_by_its_tick() -> None:
    clock = Clock(0.0, 0.1)
    clock.advance(1.0)
    assert clock.now == pytest.approx(0.2)


class Thing:
    """Something with a deadline; it ends others when its own comes."""

    def __init__(self, deadline: float, *others: "Thing") -> None:
        self.deadline = deadline
        self.expired = 0
        self._others = others

    def expire(self) -> None:
        self.expired += 1
        self.deadline = inf
        for other in self._others:
            other.deadline = inf


def test_sweep() -> None:
    things = [Thing(deadline) for deadline in (0.0, 4.9, 5.0, 5.1, inf)]
    assert sweep(5.0, things) == 3
    assert [thing.expired for thing in things] == [1, 1, 1, 0, 0]
    assert sweep(5.0, things) == 0


def test_sweep_of_a_set_that_changes() -> None:
    things: set[Thing] = set()

    class Leaver(Thing):
        def expire(self) -> None:
            super().expire()
            things.remove(self)

    things.update(Leaver(1.0) for _ in range(10))
    assert sweep(1.0, things) == 10
    assert not things


def test_one_that_fails_does_not_shield_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Thing):
        def expire(self) -> None:
            super().expire()
            raise ZeroDivisionError("a bug")

    broken = Broken(1.0)
    things = [Thing(1.0), broken, Thing(1.0)]
    assert sweep(1.0, things) == 3
    assert [thing.expired for thing in things] == [1, 1, 1]
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert sweep(2.0, things) == 0, "it is not tried every second"
    assert sweep(61.0, things) == 1


def test_phases_index_the_seconds() -> None:
    """`Context.seconds` is a tuple in this order."""
    assert [phase.value for phase in Phase] == list(range(len(Phase)))
