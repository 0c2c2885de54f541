"""Who runs a server is told how far it is, and may have something to do about that."""

import logging
from collections.abc import Sequence
from typing import Protocol

from .addresses import places
from .config import Config
from .listener import Listener
from .logs import server_log
from .targets import TcpAddress


class Observed(Protocol):
    """The server, seen from its observer."""

    @property
    def config(self) -> Config:
        """Its configuration."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """Where it listens."""


class Observer:
    """Told of a server's beginning and end: the server calls each method when it is time."""

    def on_start(self, server: Observed) -> None:
        """It accepts connections. What is raised here ends it."""

    def announce(self, server: Observed) -> None:
        """It serves on its own, so somebody has to say where: first in the lines of Daphne.

        Scripts wait for these.
        """
        endpoints = sorted({listener.endpoint for listener in server.listeners})
        server_log.info("Starting server at %s", ", ".join(endpoints))
        level = _level_of_addresses(server.config)
        for listener in server.listeners:
            if listener.port is not None:
                server_log.info("Listening on TCP address %s", listener.address)
            server_log.log(level, "%s %s", listener.purpose, listener)

    def on_stop_request(self, server: Observed) -> None:
        """It is asked to stop: by a signal, or from any thread, whatever its event loop is at."""

    def on_stop(self, server: Observed) -> None:
        """It begins to stop."""


def _level_of_addresses(config: Config) -> int:
    """Of their lines in the log: where the kernel chose a port, nobody else can tell it."""
    is_chosen = any(
        isinstance(place.target, TcpAddress) and not place.target.port
        for place in places(config.bind, config.tls)
    )
    return logging.WARNING if is_chosen and config.log.verbosity == 0 else logging.INFO
