"""Running a server as a process does: signals, limits, and an end that does not wait for ever."""

import atexit
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from types import FrameType

from .config import Config
from .event_loops import close_loop, prepared_loop, run_to_end
from .notify import ServiceManager
from .server import Server
from .types import ASGIApplication
from .worker_seams import RequestLog

# As many connections as a worker of Python may ever have, and the files they may send.
_FILES = 65_536


def run(
    app: ASGIApplication | str,
    config: Config | None = None,
    *,
    environ: MutableMapping[str, str] | None = None,
    access_log: RequestLog | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; what the command line does.

    A second signal ends the wait for requests in progress, a third ends the process at once. With a
    service manager's variables in `environ`, it is told how far the server is (`aserver.notify`).
    For `access_log`, see `Server`.

    Raises:
        ServerError, ConfigError: As `Server.start`.
    """
    manager = ServiceManager.from_environ(environ)
    try:
        server = Server(app, config, environ=environ, access_log=access_log, observer=manager)
        run_server(server, manager)
    finally:
        manager.close()


def run_server(server: Server, manager: ServiceManager | None = None) -> None:
    """Serve in an event loop of its own; in the main thread, until a signal.

    Raises:
        ServerError, ConfigError: As `Server.start`.
    """
    loop = prepared_loop(server.config)
    with signals_handled(server, manager):
        try:
            run_to_end(loop, server.serve())
        finally:
            close_loop(loop)


def raise_file_limit() -> None:
    """Let this process open more files than by default.

    The soft limit, 1024 in most places, is for programs that use select(2), which cannot count any
    further. What the administrator allows is the hard one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def signals_handled(server: Server, manager: ServiceManager | None = None) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop the server, SIGUSR1 reopen its logs.

    SIGHUP loads certificates, too. Without TLS and without a service manager it is left alone: it
    is how a terminal that is closed ends what runs in it. Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    manager = manager or ServiceManager("")
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 2:
            os._exit(128 + number)
        if server.is_importing:  # nothing has begun that would have to be ended
            count = 2  # functions run at exit may be stuck
            exit_now(0)
        server.request_stop()

    def reopen(number: int, frame: FrameType | None) -> None:
        server.reopen_logs()

    def reload(number: int, frame: FrameType | None) -> None:
        manager.reloading()
        server.reload_certificates()
        server.reopen_logs()
        manager.reloaded()

    handlers = {signal.SIGINT: handle, signal.SIGTERM: handle, signal.SIGUSR1: reopen}
    if server.has_tls or manager.is_there:
        handlers[signal.SIGHUP] = reload
    server.has_signals = True
    before = {number: signal.signal(number, each) for number, each in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_now(code: int) -> None:
    """What the interpreter would do, but without waiting for threads."""
    with suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def end_in_bounded_time(seconds: float, code: int) -> None:
    """End this process soon, even if something keeps the interpreter from ending.

    That waits for all threads, also for those stuck in application code.
    """
    watchdog = threading.Timer(seconds, exit_now, (code,))
    watchdog.daemon = True
    watchdog.start()
    # The interpreter runs these when the threads have ended, last registered first.
    atexit.register(watchdog.cancel)
