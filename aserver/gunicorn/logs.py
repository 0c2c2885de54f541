"""gunicorn's logs, seen from the server: one for its own words, one for requests.

gunicorn itself is not imported here: its loggers are given.
"""

import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Protocol

from ..access_format import clock
from ..access_notes import Exchange
from ..escaping import printable_lines
from ..logs import one_line
from ..seams import Head


class AccessLogger(Protocol):
    """gunicorn's `glogging.Logger`, or whatever `--logger-class` names."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Log a request, in the words of WSGI."""

    def error(self, msg: object, *args: object) -> None:
        """Log an error."""


class ErrorLog(logging.Handler):
    """Passes records on to gunicorn's error log, made fit for it: they quote clients."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        copy = logging.makeLogRecord(record.__dict__)
        copy.msg, copy.args = _indented(record.getMessage()), ()
        if record.exc_info:
            copy.exc_text = _indented(logging.Formatter().formatException(record.exc_info))
        try:
            self._log.handle(copy)
        except OSError:  # its file could not be opened anew, behind a SIGUSR1
            self.handleError(record)


def _indented(text: str) -> str:
    return printable_lines(text).replace("\n", "\n  ")


class AccessLogOfGunicorn:
    """Tells gunicorn's own logger of requests, and so syslog, statsd, or whatever it is.

    It takes a hundred times longer than aserver's, for there it is asked for what a WSGI worker
    would have at hand.
    """

    timed = True

    def __init__(self, log: AccessLogger) -> None:
        self._log = log
        self.sockets = self

    def connecting(self, exchange: Exchange) -> None:
        """Not of interest: a WebSocket has one line, at its end."""

    connected = connecting

    def record(self, exchange: Exchange, head: Head | None) -> None:
        """Log one request."""
        if head is None:
            return
        try:
            self._record(exchange, head)
        except Exception as error:
            self._log.error("The access log failed: %s", one_line(error))

    def _record(self, exchange: Exchange, head: Head) -> None:
        request = exchange.request
        target = request.target.decode("ascii")
        path, _, query = target.partition("?")
        fields = [(name.decode("latin-1"), _text(value)) for name, value in request.headers]
        client = exchange.client
        environ = {
            "REQUEST_METHOD": request.method,
            "RAW_URI": target,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
            "REMOTE_ADDR": client[0] if client else "",
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in fields},
        }
        response = SimpleNamespace(
            status=f"{head.status}",
            sent=exchange.sent,
            headers=[(name.decode("latin-1"), _text(value)) for name, value in head.fields()],
        )
        asked = SimpleNamespace(
            headers=fields, method=request.method, uri=target, path=path, query=query
        )
        seconds = timedelta(seconds=clock() - exchange.began)
        self._log.access(response, asked, environ, seconds)

    def reopen(self) -> None:
        """gunicorn does that itself."""

    def close(self) -> None:
        """The same."""


def _text(value: bytes) -> str:
    return printable_lines(value.decode("latin-1"))
