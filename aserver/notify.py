"""What a service manager is told: sd_notify(3), over the socket that NOTIFY_SOCKET names.

Whatever goes wrong with that is the manager's business and never the server's.
"""

import asyncio
import os
import socket
import time
from collections.abc import MutableMapping
from enum import Enum

from .escaping import printable
from .logs import server_log
from .observer import Observed, Observer

# A manager that does not read may hold the event loop up for so long, in seconds.
_SEND_SECONDS = 1.0
_MAX_DIGITS = 18  # of microseconds; int() itself refuses thousands of them


class _State(Enum):
    """What the manager knows of the server."""

    STARTING = 1
    READY = 2
    STOPPING = 3


class ServiceManager(Observer):
    """Whoever started the process, if it wants to hear how far it is.

    Args:
        address: Of its datagram socket: a path, or a name behind `@`. Empty: there is none.
        watchdog: It wants to hear of a life sign every so many seconds; 0: it does not.
    """

    def __init__(self, address: str, watchdog: float = 0.0) -> None:
        self._address = address
        self._watchdog = watchdog
        self._state = _State.STARTING
        self._status = ""
        self._has_failed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sock = _new_socket() if address else None

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str] | None) -> "ServiceManager":
        """The one that these variables name; None: nobody is told anything.

        The variables are removed, so that child processes do not take them for theirs.
        """
        if environ is None:
            return cls("")
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        # Without it, sd_watchdog_enabled(3) says, it is meant for whoever reads it.
        pid = environ.pop("WATCHDOG_PID", "") or str(os.getpid())
        is_number = microseconds.isdecimal() and len(microseconds) <= _MAX_DIGITS
        is_watched = is_number and pid == str(os.getpid())
        return cls(address, int(microseconds) / 1e6 if is_watched else 0.0)

    @property
    def is_there(self) -> bool:
        """Whether anybody is told."""
        return self._sock is not None

    def on_start(self, server: Observed) -> None:
        """Say where it listens, and from now on that it lives."""
        self.ready("Listening on " + ", ".join(map(str, server.listeners)))
        self.watch(asyncio.get_running_loop())

    def on_stop(self, server: Observed) -> None:
        """The end has begun."""
        self._state = _State.STOPPING
        self._tell("STOPPING=1", "STATUS=Stopping")

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send life signs from this event loop: if it is stuck, they stay away."""
        self._loop = loop
        if self._watchdog and self._sock is not None:
            loop.call_soon(self._give_life_sign)

    def _give_life_sign(self) -> None:
        assert self._loop is not None
        self._loop.call_later(self._watchdog / 2, self._give_life_sign)  # as the manual asks for
        self._tell("WATCHDOG=1")

    def ready(self, status: str) -> None:
        """Connections are accepted; the status is for whoever asks for the service's."""
        self._state = _State.READY
        self._status = printable(status)
        self._tell("READY=1", f"STATUS={self._status}")

    def reloading(self) -> None:
        """What can be loaded anew is being loaded; `reloaded` follows."""
        if self._state is _State.READY:
            # The time is for `Type=notify-reload`: to know which reload is meant.
            now = f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
            self._tell("RELOADING=1", now, "STATUS=Reloading")

    def reloaded(self) -> None:
        """The event loop has been asked to reload: when it has done so, that is over."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_reloaded)

    def _on_reloaded(self) -> None:
        if self._state is _State.READY:
            self._tell("READY=1", f"STATUS={self._status}")

    def close(self) -> None:
        """There is nothing more to tell."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _tell(self, *lines: str) -> None:
        if self._sock is None:
            return
        try:
            self._sock.sendto("\n".join(lines).encode("utf-8"), _kernel_name(self._address))
        except OSError as error:
            if not self._has_failed:
                server_log.debug("The service manager (NOTIFY_SOCKET) hears nothing: %s", error)
            self._has_failed = True


def _new_socket() -> socket.socket:
    # Opened once: the last file descriptor may be taken when a life sign is due.
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(_SEND_SECONDS)
    return sock


def _kernel_name(address: str) -> str:
    """A name in the abstract namespace begins with NUL, which no variable can have."""
    return "\0" + address[1:] if address.startswith("@") else address
