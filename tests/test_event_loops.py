"""Event loops: which one, what ends one, and how it is closed."""

import asyncio
import contextlib
import logging
import sys
import threading
import time
from collections.abc import AsyncGenerator

import pytest

import aserver.event_loops as module
from aserver.config import Config
from aserver.declarations import ConfigError
from aserver.event_loops import close_loop, new_loop, prepared_loop, run_to_end
from tests.processes import DEADLINE


def test_the_loop_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(name: str) -> str:
        loop = new_loop(name)
        loop.close()
        return type(loop).__module__.partition(".")[0]

    assert [kind(name) for name in ("auto", "uvloop", "asyncio")] == ["uvloop", "uvloop", "asyncio"]
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert kind("auto") == "asyncio"
    with pytest.raises(ConfigError, match="uvloop is not installed"):
        new_loop("uvloop")


def test_as_the_options_want_it() -> None:
    loop = prepared_loop(Config.of(verbosity=3, threads=1))
    assert loop.get_debug()
    name = loop.run_in_executor(None, lambda: threading.current_thread().name)
    assert loop.run_until_complete(name) == "aserver_0"
    close_loop(loop)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_task_cannot_end_the_loop(
    loop_name: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []

    async def leave() -> None:
        raise error

    async def main() -> None:
        assert asyncio.get_event_loop() is loop
        with pytest.raises(type(error)) as caught:
            await asyncio.ensure_future(leave())
        told.append(caught.value)
        over = asyncio.Event()
        loop.call_soon(sys.exit, 4)
        loop.call_later(0.05, over.set)
        await over.wait()
        told.append("the end")

    loop = new_loop(loop_name)
    with caplog.at_level(logging.ERROR, "aserver"):
        run_to_end(loop, main())
    close_loop(loop)
    assert told == [error, "the end"]
    raised = "Raised by a task or a callback, in the event loop: "
    assert caplog.messages == [f"{raised}{error!r}", f"{raised}SystemExit(4)"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError()])
def test_what_it_is_run_for_can(loop_name: str, error: BaseException) -> None:
    async def main() -> None:
        raise error

    loop = new_loop(loop_name)
    with pytest.raises(type(error)):
        run_to_end(loop, main())
    close_loop(loop)


@pytest.mark.parametrize("error", [None, ValueError("it"), asyncio.CancelledError()])
def test_it_ends_as_itself_whatever_is_raised_at_the_same_time(
    loop_name: str, error: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind its last step, and before the loop has heard of that."""

    async def leave() -> None:
        sys.exit(4)

    async def main() -> None:
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        left.append(asyncio.ensure_future(leave()))
        if error is not None:
            raise error

    left: list[asyncio.Future[None]] = []
    loop = new_loop(loop_name)
    ending = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with ending as caught:
        run_to_end(loop, main())
    assert caught is None or caught.value.args == error.args  # type: ignore[union-attr]
    loop.close()
    assert isinstance(left[0].exception(), SystemExit)
    assert caplog.messages == ["Raised by a task or a callback, in the event loop: SystemExit(4)"]


def test_the_loop_is_the_thread_s_only_as_long_as_it_runs(loop_name: str) -> None:
    async def main() -> None:
        assert asyncio.get_event_loop_policy().get_event_loop() is loop

    loop = new_loop(loop_name)
    run_to_end(loop, main())
    close_loop(loop)
    with pytest.raises(RuntimeError, match="no current event loop"):
        asyncio.get_event_loop_policy().get_event_loop()


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt()])
def test_nor_can_a_task_when_it_is_closed(
    loop_name: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    async def leave() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise error from None

    async def stay() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.append("stay")

    async def generate() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            ended.append("generate")

    async def begin() -> None:
        kept.extend([asyncio.ensure_future(leave()), asyncio.ensure_future(stay())])
        unfinished = generate()
        kept.append(unfinished)
        await anext(unfinished)

    kept: list[object] = []
    loop = new_loop(loop_name)
    run_to_end(loop, begin())
    close_loop(loop)
    assert loop.is_closed()
    assert ended == ["stay", "generate"]
    assert caplog.messages == [f"Raised by a task or a callback, in the event loop: {error!r}"]
    assert "in leave" in caplog.text  # where it was


def test_a_loop_is_closed_whatever_was_raised_at_its_end(loop_name: str) -> None:
    async def leave() -> None:
        sys.exit(4)

    async def main() -> None:
        left.append(asyncio.ensure_future(leave()))

    left: list[asyncio.Future[None]] = []
    loop = new_loop(loop_name)
    run_to_end(loop, main())
    close_loop(loop)
    assert loop.is_closed()
    assert isinstance(left[0].exception(), SystemExit)


def test_a_loop_is_closed_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.05)
    kept: list[object] = []

    async def stubborn() -> None:
        while not over:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def generator() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            await stubborn()

    async def begin() -> None:
        kept.append(asyncio.ensure_future(stubborn()))
        unfinished = generator()
        kept.append(unfinished)
        await anext(unfinished)

    over = False
    loop = asyncio.new_event_loop()
    problems: list[object] = []
    loop.set_exception_handler(lambda loop, problem: problems.append(problem))
    loop.run_until_complete(begin())
    started = time.perf_counter()
    close_loop(loop)
    assert time.perf_counter() - started < DEADLINE / 4
    assert loop.is_closed()
    over = True
