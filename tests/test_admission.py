"""Who may come in: limits of connections and of calls, mostly over real sockets in each loop."""

import asyncio
import contextlib
import os
import resource
import select
import socket
from math import inf
from pathlib import Path
from typing import Any

import pytest

from aserver import Config, Server
from aserver.admission import Admission, most_connections
from aserver.config import Limits
from aserver.socket_facts import Addresses
from aserver.throttle import Throttle
from aserver.types import Receive, Scope, Send
from aserver.worker_seams import Connected
from tests.fakes import rounds
from tests.inside import Run, ask, leave_rudely, respond, wait_for
from tests.processes import DEADLINE, Process, get, read_until, wait_until


class Site:
    """An application whose calls wait for the test, but for `/quick`, and count themselves."""

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
        if scope["path"] != "/quick":
            await self.go_on.wait()
        self.at_work -= 1
        await respond(send)


class Visitor:
    """A client's connection that has sent a request."""

    def __init__(self, server: Server, request: bytes) -> None:
        self.sock = socket.create_connection(server.sockets[0].getsockname(), DEADLINE)
        self.sock.sendall(request)
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
    # Who keeps a connection open is waited for in every test.
    server = Server(site, Config.of(port=0, graceful_timeout=0.1, lifespan="off", **options))
    await server.start()
    visitors: list[Visitor] = []

    def visit(count: int, request: bytes = get("/")) -> list[Visitor]:
        visitors.extend(Visitor(server, request) for _ in range(count))
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
        (None, 1024, 320),
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


def test_the_files_suffice_for_as_many_slow_downloads_as_connections(
    loop_name: str, tmp_path: Path
) -> None:
    """Who comes then waits, and is neither reset nor refused."""
    inside = (160 - 64) // 3
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 26)
    process = Process("tests.served:app", "--loop", loop_name)
    # Both limits, long before it has imported what looks at them: it would raise the soft one.
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (160, 160))
    with process as server, contextlib.ExitStack() as stack:
        clients = []
        for _ in range(2 * inside):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(DEADLINE)
            client.connect(server.address)
            client.sendall(get(f"/download?{path}"))
            clients.append(client)
        server.wait_for(f"As many connections are open as --max-connections ({inside}) allows")
        for client in clients[:inside]:
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        wait_until(lambda: server.open_files > 3 * inside)  # for each is waited
        assert server.open_files < 160
        readable, _, _ = select.select(clients[inside:], [], [], 0)
        assert readable == []
        for client in clients[:inside]:
            leave_rudely(client)
        for client in clients[inside:]:
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        assert "Too many open files" not in server.stderr


# Idle connections make room


QUICK = get("/quick")


def test_idle_connections_make_room_for_those_who_wait(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Site()
        async with served(site, max_connections=5) as (server, visit):
            context = server._context
            for visitor in visit(5, QUICK):
                assert (await visitor.read()).endswith(b"hello")
            # The first in no time; further ones have to wait for the tick at times.
            for _ in range(12):
                (visitor,) = visit(1, QUICK)
                assert (await visitor.read()).endswith(b"hello")
                assert len(context.connections) <= 5
                server._acceptor.refresh()
            assert site.begun == 17

    run_in_loop(test())


def test_connections_that_are_busy_stay(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Site()
        async with served(site, max_connections=2) as (server, visit):
            (busy,) = visit(1)
            await begun(site, 1)
            (idle,) = visit(1, QUICK)
            assert (await idle.read()).endswith(b"hello")
            (newcomer,) = visit(1)
            assert await idle.read() == b""
            await begun(site, 3)
            (last,) = visit(1)
            for _ in range(3):
                server._acceptor.refresh()
                await settle(server)
            assert site.begun == 3
            site.go_on.set()
            # Both of them become idle, and the next look at them is at the next tick.
            for visitor in (busy, newcomer):
                response = await visitor.read()
                assert response.endswith(b"hello")
                assert b"connection: close" not in response
            server._acceptor.refresh()
            assert (await last.read()).endswith(b"hello")

    run_in_loop(test())


def test_idle_connections_stay_while_nobody_waits(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Site()
        async with served(site, max_connections=5) as (server, visit):
            for _ in range(2):
                for visitor in visit(5, QUICK):
                    assert (await visitor.read()).endswith(b"hello")
                for _ in range(3):
                    server._acceptor.refresh()
                    await settle(server)
                assert len(server._context.connections) == 5
                server._acceptor.refresh()

    run_in_loop(test())


class Guest:
    """A connection that is idle, or not."""

    def __init__(self, deadline: float, is_idle: bool = True) -> None:
        self.deadline = deadline
        self.is_idle = is_idle
        self.drained = False

    def begin(self, transport: asyncio.Transport, ends: Addresses) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def expire(self) -> None: ...
    def abort(self, *, reset: bool = False) -> None: ...

    def eof_received(self) -> bool:
        return False

    def drain(self, *, patient: bool = False) -> None:
        self.drained = True
        self.is_idle = False


class Street(asyncio.Transport):
    """The transport of a client of one address, that does nothing."""

    closing = False

    def __init__(self) -> None:
        super().__init__({"sockname": ("192.0.2.1", 80), "peername": ("192.0.2.2", 50000)})
        self.protocol = asyncio.BaseProtocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


def house(guests: list[Guest], **limits: int) -> Admission:
    connections: set[Connected] = set(guests)
    return Admission(Limits(**limits), connections, Throttle())


@pytest.mark.parametrize(("count", "close"), [(1, 1), (15, 1), (16, 2), (256, 32), (1000, 32)])
def test_an_eighth_makes_room_at_once_and_those_first_that_have_been_idle_for_longest(
    count: int, close: int
) -> None:
    idle = [Guest(number) for number in range(count)]
    busy = [Guest(-1, is_idle=False) for _ in range(10)]
    admission = house(idle + busy)
    admission.make_room()
    assert [guest.drained for guest in idle] == [True] * close + [False] * (count - close)
    for _ in range(count):
        admission.make_room()
    assert all(guest.drained for guest in idle)
    assert not any(guest.drained for guest in busy)


def test_what_becomes_idle_makes_room_from_the_next_tick_on() -> None:
    one, two = guests = [Guest(1), Guest(2, is_idle=False)]
    admission = house(guests)
    admission.make_room()
    two.is_idle = True
    admission.make_room()
    assert (one.drained, two.drained) == (True, False)
    admission.refresh()
    assert not two.drained  # nobody waits
    admission.make_room()
    assert two.drained


@pytest.mark.parametrize("how", ["busy", "gone"])
def test_who_is_not_idle_any_more_is_passed_over(how: str) -> None:
    guests = [Guest(number) for number in range(3)]
    admission = house(guests)
    admission.make_room()
    if how == "busy":
        guests[1].is_idle = False
    else:
        admission.leave(guests[1])
    admission.make_room()
    assert [guest.drained for guest in guests] == [True, False, True]


def test_who_was_accepted_too_early_is_somebody_who_waits() -> None:
    first, *guests = [Guest(number) for number in range(3)]
    admission = house([first], max_connections=1)
    first.is_idle = False
    admission.ask(guests[0], Street())
    assert not first.drained
    first.is_idle = True
    admission.refresh()
    assert first.drained


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
            clients = admission._clients
            await wait_for(lambda: clients._counts == {"127.0.0.1": 2})
            site.go_on.set()
            (fifth,) = visit(1)
            assert (await fifth.read()).endswith(b"hello")
            for visitor in (*inside, fifth):
                visitor.close()
            await wait_for(lambda: not clients._counts)
            assert not clients._hosts

    run_in_loop(test())


def test_who_waits_does_not_count_yet(run_in_loop: Run[None]) -> None:
    """uvloop accepts some who have to wait then; whether they are too many is seen later."""

    async def test() -> None:
        site = Site()
        site.go_on.set()
        options = {"max_connections": 3, "max_connections_per_client": 5}
        async with served(site, **options) as (server, _):

            async def come_and_go() -> None:
                for _ in range(20):
                    assert (await ask(server.url)).endswith(b"hello")

            await asyncio.gather(*[come_and_go() for _ in range(10)])
            assert not server._context.admission._clients._counts

    run_in_loop(test())


def test_who_waited_is_counted_when_it_is_let_in() -> None:
    admission = house([], max_connections=2, max_connections_per_client=2)
    guests = [Guest(0, is_idle=False) for _ in range(5)]
    streets = [Street() for _ in guests]
    for guest, street in zip(guests, streets, strict=True):
        admission.ask(guest, street)
    assert not any(street.closing for street in streets)
    assert admission._connections == set(guests[:2])
    admission.leave(guests[0])
    assert admission._connections == set(guests[1:3])
    admission.lift()  # now there is room for all, but not of one client
    assert [street.closing for street in streets] == [False, False, False, True, True]
    assert admission._connections == set(guests[1:3])


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


@pytest.mark.parametrize(("most", "statuses"), [(1, [b"200", b"503"]), (2, [b"200", b"200"])])
def test_the_call_before_a_pipelined_request_is_still_at_work(
    run_in_loop: Run[None], most: int, statuses: list[bytes]
) -> None:
    """It goes on behind its response, and nobody knows for how long."""

    async def test() -> None:
        site = Site()
        async with served(site, max_concurrency=most) as (_, visit):
            (visitor,) = visit(1, QUICK * 2)
            data = b""
            while data.count(b"HTTP/1.1 ") < 2:
                data += await visitor.read()
            assert [part[:3] for part in data.split(b"HTTP/1.1 ")[1:]] == statuses

    run_in_loop(test())
