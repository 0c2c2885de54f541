"""The lifespan protocol (ASGI Lifespan 2.0): one long call beside the requests."""

import asyncio
from contextvars import Context as TaskContext
from typing import Any

from .logs import app_log
from .types import AppError, ASGIApplication, Message, ServerError


class LifespanError(ServerError):
    """The application could not start."""

    exit_code = 4


class Lifespan:
    """One application's lifespan.

    Args:
        mode: "on": an application that does not support it is an error; "auto": it is not; "off":
        never asked.
        task_context: Runs in this context itself, so that variables set at start-up are seen by
        requests.
    """

    def __init__(self, app: ASGIApplication, mode: str, task_context: TaskContext) -> None:
        self._app = app
        self._mode = mode
        self._task_context = task_context
        self._task: asyncio.Task[None] | None = None
        self._started: asyncio.Future[str] | None = None  # the message of a failure, "" for success
        self._stopped: asyncio.Future[str] | None = None
        self._stopping: asyncio.Event = asyncio.Event()
        self._asked = False
        self._state: dict[str, Any] = {}

    @property
    def state(self) -> dict[str, Any] | None:
        """The application's namespace; None if it does not speak the protocol."""
        return self._state if self._task is not None else None

    async def startup(self) -> None:
        """Start the application.

        Raises:
            LifespanError: It reported `lifespan.startup.failed`, or does not support lifespan in
            mode "on".
        """
        if self._mode == "off":
            return
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._stopped = loop.create_future()
        self._task = loop.create_task(
            self._run(), name="aserver.lifespan", context=self._task_context
        )
        try:
            await _first(self._task, self._started)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if not self._started.done():
            self._unsupported()
        elif failure := self._started.result():
            await self._end_task()
            raise LifespanError(f"the application failed to start: {failure}")

    def _unsupported(self) -> None:
        """The call ended, by a return or an exception, before start-up was complete."""
        task, self._task = self._task, None
        assert task is not None
        error = None if task.cancelled() else task.exception()
        if self._mode == "on":
            said = f"{type(error).__name__}: {error}" if error else "it returned"
            raise LifespanError(
                f"the application does not support lifespan (--lifespan on): {said}"
            ) from error
        if self._asked and error is not None:
            # The specification says to go on; but it took the event, so this is no mere lack of
            # support.
            app_log.error("The application raised in lifespan start-up", exc_info=error)
        else:
            app_log.debug("The application does not support lifespan: %r", error)

    async def shutdown(self, timeout: float) -> None:
        """Tell the application that the server has stopped; wait `timeout` seconds at most."""
        if self._task is None:
            return
        self._stopping.set()
        assert self._stopped is not None
        await _first(self._task, self._stopped, timeout=timeout)
        if self._stopped.done() and (failure := self._stopped.result()):
            app_log.error("The application failed to shut down: %s", failure)
        elif not self._stopped.done() and not self._task.done():
            app_log.error(
                "The application did not complete lifespan.shutdown in %g seconds", timeout
            )
        await self._end_task()

    async def _end_task(self) -> None:
        """Let the call return by itself if it does so soon, else cancel it."""
        assert self._task is not None
        done, _ = await asyncio.wait({self._task}, timeout=1)
        if not done:
            self._task.cancel()
            done, _ = await asyncio.wait({self._task}, timeout=1)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                app_log.error("The application raised in its lifespan", exc_info=error)
        self._task = None

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("lifespan.startup.complete", "lifespan.startup.failed"):
            answer = self._started
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            answer = self._stopped
        else:
            raise AppError(f"the message {kind!r} is not allowed in lifespan")
        if answer is None or answer.done():
            raise AppError(f"the message {kind!r} is not allowed twice")
        failed = kind.endswith("failed")
        answer.set_result((message.get("message", "") or "no reason given") if failed else "")


async def _first(*waited: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
