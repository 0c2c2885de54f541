"""Event loops of our own: made, run to the end of one thing, and closed in bounded time."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from .config import Config
from .declarations import ConfigError
from .logs import app_log

# For tasks and asynchronous generators that nobody has ended.
_CLOSE_SECONDS = 1.0


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """An event loop by its name in `--loop`.

    Raises:
        ConfigError: It is not installed.
    """
    if name != "asyncio":
        try:
            import uvloop
        except ImportError:
            if name != "auto":
                raise ConfigError("--loop uvloop: uvloop is not installed") from None
        else:
            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def prepared_loop(config: Config) -> asyncio.AbstractEventLoop:
    """An event loop as the options want it.

    Raises:
        ConfigError: As `new_loop`.
    """
    loop = new_loop(config.process.loop)
    loop.set_debug(config.log.verbosity >= 3)
    if config.process.threads is not None:
        loop.set_default_executor(ThreadPoolExecutor(config.process.threads, "aserver"))
    return loop


def run_to_end(loop: asyncio.AbstractEventLoop, main: Coroutine[object, object, None]) -> None:
    """Run the loop until this has come to its end.

    Raises:
        BaseException: What `main` raises.
    """
    asyncio.set_event_loop(loop)
    try:
        task = loop.create_task(main)
        _run_until_done(loop, task)
        task.result()
    finally:
        asyncio.set_event_loop(None)


def _run_until_done(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Run the loop, whatever else is raised in it.

    A task that an application has made for one request, as Django does, may raise SystemExit. That
    comes out of the loop, and would be the end of all other requests. Who waits for the task has
    been told, as of any exception.
    """
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done() and not task.cancelled() and task.exception() is error:
                raise
            app_log.error(
                "Raised by a task or a callback, in the event loop: %r", error, exc_info=error
            )
            if task.done():
                _let_stop(loop)


def _let_stop(loop: asyncio.AbstractEventLoop) -> None:
    """Who has come to his end in that round has asked the loop to stop: it would the next time."""

    async def go_on() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    going_on = loop.create_task(go_on())
    while not going_on.done():
        with suppress(RuntimeError, SystemExit, KeyboardInterrupt):
            loop.run_until_complete(going_on)


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop in bounded time, whatever tasks and threads are left in it."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    _run_for_a_moment(loop, tasks)
    # Not by `wait_for`, which waits for the end of what it cancels.
    _run_for_a_moment(loop, {loop.create_task(loop.shutdown_asyncgens())})
    loop.close()  # does not wait for the default executor's threads


def _run_for_a_moment(loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[Any]]) -> None:
    """Until these have ended, but not for long."""
    if tasks:
        _run_until_done(loop, loop.create_task(asyncio.wait(tasks, timeout=_CLOSE_SECONDS)))
