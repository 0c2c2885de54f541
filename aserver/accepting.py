"""Accepting connections on the listeners: while there is room, and not while there is none.

The event loops accept by themselves and can be stopped only by closing what they listen on. So each
is given a copy of the listening socket, which is closed when there is no room (`Admission`), and
made anew when there is. Meanwhile the listeners tell whether somebody waits.
"""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

from .admission import Admission
from .listener import BindError, Listener
from .logs import server_log
from .throttle import Throttle

# asyncio accepts as many connections in a row as the backlog it is told, and tells of each that
# fails for want of a file descriptor: the kernel is told the real backlog behind its back.
_ACCEPT_AT_ONCE = 16
# From Python 3.13 on, loops remove the file of a unix socket; that is for the listener to do, or
# not.
_KEEP_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
# accept(2): nobody can be accepted, though somebody is there.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Lets the event loop accept on every listener while there is room.

    Args:
        listeners: Where. They outlive this.
        admission: Knows whether there is room.
        throttle: For the log.
        new_protocol: Called for each listener; what it returns, for each connection.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        admission: Admission,
        throttle: Throttle,
        new_protocol: Callable[[Listener], Callable[[], asyncio.Protocol]],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._admission = admission
        self._new_protocol = new_protocol
        self._servers: list[asyncio.Server] = []
        self._watched: list[int] = []
        self._changing: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._throttle = throttle
        # A change comes out of any connection's end; nothing of that shall stay with the servers.
        self._task_context = copy_context()

    async def start(self) -> None:
        """Begin.

        Raises:
            BindError: The kernel does not let us listen.
        """
        await self._open()
        self._admission.on_change = self.check
        self.check()

    def check(self) -> None:
        """See whether to accept; called when that has changed."""
        if self._changing is None and not self._is_right:
            self._changing = self._loop.create_task(self._change(), context=self._task_context)

    def refresh(self) -> None:
        """Once a second: try again what failed."""
        self._admission.refresh()
        self.check()
        if self._changing is None:
            self._watch()

    @property
    def _is_right(self) -> bool:
        return self._is_stopping or bool(self._servers) is self._admission.has_room

    async def _change(self) -> None:
        try:
            while not self._is_right:
                await (self._close() if self._servers else self._open())
        except BindError as error:
            self._throttle.warning(server_log, "Nobody is accepted for a moment: %s", error)
        finally:
            self._changing = None
            self._watch()

    def _watch(self) -> None:
        """While nobody is accepted: hear of the first who waits."""
        if self._servers or self._watched or self._is_stopping:
            return
        self._watched = [listener.sock.fileno() for listener in self._listeners]
        for fd in self._watched:
            self._loop.add_reader(fd, self._on_waiting)

    def _unwatch(self) -> None:
        while self._watched:
            self._loop.remove_reader(self._watched.pop())

    def _on_waiting(self) -> None:
        self._unwatch()  # it would be told in every round of the loop
        self._admission.make_room()

    async def _open(self) -> None:
        self._unwatch()
        try:
            for listener in self._listeners:
                await self._serve(listener)
        except BindError:
            await self._close()
            raise

    async def _serve(self, listener: Listener) -> None:
        sock = None
        try:
            sock = _ListeningSocket(listener.sock, self._admission)
            listener.sock.listen(listener.backlog)  # uvloop would only log that it cannot
            new_protocol = self._new_protocol(listener)
            kind: dict[str, Any] = {
                "sock": sock,
                "backlog": _ACCEPT_AT_ONCE,
                "start_serving": False,  # the start may be cancelled while it begins
            }
            if sock.family == socket.AF_UNIX:
                server = await self._loop.create_unix_server(new_protocol, **kind, **_KEEP_FILE)
            else:
                server = await self._loop.create_server(new_protocol, **kind)
            self._servers.append(server)
            sock = None  # it is the server's now
            await server.start_serving()
            listener.sock.listen(listener.backlog)
        except OSError as error:
            if sock is not None:
                sock.close()
            reason = os.strerror(error.errno or 0)
            raise BindError(f"cannot listen on {listener.address}: {reason}") from None

    async def _close(self) -> None:
        # asyncio loses whom it has accepted and not connected yet when its server is closed: so it
        # shall first accept no more. (uvloop does, but loses nobody.)
        for server in self._servers:
            for sock in server.sockets:
                self._loop.remove_reader(sock)
        await catch_up()
        while self._servers:
            self._servers.pop().close()
        self._admission.expected = 0

    async def stop(self) -> None:
        """Close the listeners, and take in who has been waiting there, whatever room there is."""
        await self.halt()
        self._admission.lift()
        waiting: list[tuple[Listener, socket.socket]] = []
        for listener in self._listeners:
            waiting += [(listener, sock) for sock in listener.take_waiting()]
            listener.close()
        for listener, sock in waiting:
            try:
                await self._loop.connect_accepted_socket(self._new_protocol(listener), sock)
            except OSError:  # it has left already
                sock.close()

    async def halt(self) -> None:
        """Accept nobody any more; who has been accepted is connected by then."""
        self._is_stopping = True
        if self._changing is not None:
            await asyncio.wait({self._changing})
        self._unwatch()
        await self._close()

    def abandon(self) -> None:
        """The same at once, without regard for anybody who has been accepted just now."""
        self._is_stopping = True
        self._unwatch()
        while self._servers:
            self._servers.pop().close()


class _ListeningSocket(socket.socket):
    """A copy of a listening socket as asyncio shall see it. (uvloop takes the descriptor only.)"""

    def __init__(self, sock: socket.socket, admission: Admission) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        self._admission = admission

    def listen(self, backlog: int = 0) -> None:
        """It does already, with a backlog of its own."""

    def accept(self) -> tuple[socket.socket, Any]:
        if not self._admission.has_room:
            raise BlockingIOError
        try:
            accepted = super().accept()
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            self._admission.run_short(error)
            raise BlockingIOError from None
        self._admission.expected += 1
        return accepted


async def catch_up() -> None:
    """Let the loop do what it has put off: tell of the connections that it has accepted, or lost.

    That takes it up to three rounds.
    """
    for _ in range(3):
        await asyncio.sleep(0)
