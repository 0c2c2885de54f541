"""The server in this process: how it stops, and who is served still."""

import asyncio
import contextlib
import select
import socket

import pytest

from aserver import Config, Server, accepting
from tests.fakes import rounds
from tests.inside import Diary, Run, hello
from tests.processes import DEADLINE, get, read_all


@pytest.mark.parametrize("count", range(6))
def test_who_has_connected_before_the_end_is_served(run_in_loop: Run[None], count: int) -> None:
    """Whether still in the accept queue, or just accepted, or just connected to its protocol."""

    async def test() -> None:
        server = Server(hello, Config.of(port=0))
        await server.start()
        with contextlib.ExitStack() as stack:
            # (The kernel connects, while the loop stands still.)
            socks = [
                stack.enter_context(socket.create_connection(server.sockets[0].getsockname()))
                for _ in range(5)
            ]
            for sock in socks:
                sock.sendall(get("/"))
            await rounds(count)
            await server.stop()
            for sock in socks:
                sock.settimeout(DEADLINE)
                response = read_all(sock)
                assert response.startswith(b"HTTP/1.1 200 OK\r\n")
                assert response.endswith(b"hello")
                if count == 0:
                    assert b"\r\nconnection: close\r\n" in response

    run_in_loop(test())


@pytest.mark.parametrize("count", range(4))
def test_who_connects_in_the_first_moments_of_the_end_is_served(
    run_in_loop: Run[None], count: int
) -> None:
    async def test() -> None:
        server = Server(hello, Config.of(port=0))
        await server.start()
        address = server.sockets[0].getsockname()
        with contextlib.ExitStack() as stack:
            stopping = asyncio.ensure_future(server.stop())
            await rounds(count)
            socks = []
            with contextlib.suppress(ConnectionRefusedError):
                while True:
                    socks.append(stack.enter_context(socket.create_connection(address)))
                    socks[-1].sendall(get("/"))
                    select.select(server.sockets, [], [], DEADLINE)  # there is one to accept
                    await asyncio.sleep(0)
            assert socks
            await stopping
            for sock in socks:
                sock.settimeout(DEADLINE)
                assert read_all(sock).endswith(b"hello")

    run_in_loop(test())


def test_an_inherited_socket_keeps_its_accept_queue(run_in_loop: Run[None]) -> None:
    """Whom this server does not accept any more, the next one will."""

    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            first = Server(hello, Config.of(fd=listener.fileno()))
            await first.start()
            sock = socket.create_connection(listener.getsockname())
            sock.sendall(get("/", "Connection: close"))
            await first.stop()
            second = Server(hello, Config.of(fd=listener.fileno()))
            await second.start()
            reader, writer = await asyncio.open_connection(sock=sock)
            assert (await reader.read()).endswith(b"hello")
            writer.close()
            await writer.wait_closed()
            await second.stop()

    run_in_loop(test())


def test_who_has_left_the_accept_queue_is_not_missed(
    run_in_loop: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        server = Server(hello, Config.of(port=0))
        await server.start()
        refused: list[socket.socket] = []

        class Loop:
            """Not every loop, nor every kernel, takes a connection that is gone already."""

            def remove_reader(self, sock: object) -> None: ...

            async def connect_accepted_socket(self, protocol: object, sock: socket.socket) -> None:
                refused.append(sock)
                raise OSError

        monkeypatch.setattr(server._acceptor, "_loop", Loop())
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                sock = socket.create_connection(server.sockets[0].getsockname())
                stack.callback(sock.close)
            monkeypatch.setattr(accepting, "catch_up", nobody_is_accepted)
            await server.stop()
        assert [sock.fileno() for sock in refused] == [-1, -1, -1]
        await rounds()

    async def nobody_is_accepted() -> None: ...

    run_in_loop(test())


def test_stop_cancelled_leaves_no_connection_and_runs_the_lifespan(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        await server.start()
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.settimeout(DEADLINE)
            sock.sendall(b"GET / HTTP/1.1\r\n")  # and no more: a request in progress
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.stop(), 0.1)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        assert diary.events == ["startup", "shutdown"]

    run_in_loop(test())
