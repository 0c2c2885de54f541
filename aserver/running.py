"""Running a server as a process does: its event loop, its signals, and the end of both."""

import asyncio
import atexit
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from .config import Config
from .declarations import ConfigError
from .notify import ServiceManager
from .server import Server
from .types import ASGIApplication

# As many connections as a worker of Python may ever have, and the files they may send.
_FILES = 65_536
# After everything: for tasks and asynchronous generators that nobody has ended.
_CLOSE_SECONDS = 1.0


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """An event loop by its name in `--loop`."""
    if name != "asyncio":
        try:
            import uvloop
        except ImportError:
            if name != "auto":
                raise ConfigError("--loop uvloop: uvloop is not installed") from None
        else:
            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


class _ManagedServer(Server):
    """A server that tells a service manager how far it is."""

    manager: ServiceManager

    async def start(self) -> None:
        await super().start()
        self.manager.ready("Listening on " + ", ".join(map(str, self.listeners)))

    async def stop(self) -> None:
        self.manager.stopping()
        await super().stop()


def run(
    app: ASGIApplication | str,
    config: Config | None = None,
    *,
    environ: MutableMapping[str, str] | None = None,
    **server_options: Any,
) -> None:
    """Serve until SIGINT or SIGTERM; what the command line does.

    A second signal ends the wait for requests in progress, a third ends the process at once. With a
    service manager's variables in `environ`, it is told how far the server is (`aserver.notify`).

    Raises:
        ServerError, ConfigError: As `Server.start`.
    """
    server = _ManagedServer(app, config, environ=environ, **server_options)
    server.manager = manager = ServiceManager.from_environ(environ)
    try:
        run_server(server, manager, manager.watch)
    finally:
        manager.close()


def run_server(
    server: Server,
    manager: ServiceManager | None = None,
    prepare: Callable[[asyncio.AbstractEventLoop], object] | None = None,
) -> None:
    """Serve in an event loop of its own; in the main thread, until a signal.

    Args:
        server: What to run.
        manager: Told of reloading.
        prepare: Called with the event loop before it runs.

    Raises:
        ServerError, ConfigError: As `Server.start`.
    """
    loop = prepared_loop(server.config)
    with stop_signals(server, manager):
        try:
            asyncio.set_event_loop(loop)
            if prepare is not None:
                prepare(loop)
            loop.run_until_complete(server.serve())
        finally:
            asyncio.set_event_loop(None)
            close_loop(loop)


def prepared_loop(config: Config) -> asyncio.AbstractEventLoop:
    """A new event loop, as the options want it."""
    loop = new_loop(config.process.loop)
    loop.set_debug(config.log.verbosity >= 3)
    if config.process.threads is not None:
        loop.set_default_executor(ThreadPoolExecutor(config.process.threads, "aserver"))
    return loop


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
def stop_signals(server: Server, manager: ServiceManager | None = None) -> Iterator[None]:
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


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop in bounded time, whatever tasks and threads are left in it."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=_CLOSE_SECONDS))
    # Not by `wait_for`, which waits for the end of what it cancels.
    generators = loop.create_task(loop.shutdown_asyncgens())
    loop.run_until_complete(asyncio.wait({generators}, timeout=_CLOSE_SECONDS))
    loop.close()  # does not wait for the default executor's threads
