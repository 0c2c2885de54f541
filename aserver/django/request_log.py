"""The lines of `runserver`: one for each request, as Daphne words them, coloured by Django.

They are records of the logger `django.channels.server`. Their `status_code` is what Django's
formatter for its own development server colours them by.
"""

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import strftime

from ..access_exclusions import compile_exclusions
from ..access_format import clock
from ..access_notes import Exchange, SocketExchange
from ..escaping import printable
from ..logs import enable_loggers, new_formatter
from ..seams import Head
from ..types import Address

logger = logging.getLogger("django.channels.server")

_HTTP = "HTTP %s %s %d [%.2f, %s]"
_WEBSOCKET = "WebSocket %s %s [%s]"

_DATE_FORMAT = "%d/%b/%Y %H:%M:%S"  # of Django's own lines
# Of the server's own log.
_FORMAT = "[%(asctime)s] %(levelname)s %(message)s"
_LEVELS = {0: logging.ERROR, 1: logging.WARNING, 2: logging.INFO, 3: logging.DEBUG}


def level_of(status: int) -> int:
    """How much a status is to be noticed."""
    if status >= 500:
        return logging.ERROR
    return logging.WARNING if status >= 400 else logging.INFO


class RequestLog:
    """Logs each request at its end, and each WebSocket at its turns; see `aserver.seams`.

    It writes where it is called, as Django's own development server does. Nothing of it raises.

    Args:
        excluded: Paths, or patterns of them, that have no line.

    Raises:
        ConfigError: One of them cannot be understood.
    """

    timed = True

    def __init__(self, excluded: tuple[str, ...] = ()) -> None:
        self._is_excluded = compile_exclusions(excluded)
        self.sockets = SocketLines(self)

    def record(self, exchange: Exchange, head: Head) -> None:
        """A response has ended."""
        request, status = exchange.request, head.status
        seconds = clock() - exchange.began
        path, client = _text(request.target), _name(exchange.client)
        self.write(
            request.target,
            level_of(status),
            _HTTP,
            (request.method, path, status, seconds, client),
            status_code=status,
        )

    def write(
        self,
        target: bytes,
        level: int,
        message: str,
        values: tuple[object, ...],
        **extra: object,
    ) -> None:
        """Log a line about a target, if there is to be one."""
        if self._is_excluded is not None and self._is_excluded(target):
            return
        # Both are for Django's formatter, which would add milliseconds to a time of its own.
        extra["server_time"] = strftime(_DATE_FORMAT)
        try:
            logger.log(level, message, *values, extra=extra)
        except Exception:  # a filter of the project's, say
            with suppress(Exception):
                traceback.print_exc()  # as logging itself does with what a handler raises

    def reopen(self) -> None:
        """There is no file."""

    def close(self) -> None:
        """Everything is written."""


class SocketLines:
    """The same for WebSockets."""

    timed = True

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        self.connecting: Callable[[SocketExchange], None] = self._line("HANDSHAKING")
        self.connected: Callable[[SocketExchange], None] = self._line("CONNECT")
        self._rejected = self._line("REJECT")
        self._disconnected = self._line("DISCONNECT")

    def _line(self, word: str) -> Callable[[SocketExchange], None]:
        def write(exchange: SocketExchange) -> None:
            target = exchange.request.target
            path = _text(target.partition(b"?")[0])
            values = (word, path, _name(exchange.client))
            self._log.write(target, logging.INFO, _WEBSOCKET, values)

        return write

    def record(self, exchange: SocketExchange, head: Head | None) -> None:
        """It has ended, or was refused, or its client left before either."""
        # As with Daphne, only the application rejects; the server answers for one that failed.
        if head is not None and not exchange.accepted and exchange.closed_by != "server":
            self._rejected(exchange)
        self._disconnected(exchange)


def _text(target: bytes) -> str:
    return printable(target.decode("latin-1"))


def _name(client: Address | None) -> str:
    return printable(f"{client[0]}:{client[1]}") if client else "None"


def set_up_logging(verbosity: int) -> logging.Handler | None:
    """Let the lines be seen wherever the project's LOGGING does not say otherwise.

    Request lines go where Django's development server has its own, and nowhere else: the handlers
    of `django` would leave them out without DEBUG, and send those of errors by mail. The server's
    own log gets a handler, which is returned, if nobody would write it.
    """
    enable_loggers()
    if not logger.handlers and not logging.getLogger("django.channels").handlers:
        handlers = logging.getLogger("django.server").handlers
        if handlers and logger.propagate:
            logger.handlers, logger.propagate = list(handlers), False
    server = logging.getLogger("aserver")
    if server.hasHandlers():
        return None
    formatter = new_formatter(_FORMAT)
    formatter.datefmt = _DATE_FORMAT
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    server.addHandler(handler)
    server.setLevel(_LEVELS.get(verbosity, logging.DEBUG))
    return handler
