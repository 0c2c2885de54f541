"""Who is let in must be known, and if it is refused, nothing of it is heard."""

import asyncio
import contextlib
import socket

import pytest

from aserver import Config, Server
from aserver.types import Receive, Scope, Send
from tests.inside import Run, ask, leave_rudely, respond, wait_for

FORGED = (
    b"POST /forged HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
    b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\r\n"
)
HEADER = b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 443\r\n"
TRUSTED = ("10.9.9.9", "unix")


class Site:
    """An application, and who has called it."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.paths: list[str] = []
        self.clients: list[tuple[str, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        self.clients.append(scope["client"])
        if scope["path"] == "/wait":
            await self.go_on.wait()
        await respond(send)


async def _start(site: Site, **options: object) -> tuple[Server, list[int]]:
    server = Server(
        site,
        Config.of(
            bind=("127.0.0.1:0",),
            proxy_protocol_bind=("127.0.0.1:0",),
            proxy_headers=True,
            forwarded_allow_ips=TRUSTED,
            proxy_protocol_allow_ips=TRUSTED,
            lifespan="off",
            **options,
        ),
    )
    await server.start()
    ports = [listener.port for listener in server.listeners]
    return server, [port for port in ports if port is not None]


def _come_and_go(port: int, data: bytes) -> None:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(data)
    leave_rudely(sock)


@pytest.mark.parametrize("is_stopping", [False, True])
def test_who_has_left_before_it_was_asked_for_its_address(
    run_in_loop: Run[None], is_stopping: bool
) -> None:
    # A reset behind the request: the kernel has its bytes still, and its address no more, unless
    # accept(2) has told it. It is no peer at a unix socket, which has none either, and is trusted.
    async def test() -> None:
        site = Site()
        server, (plain, proxied) = await _start(site)
        for _ in range(5):  # the loop does not turn meanwhile
            _come_and_go(plain, FORGED)
            _come_and_go(proxied, HEADER + FORGED)
        if not is_stopping:
            await ask(server.url)
        await server.stop()
        assert {host for host, _ in site.clients} <= {"127.0.0.1"}
        assert [path for path in site.paths if path == "/"] == ([] if is_stopping else ["/"])

    run_in_loop(test())


def test_a_proxy_that_is_not_trusted_had_to_wait(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        site = Site()
        server, (_, proxied) = await _start(site, max_connections=1)
        asking = asyncio.ensure_future(ask(server.url, "/wait"))
        await wait_for(lambda: site.paths)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxied)
        writer.write(HEADER + FORGED)
        await writer.drain()
        site.go_on.set()
        await asking
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        await server.stop()
        assert site.paths == ["/wait"]

    run_in_loop(test())
