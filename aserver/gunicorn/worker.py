"""The worker class: a `Server` in a process of gunicorn's.

gunicorn has the sockets, the processes, the signals and the words for its settings; here they are
translated, and the rest is a `Server` as anywhere else. What gunicorn has no setting for is read
from the environment, as ever: `ASERVER_PING_INTERVAL=5`. Nothing else in the package imports
gunicorn.

What is imported elsewhere when it is needed is imported here: workers share what the arbiter has in
memory, and may be a user who cannot read its files.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, ClassVar

from gunicorn import glogging
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config as Settings
from gunicorn.workers import base

from .. import ws_cycle  # noqa: F401
from ..app import AppImportError, adapted
from ..config import ADDRESS_OPTIONS, APPLICATION_OPTIONS, Config
from ..declarations import ConfigError
from ..engines import h2, h2_library, ws_wsproto  # noqa: F401
from ..event_loops import close_loop, prepared_loop, run_to_end
from ..logs import enable_loggers, server_log, set_up_logging
from ..observer import Observed, Observer
from ..running import end_in_bounded_time, raise_file_limit
from ..server import Server
from ..types import ASGIApplication, Receive, Scope, Send, ServerError
from ..worker_seams import RequestLog
from .logs import AccessLogOfGunicorn, ErrorLog
from .settings import (
    WITHOUT_EQUAL,
    from_environ,
    from_settings,
    has_plain_logger,
    is_proxied,
    is_set,
)

# When the code has changed: for requests in progress. A stream would go on.
_RELOAD_SECONDS = 0.5
# For hooks at the worker's end, and threads of the application that are stuck.
_EXIT_SECONDS = 5.0
_SIGN_OF_LIFE = 1.0


class Worker(base.Worker):
    """A worker process of gunicorn's that serves with aserver.

    A subclass may set any option of `aserver.Config.of`, before gunicorn's settings and the
    environment:

        class MyWorker(Worker):
            options = {"ping_interval": 5}
    """

    options: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def check_config(cls, cfg: Settings, log: glogging.Logger) -> None:
        """Called by the arbiter before there is any worker.

        Raises:
            RuntimeError: What gunicorn shows as one line.
        """
        if getattr(cfg, "protocol", "http") != "http":
            raise RuntimeError("aserver.gunicorn.Worker speaks HTTP only (--protocol http)")
        try:
            cls._options(cfg)
        except ConfigError as error:
            raise RuntimeError(str(error)) from None
        if left_out := [name for name in WITHOUT_EQUAL if is_set(cfg, name)]:
            log.warning(
                "aserver.gunicorn.Worker has no use for these settings: %s", ", ".join(left_out)
            )

    @classmethod
    def _options(cls, cfg: Settings, places: Sequence[str] = ()) -> Config:
        """gunicorn's settings, then the environment, then the class.

        Raises:
            ConfigError: They cannot be, or are gunicorn's to say.
        """
        for name in cls.options:
            if name in ADDRESS_OPTIONS or name in APPLICATION_OPTIONS:
                raise ConfigError(f"{cls.__name__}.options: {name!r} is for gunicorn to say")
        given = from_settings(cfg) | from_environ(os.environ) | dict(cls.options)
        given["proxy_protocol_bind" if is_proxied(cfg) else "bind"] = tuple(places)
        return Config.of(**given)

    # What the arbiter and its processes call

    def init_signals(self) -> None:
        """As any worker of gunicorn's does; but the event loop has a pipe of its own to wake it."""
        self._server: Server | None = None
        self._stop_requests = 0
        super().init_signals()
        signal.set_wakeup_fd(-1)

    def load_wsgi(self) -> None:
        """Import the application; whatever it does to logging comes behind what is done here."""
        with _Refusals(self):
            self._config = self._options(self.cfg, [f"fd://{s.fileno()}" for s in self.sockets])
            self._set_up_logging()
        try:
            app = self._adapted(self.app.wsgi())
        except SyntaxError as error:
            if not self.cfg.reload:
                raise
            app = self._excuse(error)
        enable_loggers()
        counted = app if self.max_requests == sys.maxsize else self._counting(app)
        self.wsgi = counted  # type: ignore[assignment]

    def run(self) -> None:
        """Serve, until a signal, enough requests or the arbiter's end."""
        raise_file_limit()
        with _Refusals(self):
            loop = prepared_loop(self._config)
        server = Server(
            self.wsgi,  # type: ignore[arg-type]
            self._config,
            access_log=self._new_access_log(),
            observer=_Steps(self.sockets, has_own_sockets=self.cfg.reuse_port),
        )
        server.has_signals = True
        self._loop, self._server = loop, server
        for _ in range(self._stop_requests):  # while the application was being imported
            server.request_stop()
        try:
            self._beat()
            loop.add_reader(self.PIPE[0], self._on_change)
            with _Refusals(self):
                run_to_end(loop, server.serve())
        except RuntimeError:
            if not self.aborted:
                raise
            sys.exit(1)
        finally:
            loop.remove_reader(self.PIPE[0])
            if not self.aborted:
                close_loop(loop)
            end_in_bounded_time(_EXIT_SECONDS, _exit_code(sys.exception()))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: the arbiter may send it again and again."""
        self._stop(1)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT, SIGQUIT: stop, and wait for nobody."""
        if self._server is None:
            super().handle_quit(sig, frame)
        elif self._stop_requests < 2:
            self.cfg.worker_int(self)
            self._stop(2)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """SIGUSR1: open log files anew; not in the middle of a line."""
        if self._server is None:
            super().handle_usr1(sig, frame)
        else:
            self._call_in_loop(self.log.reopen_files)
            self._server.reopen_logs()

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """SIGABRT: gunicorn has had no sign of life for --timeout."""
        if self._server is not None:
            # The exception comes out of whatever blocks the event loop, which may catch it. If so,
            # the loop ends as soon as it has its turn.
            self.aborted = True
            self._call_in_loop(self._loop.stop)
        super().handle_abort(sig, frame)

    # Its own

    def _call_in_loop(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # it is closed: the worker is about to end
            self._loop.call_soon_threadsafe(callback)

    def _stop(self, wanted: int) -> None:
        """Ask the server to stop: once to end in order, twice to hurry."""
        self.alive = False
        while self._stop_requests < wanted:
            self._stop_requests += 1
            if self._server is not None:
                self._server.request_stop()

    def _beat(self) -> None:
        """A sign of life, and a look for the arbiter's."""
        self._loop.call_later(min(_SIGN_OF_LIFE, self.timeout or _SIGN_OF_LIFE), self._beat)
        self.notify()
        if self.alive and self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            self._stop(1)

    def _on_change(self) -> None:
        """gunicorn's reloader has seen that the code has changed."""
        os.read(self.PIPE[0], 1)
        self._stop(1)
        self._loop.call_later(_RELOAD_SECONDS, self._stop, 2)

    def _counting(self, app: ASGIApplication) -> ASGIApplication:
        """The application, and an end after --max-requests."""

        def counting(scope: Scope, receive: Receive, send: Send) -> Any:
            if scope["type"] != "lifespan":
                self.nr += 1
                if self.nr == self.max_requests:
                    self.log.info("Autorestarting worker after current request.")
                    self._stop(1)
            return app(scope, receive, send)

        return counting

    def _adapted(self, app: Any) -> ASGIApplication:
        """The application as one of ASGI, whichever it is."""
        name = str(getattr(self.app, "app_uri", None) or self.cfg.proc_name)
        process = self._config.process
        with _Refusals(self):
            return adapted(app, name, process.interface, threads=process.threads)

    def _excuse(self, error: SyntaxError) -> ASGIApplication:
        """With --reload: what is served until the mistake is mended."""
        self.log.error("The application cannot be imported", exc_info=error)
        if self.reloader is not None and error.filename is not None:
            self.reloader.add_extra_file(error.filename)
        text = "".join(traceback.format_exception(error)).encode()
        plain = [(b"content-type", b"text/plain; charset=utf-8")]

        async def excuse(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 500, "headers": plain})
                await send({"type": "http.response.body", "body": text})

        return excuse

    def _set_up_logging(self) -> None:
        """What aserver has to say goes to gunicorn's error log, unless it is told otherwise."""
        if self._config.log.log_config is not None:
            set_up_logging(self._config.log)
            return
        logger = logging.getLogger("aserver")
        logger.handlers = [ErrorLog(self.log.error_log)]
        logger.setLevel(self.log.error_log.level)
        logger.propagate = False

    def _new_access_log(self) -> RequestLog | None:
        """gunicorn's own access log, where it is more than a file; else aserver's, or none."""
        log, cfg = self.log, self.cfg
        if self._config.log.access_log is not None:
            return None
        if has_plain_logger(cfg) and not getattr(log, "access_log_enabled", cfg.accesslog):
            return None
        return AccessLogOfGunicorn(log)


def _exit_code(error: BaseException | None) -> int:
    """Of a process that this ends: the arbiter reads it."""
    code = error.code if isinstance(error, SystemExit) else error
    if isinstance(code, int):
        return code
    return 0 if code is None else 1


class _Steps(Observer):
    """What is different about a server on sockets that gunicorn has opened.

    Args:
        sockets: These.
        has_own_sockets: No other worker accepts from them (--reuse-port).
    """

    def __init__(self, sockets: Sequence[Any], *, has_own_sockets: bool) -> None:
        self._sockets = sockets
        self._has_own_sockets = has_own_sockets

    def on_start(self, server: Observed) -> None:
        """Let go of gunicorn's copies.

        With them, who comes while the last worker is stopping would wait for nothing, and not be
        refused.
        """
        for listener in server.listeners:
            listener.shared = not self._has_own_sockets
        for sock in self._sockets:
            sock.close()

    def announce(self, server: Observed) -> None:
        """One line. Of sockets that all workers share, the arbiter has told already."""
        server_log.log(
            logging.INFO if self._has_own_sockets else logging.DEBUG,
            "%s %s",
            server.listeners[0].purpose,
            ", ".join(map(str, server.listeners)),
        )


class _Refusals:
    """Ends a worker that cannot start, so that the arbiter ends, too, and does not try for ever."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigError | ServerError):
            hint = " (an option --x is the variable ASERVER_X here)" if "--" in str(error) else ""
            self._worker.log.error("%s%s", error, hint)
            is_import = isinstance(error, AppImportError)
            sys.exit(Arbiter.APP_LOAD_ERROR if is_import else Arbiter.WORKER_BOOT_ERROR)
