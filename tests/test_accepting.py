"""Accepting while there is room: over real sockets, in each event loop."""

import asyncio
import errno
import os
import socket
import struct

import pytest

from aserver import Config, Server
from aserver.accepting import Acceptor
from aserver.admission import Admission
from aserver.config import Bind, Limits
from aserver.sockets import open_listeners
from aserver.throttle import Throttle
from tests.fakes import rounds
from tests.inside import Run, hello, wait_for


def test_the_backlog_is_the_kernels(run_in_loop: Run[None]) -> None:
    """The loop is told a small one, or asyncio would log each of 2048 failures to accept."""

    async def test() -> None:
        endpoint = "tcp:0:interface=127.0.0.1:backlog=7"
        server = Server(hello, Config.of(port=0, backlog=64, endpoint=endpoint))
        await server.start()
        for sock, backlog in zip(server.sockets, (64, 7), strict=True):
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            # struct tcp_info of a listening socket: tcpi_sacked is its backlog.
            assert struct.unpack_from("I", info, 28)[0] == backlog
        await server.stop()

    run_in_loop(test())


class Gate(Admission):
    """There is no room when the test says so."""

    __slots__ = ("room",)

    room: bool

    @property
    def has_room(self) -> bool:
        return self.room and super().has_room


class Doorman(asyncio.Protocol):
    """Counts who comes in, and closes the connection."""

    def __init__(self, made: list[asyncio.BaseTransport]) -> None:
        self.made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.append(transport)
        transport.close()


class Entrance:
    """An acceptor on a listener of its own."""

    def __init__(self) -> None:
        self.made: list[asyncio.BaseTransport] = []
        throttle = Throttle()
        self.gate = Gate(Limits(), set(), throttle)
        self.gate.room = True
        (self.listener,) = open_listeners(Bind(bind=("127.0.0.1:0",)))
        self.acceptor = Acceptor(
            [self.listener], self.gate, throttle, lambda listener: lambda: Doorman(self.made)
        )

    async def turn(self, room: bool) -> None:
        self.gate.room = room
        self.acceptor.check()
        self.acceptor.check()  # said twice, done once
        await wait_for(lambda: bool(self.acceptor._servers) is room)
        await wait_for(lambda: self.acceptor._changing is None)

    async def count(self, number: int) -> None:
        await wait_for(lambda: len(self.made) == number)

    async def end(self) -> None:
        await self.acceptor.stop()
        self.listener.close()
        await rounds()


def test_room_comes_and_goes(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        entrance = Entrance()
        await entrance.acceptor.start()
        address = entrance.listener.sock.getsockname()
        for number in range(1, 4):
            await entrance.turn(False)
            with socket.create_connection(address):
                await rounds(20)
                assert len(entrance.made) == number - 1
                await entrance.turn(True)
                await entrance.count(number)
        await entrance.end()

    run_in_loop(test())


def test_change_that_fails_is_tried_again(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without a file descriptor for the copy of the listening socket."""

    def no_descriptor(fd: int) -> int:
        raise OSError(errno.EMFILE, "")

    async def test() -> None:
        entrance = Entrance()
        await entrance.acceptor.start()
        await entrance.turn(False)
        entrance.gate.room = True
        with monkeypatch.context() as patch:
            patch.setattr("aserver.accepting.os.dup", no_descriptor)
            entrance.acceptor.refresh()
            await wait_for(lambda: entrance.acceptor._changing is None)
        assert "Nobody is accepted for a moment" in caplog.text
        assert "Too many open files" in caplog.text
        await entrance.turn(True)
        await entrance.end()

    run_in_loop(test())


class Crowd:
    """In place of `socket.accept`: somebody is there, but cannot be accepted."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked = 0

    def accept(self) -> None:
        self.asked += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get
)
def test_shortage_is_said_and_waited_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """In asyncio. (uvloop closes who cannot be accepted, and tells nobody.)"""

    async def test() -> None:
        entrance = Entrance()
        await entrance.acceptor.start()
        with socket.create_connection(entrance.listener.sock.getsockname()):
            crowd = Crowd(number)
            with monkeypatch.context() as patch:
                patch.setattr(socket.socket, "accept", lambda _: crowd.accept())
                for times in range(1, 5):
                    await wait_for(lambda: crowd.asked)
                    await wait_for(lambda: not entrance.acceptor._servers)
                    await rounds(50)
                    assert crowd.asked == 1
                    crowd.asked = 0
                    if times < 4:
                        entrance.acceptor.refresh()
            entrance.acceptor.refresh()
            await entrance.count(1)
        await entrance.end()

    asyncio.run(test())
    assert caplog.messages == [f"Nobody is accepted for a moment: {os.strerror(number)}"] * 4


def test_other_failures_to_accept_are_the_loops(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        entrance = Entrance()
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
        await entrance.acceptor.start()
        with socket.create_connection(entrance.listener.sock.getsockname()):
            with monkeypatch.context() as patch:
                patch.setattr(socket.socket, "accept", lambda _: Crowd(errno.EPERM).accept())
                await wait_for(lambda: failures)
            await entrance.count(1)
        await entrance.end()
        assert failures

    asyncio.run(test())


@pytest.mark.parametrize("room", [True, False])
def test_stop_in_the_middle_of_a_change(run_in_loop: Run[None], room: bool) -> None:
    async def test() -> None:
        entrance = Entrance()
        await entrance.acceptor.start()
        entrance.gate.room = False
        entrance.acceptor.check()
        await asyncio.sleep(0)
        entrance.gate.room = room
        await entrance.end()
        assert not entrance.acceptor._servers
        assert entrance.acceptor._changing is None

    run_in_loop(test())
