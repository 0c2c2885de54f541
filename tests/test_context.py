"""What a worker's connections share."""

import asyncio
import contextvars
from collections.abc import Coroutine
from email.utils import formatdate
from math import inf
from typing import Any

import pytest

from aserver.config import Config
from aserver.context import Context, imf_date
from aserver.limits import Phase
from tests.fakes import PARSERS, new_context, nothing

pytestmark = pytest.mark.asyncio


class Thing:
    """A connection, or a call of the application, as a member of the set of all of them."""

    deadline = inf
    is_idle = False

    def expire(self) -> None: ...
    def drain(self, **options: object) -> None: ...
    def abort(self, **options: object) -> None: ...
    def dismiss(self) -> None: ...
    def cancel(self) -> None: ...


# The header lines


@pytest.mark.parametrize(
    "timestamp",
    [
        0,
        784111777,  # the example of RFC 9110 section 5.6.7
        951782400,  # a leap day
        1767225599.999,  # the end of a year
        4102444800,
    ],
)
async def test_a_date_is_an_imf_fixdate(timestamp: float) -> None:
    assert imf_date(timestamp) == formatdate(int(timestamp), usegmt=True)


async def test_every_month_and_weekday() -> None:
    day = 86400
    for timestamp in range(0, 400 * day, day):
        assert imf_date(timestamp) == formatdate(timestamp, usegmt=True)


@pytest.mark.parametrize(
    ("name", "line"),
    [("aserver", b"server: aserver\r\n"), ("a b/1", b"server: a b/1\r\n"), ("", b"")],
)
async def test_the_lines_of_every_response(name: str, line: bytes) -> None:
    context = new_context(nothing, server_name=name)
    context.set_date(0)
    date = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    assert context.date_line == date
    assert context.server_line == line
    assert context.default_lines == date + line
    assert context.last_lines == date + line + b"\r\n"


async def test_the_date_is_there_from_the_beginning_and_follows_the_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aserver.context.time", lambda: 1.0)
    context = new_context(nothing)
    assert b"00:00:01 GMT" in context.default_lines
    monkeypatch.setattr("aserver.context.time", lambda: 2.0)
    context.advance(1.0)
    assert b"00:00:02 GMT" in context.default_lines


# The clock


async def test_the_clock_follows_the_loop() -> None:
    context = new_context(nothing)
    assert context.now == 0
    context.advance(1.0)
    assert context.now == 1
    context.advance(2.0)
    assert context.now == 2
    context.advance(62.0)
    assert context.now == 3, "no deadline passes because the loop stalled"


async def test_the_clock_may_be_late_and_nobody_has_less_time() -> None:
    options = {"http_timeout": 1, "application_close_timeout": 2, "keep_alive": 3}
    config = Config.of(**options)
    loop = asyncio.get_running_loop()
    context = Context(nothing, config, loop, PARSERS["h11"], contextvars.copy_context(), wall=0.0)
    assert (context.response_seconds, context.close_seconds) == (2, 3)
    assert context.seconds[Phase.IDLE] == 4
    assert context.stream_limits.write_seconds == config.limits.write_timeout + 1
    no_time = Config.of(application_close_timeout=0, keep_alive=0)
    context = Context(nothing, no_time, loop, PARSERS["h11"], contextvars.copy_context(), wall=0.0)
    assert (context.close_seconds, context.seconds[Phase.IDLE]) == (0, 0)
    assert not context.keeps_alive


# The configuration, flattened


async def test_deadlines_by_phase() -> None:
    context = new_context(
        nothing,
        keep_alive=1,
        header_timeout=2,
        first_byte_timeout=6,
        body_timeout=7,
        write_timeout=3,
        http_timeout=4,
        application_close_timeout=5,
        tls_handshake_timeout=8,
        root_path="/root",
    )
    assert len(context.seconds) == len(Phase)
    assert context.seconds[Phase.IDLE] == 1
    assert context.seconds[Phase.HEAD] == 2
    assert context.seconds[Phase.NEW] == 6
    assert context.seconds[Phase.RECEIVING] == 7
    assert context.seconds[Phase.HANDSHAKE] == 8
    assert context.body_bytes == 7 * 256
    assert context.seconds[Phase.ACTIVE] == inf
    assert context.seconds[Phase.WRITING] == context.seconds[Phase.CLOSING] == 3
    assert (context.response_seconds, context.close_seconds) == (4, 5)
    assert context.root_path == "/root"


async def test_zero_is_no_deadline() -> None:
    context = new_context(
        nothing,
        keep_alive=-1,
        header_timeout=0,
        first_byte_timeout=0,
        body_timeout=0,
        write_timeout=0,
        http_timeout=0,
        application_close_timeout=-1,
        tls_handshake_timeout=0,
        proxy_protocol_timeout=0,
    )
    assert {*context.seconds} - {context.seconds[Phase.DRAINING]} == {inf}
    assert (context.response_seconds, context.close_seconds) == (inf, inf)


# Tasks


async def name_of_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    names.append((task.get_name(), variable.get()))


names: list[tuple[str, str]] = []
variable = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("has_factory", [False, True])
async def test_a_task_is_made_by_the_loops_factory_if_it_has_one(has_factory: bool) -> None:
    made: list[asyncio.Task[Any]] = []

    def factory(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        made.append(asyncio.Task(coro, loop=loop, **options))
        return made[-1]

    loop = asyncio.get_running_loop()
    if has_factory:
        loop.set_task_factory(factory)  # type: ignore[arg-type]
    names.clear()
    task_context = contextvars.copy_context()
    task_context.run(variable.set, "set")
    context = new_context(nothing)
    task = context.new_task(
        name_of_task(), loop=context.loop, name="aserver.test", context=task_context
    )
    await task
    loop.set_task_factory(None)
    assert names == [("aserver.test", "set")]
    assert made == ([task] if has_factory else [])


# Who waits for the end


async def is_settled(context: Context) -> bool:
    task = asyncio.ensure_future(context.settled())
    for _ in range(5):
        await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    return done


async def test_nothing_in_progress_is_settled_at_once() -> None:
    context = new_context(nothing)
    context.check_quiet()  # nobody waits
    assert await is_settled(context)


async def test_settled_is_when_the_last_connection_and_the_last_call_have_ended() -> None:
    context = new_context(nothing)
    connection, call = Thing(), Thing()
    context.connections.add(connection)
    context.cycles.add(call)
    assert not await is_settled(context)
    waiting = asyncio.ensure_future(context.settled())
    for members, thing in ((context.connections, connection), (context.cycles, call)):
        await asyncio.sleep(0)
        assert not waiting.done()
        members.discard(thing)
        context.check_quiet()
        context.check_quiet()  # told twice
    await asyncio.wait_for(waiting, 5)


async def test_who_comes_in_the_last_moment_is_waited_for() -> None:
    context = new_context(nothing)
    one, two = Thing(), Thing()
    context.connections.add(one)
    waiting = asyncio.ensure_future(context.settled())
    await asyncio.sleep(0)
    context.connections.discard(one)
    context.check_quiet()
    context.connections.add(two)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    context.connections.discard(two)
    context.check_quiet()
    await asyncio.wait_for(waiting, 5)


async def test_a_wait_that_was_given_up_leaves_nothing_behind() -> None:
    context = new_context(nothing)
    one = Thing()
    context.connections.add(one)
    assert not await is_settled(context)
    context.connections.discard(one)
    context.check_quiet()  # whoever waited is gone
    assert await is_settled(context)
