"""When things happen while a server stops, by a clock that does not wait for anybody."""

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import pytest

from aserver.connection import Connection
from aserver.context import Context
from aserver.draining import cut_off, end_all
from tests.fakes import new_context, nothing, rounds
from tests.hasty import HastyLoop
from tests.tls_stage import Line

Story = list[tuple[str, float]]
PATIENCE, MOMENT, LEAVE, CANCEL = 0.5, 0.05, 0.1, 2.0


class Noting:
    """A connection, or a call of the application, that notes what it is asked for, and when.

    Args:
        context: What it is in.
        story: Where it notes that.
        leaving: What it is asked for when it leaves, and so many seconds later.
    """

    deadline = inf
    is_idle = False

    def __init__(self, context: Context, story: Story, **leaving: float) -> None:
        self._context = context
        self._story = story
        self._leaving = leaving

    def expire(self) -> None:
        raise NotImplementedError

    def drain(self, *, patient: bool = False) -> None:
        self._note("patient" if patient else "drain")

    def abort(self, *, reset: bool = False) -> None:
        self._note("reset" if reset else "abort")

    def dismiss(self) -> None:
        self._note("dismiss")

    def cancel(self) -> None:
        self._note("cancel")

    def _note(self, what: str) -> None:
        now = asyncio.get_running_loop().time()
        self._story.append((what, round(now, 3)))
        if what in self._leaving:
            asyncio.get_running_loop().call_later(self._leaving[what], self._leave)

    def _leave(self) -> None:
        self._context.connections.discard(self)
        self._context.cycles.discard(self)
        self._context.check_quiet()


def tell(test: Callable[[Context, Story], Coroutine[Any, Any, None]]) -> Story:
    """What happened in such a test, its end included."""

    async def run() -> Story:
        story: Story = []
        await test(new_context(nothing), story)
        story.append(("end", round(asyncio.get_running_loop().time(), 3)))
        return story

    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        return runner.run(run())


@pytest.mark.parametrize("grace", [10, 0.5, 0.2, 0])
def test_who_does_not_leave(grace: float) -> None:
    async def test(context: Context, story: Story) -> None:
        context.connections.add(Noting(context, story))
        await end_all(context, grace, asyncio.Event())

    patience = min(grace, PATIENCE)
    assert tell(test) == [
        ("patient" if grace else "drain", 0),
        ("drain", patience),
        ("end", round(grace + MOMENT, 3)),
    ]


@pytest.mark.parametrize("grace", [10, 0])
def test_applications_that_do_not_end(grace: float, caplog: pytest.LogCaptureFixture) -> None:
    """They have a moment to clean up in, before they are cancelled."""

    async def test(context: Context, story: Story) -> None:
        context.cycles.add(Noting(context, story))
        await end_all(context, grace, asyncio.Event())

    over = grace + MOMENT
    assert tell(test) == [
        ("dismiss", over),
        ("cancel", round(over + LEAVE, 3)),
        ("end", round(over + LEAVE + CANCEL, 3)),
    ]
    assert caplog.messages[-1] == "Requests that ignore their cancellation: 1"


@pytest.mark.parametrize(
    ("leaving", "last"),
    [
        ({"dismiss": 0.09}, ("end", 1.14)),
        ({"cancel": 1.9}, ("end", 3.05)),
    ],
)
def test_applications_that_do(leaving: dict[str, float], last: tuple[str, float]) -> None:
    async def test(context: Context, story: Story) -> None:
        context.cycles.add(Noting(context, story, **leaving))
        await end_all(context, 1, asyncio.Event())

    *story, end = tell(test)
    assert end == last
    assert [what for what, _ in story] == ["dismiss", "cancel"][: len(story)]
    assert story[-1][0] in leaving


@pytest.mark.parametrize(
    ("leaving", "told"),
    [
        ({"patient": 0.0}, [("patient", 0), ("end", 0)]),
        ({"patient": 0.4}, [("patient", 0), ("end", 0.4)]),
        # It is closed, and gone a moment later: nobody says that he waits for it.
        ({"drain": 0.04}, [("patient", 0), ("drain", 0.5), ("end", 0.54)]),
    ],
)
def test_who_leaves_at_once_is_not_spoken_of(
    leaving: dict[str, float], told: Story, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(context: Context, story: Story) -> None:
        context.connections.add(Noting(context, story, **leaving))
        await end_all(context, 10, asyncio.Event())

    with caplog.at_level("INFO", "aserver"):
        assert tell(test) == told
    assert caplog.messages == []


def test_who_leaves_later_is(caplog: pytest.LogCaptureFixture) -> None:
    async def test(context: Context, story: Story) -> None:
        context.connections.add(Noting(context, story, drain=5))
        await end_all(context, 10, asyncio.Event())

    with caplog.at_level("INFO", "aserver"):
        assert tell(test) == [("patient", 0), ("drain", 0.5), ("end", 5.5)]
    assert caplog.messages == [
        "Stopping; requests in progress: 0, connections: 1, waiting 10 seconds for them at most "
        "(a second signal ends the wait)"
    ]


@pytest.mark.parametrize("moment", [0.1, 0.52, 3])
def test_in_a_hurry_nobody_is_waited_for(moment: float) -> None:
    async def test(context: Context, story: Story) -> None:
        hurry = asyncio.Event()
        asyncio.get_running_loop().call_later(moment, hurry.set)
        context.cycles.add(Noting(context, story, dismiss=0))
        await end_all(context, 10, hurry)

    assert tell(test) == [("dismiss", moment), ("end", moment)]


def test_cut_off_are_those_too_for_whom_there_was_no_room() -> None:
    async def test() -> None:
        context = new_context(nothing, max_connections=1)
        lines = [Line(Connection(context)) for _ in range(3)]
        assert len(context.connections) == 1
        cut_off(context)
        assert all(line.aborted for line in lines)
        await rounds()
        assert not context.connections

    asyncio.run(test())
