"""What a server says of itself, and whom it tells how far it is."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from aserver import Config, Server
from aserver.addresses import Kind, Place
from aserver.listener import Listener
from aserver.observer import Observed, Observer
from aserver.targets import InheritedFd, TcpAddress
from tests.inside import Diary, Open, Run, wait_for


class Noting(Observer):
    """Notes what it is told."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def on_start(self, server: Observed) -> None:
        self._events.append(f"started on {len(server.listeners)}")

    def announce(self, server: Observed) -> None:
        self._events.append("announce")

    def on_stop_request(self, server: Observed) -> None:
        self._events.append("asked")

    def on_stop(self, server: Observed) -> None:
        self._events.append("stopping")


class Listening:
    """A server, as far as an observer looks at it."""

    def __init__(self, config: Config, listeners: Sequence[Listener]) -> None:
        self.config = config
        self.listeners = listeners


def test_it_is_told_when_it_is_time(run_in_loop: Run[None]) -> None:
    diary = Diary()

    async def test() -> None:
        server = Server(diary, Config.of(port=0), observer=Noting(diary.events))
        serving = asyncio.ensure_future(server.serve())
        await wait_for(lambda: "announce" in diary.events)
        server.request_stop()
        await serving
        await server.stop()

    run_in_loop(test())
    assert diary.events == [
        *("startup", "started on 1", "announce"),
        *("asked", "stopping", "shutdown"),
    ]


def test_who_serves_on_its_own_account_announces_nothing(run_in_loop: Run[None]) -> None:
    diary = Diary()

    async def test() -> None:
        server = Server(diary, Config.of(port=0), observer=Noting(diary.events))
        await server.start()
        await server.stop()

    run_in_loop(test())
    assert diary.events == ["startup", "started on 1", "stopping", "shutdown"]


def test_what_it_raises_at_the_start_undoes_everything(run_in_loop: Run[None]) -> None:
    class Refusing(Observer):
        def on_start(self, server: Observed) -> None:
            raise ValueError("no")

    diary = Diary()

    async def test() -> None:
        server = Server(diary, Config.of(port=0), observer=Refusing())
        with pytest.raises(ValueError, match="no"):
            await server.start()
        assert [sock.fileno() for sock in server.sockets] == [-1]

    run_in_loop(test())
    assert diary.events == ["startup", "shutdown"]


def test_first_come_the_lines_of_daphne(open_all: Open, caplog: pytest.LogCaptureFixture) -> None:
    listeners = [*open_all(port=0), *open_all(port=0), *open_all(unix_socket="s")]
    one, two, three = listeners
    one.speak(Place(TcpAddress("127.0.0.1", 80)))
    two.speak(Place(InheritedFd(5), is_proxied=True))
    with caplog.at_level(logging.INFO, "aserver"):
        Observer().announce(Listening(Config(), listeners))
    assert one.kind is Kind.PLAIN
    assert caplog.messages == [
        "Starting server at fd:fileno=5, tcp:port=80:interface=127.0.0.1, unix:s",
        f"Listening on TCP address {one.address}",
        f"Listening on http://{one.address}",
        f"Listening on TCP address {two.address}",
        f"Listening for PROXY headers on http://{two.address}",
        f"Listening on {three}",
    ]


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({"port": 0}, logging.INFO),
        ({"port": 0, "verbosity": 0}, logging.WARNING),
        ({"bind": "127.0.0.1:0", "verbosity": 0}, logging.WARNING),
        ({"bind": "127.0.0.1:8000", "verbosity": 0}, logging.INFO),
        ({"bind": ("127.0.0.1:8000", "127.0.0.1:0"), "verbosity": 0}, logging.WARNING),
        ({"bind": ("127.0.0.1:0", "127.0.0.1:8000"), "verbosity": 0}, logging.WARNING),
        ({"bind": ("127.0.0.1:1", "127.0.0.1:2"), "verbosity": 0}, logging.INFO),
        ({"endpoint": "tcp:0", "unix_socket": "s", "verbosity": 0}, logging.WARNING),
        ({"bind": ("127.0.0.1:8000", "127.0.0.1:0")}, logging.INFO),
        ({"verbosity": 0}, logging.INFO),
    ],
)
def test_a_port_that_the_kernel_chose_is_told_at_any_verbosity(
    options: dict[str, Any], level: int, open_all: Open, caplog: pytest.LogCaptureFixture
) -> None:
    listeners = open_all(port=0)
    with caplog.at_level(logging.INFO, "aserver"):
        Observer().announce(Listening(Config.of(**options), listeners))
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.INFO, level]
