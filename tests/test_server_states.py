"""A server's beginning and its end, when several ask for them, or in the middle of one."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from aserver import Config, Server
from aserver.accepting import Acceptor
from aserver.lifespan import LifespanError
from aserver.listener import BindError
from aserver.observer import Observed, Observer
from aserver.types import Receive, Scope, Send, StoppedError
from tests.fakes import rounds
from tests.inside import Diary, Run, ask, open_files, refuses, respond, wait_for
from tests.processes import DEADLINE, get


def accepts(server: Server) -> bool:
    """Whether anybody accepts where it listens, or has listened."""
    return any(not refuses(("127.0.0.1", listener.port)) for listener in server.listeners)


class Slow(Diary):
    """Its requests wait."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        self.events.append("request")
        await self.go_on.wait()
        await respond(send)


def test_stop_ends_serve_and_waits_for_requests(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Slow()
        server = Server(site, Config.of(port=0))
        serving = asyncio.ensure_future(server.serve())
        await wait_for(lambda: accepts(server))
        asking = asyncio.ensure_future(ask(server.url))
        await wait_for(lambda: "request" in site.events)
        stops = [asyncio.ensure_future(server.stop()) for _ in range(3)]
        await wait_for(lambda: not accepts(server))
        assert not any(each.done() for each in [*stops, serving])
        site.go_on.set()
        assert (await asking).endswith(b"hello")
        await asyncio.gather(*stops, serving)
        assert site.events == ["startup", "request", "shutdown"]

    run_in_loop(test())


def test_who_only_waits_for_the_stop_can_leave(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Slow()
        server = Server(site, Config.of(port=0))
        await server.start()
        asking = asyncio.ensure_future(ask(server.url))
        await wait_for(lambda: "request" in site.events)
        stopping = asyncio.ensure_future(server.stop())
        await wait_for(lambda: not accepts(server))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.stop(), 0.01)
        site.go_on.set()
        assert (await asking).endswith(b"hello")
        await stopping

    run_in_loop(test())


def test_a_server_is_started_once(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        await server.start()
        with pytest.raises(RuntimeError, match="the server has started"):
            await server.start()
        with pytest.raises(RuntimeError, match="the server has started"):
            await server.serve()
        assert (await ask(server.url)).endswith(b"hello")
        await server.stop()
        assert diary.events == ["startup", "/", "shutdown"]

    run_in_loop(test())


def test_asked_to_stop_it_does_not_start(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        server.request_stop()
        with pytest.raises(StoppedError, match="asked to stop before it had started"):
            await server.start()
        assert diary.events == []
        await server.start()  # that was one request, and it was heard
        server.request_stop()
        await server.wait_for_stop_request()
        await server.stop()
        assert diary.events == ["startup", "shutdown"]

    run_in_loop(test())


def test_a_server_that_has_served_can_serve_again(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        for _ in range(2):
            serving = asyncio.ensure_future(server.serve())
            await wait_for(lambda: accepts(server))
            assert (await ask(server.url)).endswith(b"hello")
            server.request_stop()
            await serving
        assert diary.events == ["startup", "/", "shutdown"] * 2

    run_in_loop(test())


@pytest.mark.parametrize("does_mind", [True, False])
def test_a_start_is_interrupted(run_in_loop: Run[None], does_mind: bool) -> None:
    async def for_ever(scope: Scope) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if does_mind:
                raise

    async def test() -> None:
        diary = Diary()
        diary.startup = for_ever
        server = Server(diary, Config.of(port=0))
        starting = asyncio.ensure_future(server.start())
        await wait_for(lambda: diary.events)
        with pytest.raises(RuntimeError, match="the server is starting"):
            await server.start()
        await server.stop()
        with pytest.raises(StoppedError):
            await starting
        assert not accepts(server)

    run_in_loop(test())


def test_a_start_that_is_cancelled_is_no_stop(run_in_loop: Run[None]) -> None:
    """Not even if both come at once: who has cancelled it must hear of that."""

    async def for_ever(scope: Scope) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        diary = Diary()
        diary.startup = for_ever
        server = Server(diary, Config.of(port=0))
        starting = asyncio.ensure_future(server.start())
        await wait_for(lambda: diary.events)
        stopping = asyncio.ensure_future(server.stop())
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await stopping
        diary.startup = None
        await server.start()
        await server.stop()

    run_in_loop(test())


def test_it_is_asked_to_stop_by_what_fails_its_start(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        async def fail(scope: Scope) -> None:
            server.request_stop()
            raise ZeroDivisionError

        diary = Diary()
        diary.startup = fail
        server = Server(diary, Config.of(port=0, lifespan="on"))
        with pytest.raises((LifespanError, StoppedError)):
            await server.start()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run_in_loop(test())


def test_who_is_there_when_a_start_fails_is_cut_off(
    run_in_loop: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Acceptor.start

    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        writers: list[asyncio.StreamWriter] = []

        async def start_and_fail(acceptor: Acceptor) -> None:
            await start(acceptor)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            readers.append(reader)
            writers.append(writer)
            assert server._context is not None
            await wait_for(lambda: server._context and server._context.connections)
            raise BindError("cannot listen on another")

        readers: list[asyncio.StreamReader] = []
        monkeypatch.setattr(Acceptor, "start", start_and_fail)
        with pytest.raises(BindError):
            await server.start()
        with pytest.raises(ConnectionResetError):
            await readers[0].read()
        writers[0].close()
        assert diary.events == ["startup", "shutdown"]

    run_in_loop(test())


@pytest.mark.parametrize("fails", [True, False])
def test_without_a_grace_time_the_lifespan_has_its_own(
    run_in_loop: Run[None], fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the one of a start that has failed."""
    ends: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, over.set)
        await over.wait()
        ends.append("in order")
        await send({"type": "lifespan.shutdown.complete"})

    async def fail(acceptor: Acceptor) -> None:
        raise BindError("cannot listen")

    async def test() -> None:
        server = Server(app, Config.of(port=0, graceful_timeout=0))
        if fails:
            monkeypatch.setattr(Acceptor, "start", fail)
            with pytest.raises(BindError):
                await server.start()
        else:
            await server.start()
            await server.stop()
        assert ends == ["in order"]

    run_in_loop(test())


async def _stop_at_once() -> None:
    server = Server(Diary(), Config.of(port=0))
    await server.start()
    await server.stop()


async def _interrupt(server: Server, starting: asyncio.Task[None]) -> None:
    server.request_stop()
    await starting


async def _stop(server: Server, starting: asyncio.Task[None]) -> None:
    await server.stop()
    await starting


async def _cancel(server: Server, starting: asyncio.Task[None]) -> None:
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


@pytest.mark.parametrize("end", [_interrupt, _stop, _cancel])
def test_whenever_it_is_ended_nothing_is_left(
    run_in_loop: Run[None], end: Callable[[Server, Any], Any]
) -> None:
    async def start(steps: int) -> bool:
        server = Server(Diary(), Config.of(bind=("127.0.0.1:0", "127.0.0.1:0")))
        before = open_files()
        serving = asyncio.ensure_future(server.serve())
        for _ in range(steps):
            await asyncio.sleep(0)
        has_started = accepts(server)
        await end(server, serving)
        assert not accepts(server)
        await rounds()
        assert open_files() == before
        return has_started

    async def test() -> None:
        await _stop_at_once()  # uvloop opens a file for its first server
        steps = 1
        while not await start(steps):
            steps += 1
        for more in range(5):
            assert await start(steps + more)

    run_in_loop(test())


@pytest.mark.parametrize("count", [1, 3])
def test_who_waited_while_a_start_failed_is_not_served(run_in_loop: Run[None], count: int) -> None:
    class Refusing(Observer):
        def on_start(self, server: Observed) -> None:
            raise ValueError("no")

    async def test() -> None:
        diary = Diary()
        with contextlib.ExitStack() as stack:
            passed = [
                stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
            ]
            clients = [
                stack.enter_context(socket.create_connection(each.getsockname(), DEADLINE))
                for each in passed
            ]
            places = tuple(f"fd://{each.fileno()}" for each in passed)
            server = Server(diary, Config.of(bind=places), observer=Refusing())
            with pytest.raises(ValueError, match="no"):
                await server.start()
            for each in passed:
                each.close()
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(get("/", "Connection: close"))
            for _ in range(20):
                await asyncio.sleep(0)
        assert diary.events == ["startup", "shutdown"]

    run_in_loop(test())


def test_a_server_at_rest_has_nothing_to_stop_and_can_start(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        await server.stop()
        await server.start()
        await server.stop()
        await server.stop()
        assert diary.events == ["startup", "shutdown"]

    run_in_loop(test())


def test_who_waits_for_a_stop_waits_for_the_end_of_a_failed_start(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        async def fail(scope: Scope) -> None:
            waiting.append(asyncio.ensure_future(server.wait_for_stop_request()))
            raise ZeroDivisionError

        waiting: list[asyncio.Future[None]] = []
        diary = Diary()
        diary.startup = fail
        server = Server(diary, Config.of(port=0, lifespan="on"))
        with pytest.raises(LifespanError):
            await server.start()
        await waiting[0]

    run_in_loop(test())


def test_who_was_cancelled_before_and_went_on_can_serve(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        async def for_ever(scope: Scope) -> None:
            await asyncio.Event().wait()

        async def clean_up() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await server.serve()

        diary = Diary()
        diary.startup = for_ever
        server = Server(diary, Config.of(port=0))
        cleaning = asyncio.ensure_future(clean_up())
        await asyncio.sleep(0)
        cleaning.cancel()
        await wait_for(lambda: diary.events)
        server.request_stop()
        await cleaning
        assert cleaning.cancelling() == 1

    run_in_loop(test())


@pytest.mark.parametrize("rounds_between", range(6))
def test_stop_cancelled_twice_leaves_no_connection(
    run_in_loop: Run[None], rounds_between: int
) -> None:
    async def test() -> None:
        server = Server(Diary(), Config.of(port=0))
        await server.start()
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n")  # and no more: a request in progress
            await wait_for(lambda: server._context is not None and server._context.connections)
            stopping = asyncio.ensure_future(server.stop())
            await rounds()
            stopping.cancel()
            for _ in range(rounds_between):
                await asyncio.sleep(0)
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping
            await rounds()
            sock.settimeout(DEADLINE)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""

    run_in_loop(test())
