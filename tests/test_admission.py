"""Who may come in: limits of connections and of calls, over real sockets in each event loop."""

import asyncio
import contextlib
import resource
import socket
from math import inf
from pathlib import Path
from typing import Any

import pytest

from aserver import Config, Server
from aserver.admission import most_connections
from aserver.types import Receive, Scope, Send
from tests.fakes import rounds
from tests.inside import Run, ask, leave_rudely, respond, wait_for
from tests.processes import DEADLINE, get


class Site:
    """An application whose calls wait for the test, and count themselves."""

    def __init__(self) -> None:
        self.at_work = 0
        self.most = 0
        self.begun = 0
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        self.begun += 1
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        await self.go_on.wait()
        self.at_work -= 1
        await respond(send)


class Visitor:
    """A client's connection that has sent a request."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.create_connection(server.sockets[0].getsockname(), DEADLINE)
        self.sock.sendall(get("/"))
        self.sock.setblocking(False)

    async def read(self) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.sock_recv(self.sock, 65536), DEADLINE)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        if self.sock.fileno() != -1:
            leave_rudely(self.sock)  # politely, it might be waiting for its answer still


async def settle(server: Server) -> None:
    """Let the server do everything that it can do now."""
    for _ in range(5):
        await rounds(10)
        await asyncio.to_thread(int)  # the loop polls


async def begun(site: Site, count: int) -> None:
    await wait_for(lambda: site.begun == count)


@contextlib.asynccontextmanager
async def served(site: Site, **options: Any) -> Any:
    server = Server(site, Config.of(port=0, graceful_timeout=1, lifespan="off", **options))
    await server.start()
    visitors: list[Visitor] = []

    def visit(count: int) -> list[Visitor]:
        visitors.extend(Visitor(server) for _ in range(count))
        return visitors[-count:]

    try:
        yield server, visit
    finally:
        site.go_on.set()
        await server.stop()
        for visitor in visitors:
            visitor.close()


# Connections in all


@pytest.mark.parametrize("most", [1, 10])
def test_no_more_connections_are_served_than_allowed(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture, most: int
) -> None:
    async def test() -> None:
        site = Site()
        async with served(site, max_connections=most) as (server, visit):
            inside = visit(most)
            outside = visit(30)
            await wait_for(lambda: site.begun == most)
            await settle(server)
            assert site.begun == most
            for visitor in inside:
                before = site.begun
                visitor.close()
                await begun(site, before + 1)
                await settle(server)
                assert site.begun == before + 1
            site.go_on.set()
            served_now = outside[:most]
            for visitor in served_now:
                assert (await visitor.read()).endswith(b"hello")

    run_in_loop(test())
    assert any(f"--max-connections ({most})" in message for message in caplog.messages)


def test_everybody_is_served_in_the_end(run_in_loop: Run[None]) -> None:
    """Short connections, many more than allowed, come and go."""

    async def test() -> None:
        site = Site()
        site.go_on.set()
        async with served(site, max_connections=3) as (server, _):
            answers = await asyncio.gather(*[ask(server.url) for _ in range(100)])
            assert all(answer.endswith(b"hello") for answer in answers)
            assert site.most <= 3

    run_in_loop(test())


def test_who_waits_for_room_is_taken_in_by_a_server_that_stops(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Site()
        async with served(site, max_connections=2) as (server, visit):
            everybody = visit(8)
            await wait_for(lambda: site.begun == 2)
            await settle(server)
            stopping = asyncio.ensure_future(server.stop())
            await wait_for(lambda: site.begun == 8)
            site.go_on.set()
            await stopping
            for visitor in everybody:
                assert (await visitor.read()).endswith(b"hello")

    run_in_loop(test())


def test_who_leaves_while_it_waits_takes_no_room(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Site()
        async with served(site, max_connections=1) as (server, visit):
            (first,) = visit(1)
            await wait_for(lambda: site.begun == 1)
            for visitor in visit(5):
                visitor.close()
            await settle(server)
            (last,) = visit(1)
            first.close()
            site.go_on.set()
            assert (await last.read()).endswith(b"hello")

    run_in_loop(test())


@pytest.mark.parametrize(
    ("option", "files", "most"),
    [
        (None, 1024, 960),
        (None, 64, 16),
        (None, resource.RLIM_INFINITY, inf),
        (0, 1024, inf),
        (5000, 1024, 5000),
    ],
)
def test_most_connections(
    monkeypatch: pytest.MonkeyPatch, option: int | None, files: int, most: float
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert most_connections(option) == most


# Connections of one client


def test_no_client_has_more_connections_than_allowed(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        site = Site()
        async with served(site, max_connections_per_client=3) as (server, visit):
            inside = visit(3)
            await wait_for(lambda: site.begun == 3)
            (fourth,) = visit(1)
            assert await fourth.read() == b""
            assert any(
                "from 127.0.0.1: it has as many as --max-connections-per-client (3)" in message
                for message in caplog.messages
            )
            inside[0].close()
            assert server._context is not None
            admission = server._context.admission
            await wait_for(lambda: admission._per_client == {"127.0.0.1": 2})
            site.go_on.set()
            (fifth,) = visit(1)
            assert (await fifth.read()).endswith(b"hello")
            for visitor in (*inside, fifth):
                visitor.close()
            await wait_for(lambda: not admission._per_client)
            assert not admission._hosts

    run_in_loop(test())


def test_unix_sockets_have_no_client_address(run_in_loop: Run[None], tmp_path: Path) -> None:
    async def test() -> None:
        site = Site()
        site.go_on.set()
        path = str(tmp_path / "socket")
        server = Server(
            site, Config.of(unix_socket=path, max_connections_per_client=1, lifespan="off")
        )
        await server.start()
        answers = await asyncio.gather(*[ask(server.url) for _ in range(5)])
        assert all(answer.endswith(b"hello") for answer in answers)
        await server.stop()

    run_in_loop(test())


# Calls at work


def test_no_more_calls_are_at_work_than_allowed(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        site = Site()
        async with served(site, max_concurrency=2) as (_, visit):
            visit(2)
            await wait_for(lambda: site.begun == 2)
            for _ in range(20):
                (visitor,) = visit(1)
                refusal = await visitor.read()
                assert refusal.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
                assert b"\r\nretry-after: 1\r\n" in refusal
                assert b"\r\nconnection: close\r\n" in refusal
            assert site.most == 2
            lines = [message for message in caplog.messages if "--max-concurrency" in message]
            assert 1 <= len(lines) <= 5
            site.go_on.set()
            await wait_for(lambda: not site.at_work)
            (visitor,) = visit(1)
            assert (await visitor.read()).endswith(b"hello")

    run_in_loop(test())


def test_idle_connections_are_not_at_work(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Site()
        site.go_on.set()
        async with served(site, max_concurrency=1) as (_, visit):
            for _ in range(5):  # each stays open, and idle
                (visitor,) = visit(1)
                assert (await visitor.read()).endswith(b"hello")

    run_in_loop(test())
