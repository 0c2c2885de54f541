"""One worker: its listeners, its lifespan, the tick, and the orderly end.

`Server` runs in any event loop of any thread and touches no signals and no logging; `run`, in
`aserver.running`, is what the command line does with it.
"""

import asyncio
import os
import socket
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial

from .accepting import Acceptor, catch_up
from .access_log import AccessLog
from .addresses import names_certificate
from .app import load_app
from .config import Config
from .context import TICK, Context
from .draining import cut_off, end_all
from .engine_choice import choose_forwarding, choose_frames, choose_parser, choose_wire
from .entrances import Entrances
from .lifespan import Lifespan
from .limits import sweep
from .listener import Listener
from .logs import enable_loggers, unmute_django
from .observer import Observer
from .seams import Parser
from .sockets import open_listeners
from .stopping import State, StopRequests
from .types import ASGIApplication, StoppedError
from .worker_seams import Forwarder, RequestLog

# For the application's own lifespan.shutdown, however short the grace time is.
_MIN_SHUTDOWN_SECONDS = 5.0


class Server:
    """An ASGI server.

        server = Server(app, Config.of(port=0))
        await server.start()
        print(server.url)
        await server.stop()

    Args:
        app: The application, or its import string.
        config: Everything else; see `Config.of`.
        environ: Where systemd's LISTEN_FDS is looked for; None: nowhere.
        access_log: Told of each request, in place of the access log that the options name.
        observer: Told of the start and the stop.

    Its methods are for one event loop, the one that `start` runs in; only `request_stop`,
    `reopen_logs` and `reload_certificates` are for any thread.
    """

    def __init__(
        self,
        app: ASGIApplication | str,
        config: Config | None = None,
        *,
        environ: MutableMapping[str, str] | None = None,
        access_log: RequestLog | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.config = config or Config()
        self.listeners: list[Listener] = []
        self.has_signals = False  # whoever runs it has handlers for them
        self.is_importing = False  # the application; the event loop has no say meanwhile
        self.has_tls = names_certificate(self.config.bind, self.config.tls)
        self._directory = _current_directory()
        self._app = app
        self._environ = environ
        self._access_log = access_log
        self._observer = observer or Observer()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: Context | None = None
        self._lifespan: Lifespan | None = None
        self._entrances: Entrances | None = None
        self._acceptor: Acceptor | None = None
        self._tick_handle: asyncio.TimerHandle | None = None
        self._state = State.IDLE
        self._starting: asyncio.Task[object] | None = None  # as long as it can be interrupted
        self._rest()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The listening sockets."""
        return [listener.sock for listener in self.listeners]

    @property
    def url(self) -> str:
        """The URL of the first listener, or `unix:PATH`."""
        return str(self.listeners[0])

    async def start(self) -> None:
        """Import the application, bind, run its lifespan start-up, accept.

        Raises:
            ServerError: One of these failed, or it was asked to stop meanwhile. Everything begun is
                undone.
            ConfigError: The configuration asks for something that cannot be.
            RuntimeError: It has been started, and is not stopped yet.
        """
        if self._state is not State.IDLE:
            raise RuntimeError(f"the server {self._state.value}")
        self._loop = asyncio.get_running_loop()
        if self._stops.heed():
            self._rest()
            raise StoppedError
        self._state = State.STARTING
        task = self._starting = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        try:
            await self._begin()
        except BaseException as error:
            # Our own cancellation of this task ends here; somebody else's goes on.
            was_interrupted = self._starting is None and task.uncancel() <= cancellations
            self._starting = None
            await self._end(_MIN_SHUTDOWN_SECONDS)
            if was_interrupted and isinstance(error, asyncio.CancelledError):
                raise StoppedError from None
            raise
        self._starting = None
        self._state = State.SERVING

    async def _begin(self) -> None:
        parser = choose_parser(self.config.http.http)
        forwarding = choose_forwarding(self.config.proxy)
        app = self._load()
        # The application may have changed it; else relative paths stay as they are.
        directory = "" if self._directory == _current_directory() else self._directory
        self.listeners = open_listeners(self.config.bind, self._environ, self.config.tls, directory)
        self._entrances = Entrances(self.config, self.listeners, directory)
        context = self._context = self._new_context(app, parser, forwarding)
        await self._start_lifespan(context)
        await self._start_accepting(context)
        self._tick()
        self._observer.on_start(self)

    def _load(self) -> ASGIApplication:
        if not isinstance(self._app, str):
            return self._app
        process = self.config.process
        self.is_importing = True
        try:
            app = load_app(
                self._app,
                app_dir=process.app_dir,
                factory=process.factory,
                interface=process.interface,
                threads=process.threads,
                has_signals=self.has_signals,
            )
        finally:
            self.is_importing = False
        enable_loggers()
        return app

    def _new_context(
        self, app: ASGIApplication, parser: Parser, forwarding: Forwarder | None
    ) -> Context:
        assert self._loop is not None
        config, loop = self.config, self._loop
        frames = choose_frames(config.websocket.ws)
        wire = choose_wire(http2=config.http2.http2)
        context = Context(
            app,
            config,
            loop,
            parser,
            copy_context(),
            frames,
            wire,
            forwarding,
            wall=loop.time(),
        )
        context.access_log = self._access_log
        if context.access_log is None and config.log.access_log:
            context.access_log = AccessLog(config.log, loop)
        context.has_signals = self.has_signals
        return context

    async def _start_lifespan(self, context: Context) -> None:
        lifespan = Lifespan(
            context.app,
            self.config.process.lifespan,
            context.task_context,
            has_signals=self.has_signals,
        )
        self._lifespan = lifespan
        await lifespan.startup()
        if isinstance(self._app, str):
            enable_loggers()  # once more: applications set up logging in their lifespan, too
            unmute_django()
        context.state = lifespan.state

    async def _start_accepting(self, context: Context) -> None:
        assert self._entrances is not None
        self._acceptor = Acceptor(
            self.listeners,
            context.admission,
            context.throttle,
            partial(self._entrances.new_protocol, context),
        )
        await self._acceptor.start()

    def _tick(self) -> None:
        """Once a second: the clock, the date, what is overdue."""
        context, loop = self._context, self._loop
        assert context is not None
        assert loop is not None
        self._tick_handle = loop.call_later(TICK, self._tick)  # first: it must never end
        context.advance(loop.time())
        sweep(context.now, context.connections)
        sweep(context.now, context.cycles)
        sweep(context.now, context.watched)
        if self._acceptor is not None:
            self._acceptor.refresh()
        if self._entrances is not None:
            self._entrances.check()

    async def serve(self) -> None:
        """Start, serve until `request_stop`, stop.

        Raises:
            ServerError, ConfigError, RuntimeError: As `start`; but to be asked to stop is no error.
        """
        try:
            await self.start()
        except StoppedError:
            return
        try:
            self._observer.announce(self)
            await self.wait_for_stop_request()
        finally:
            await self.stop()

    async def wait_for_stop_request(self) -> None:
        """Wait until `request_stop` or `stop` is called."""
        await self._stops.asked.wait()

    def request_stop(self) -> None:
        """Ask `serve` to stop, from any thread. Asked again, it waits no longer."""
        self._stops.add()
        self._observer.on_stop_request(self)
        self._call_in_loop(self._heed_stop_requests)

    def reopen_logs(self) -> None:
        """Open the access log's file again, after it was renamed; from any thread.

        If that fails, the log goes on in the old file, says so, and tries again.
        """
        self._call_in_loop(self._reopen_logs)

    def _reopen_logs(self) -> None:
        if self._context is not None and self._context.access_log is not None:
            self._context.access_log.reopen()

    def reload_certificates(self) -> None:
        """Load certificates and keys anew, for new connections; from any thread.

        If anything is wrong with them, the log says so, and the old ones stay.
        """
        self._call_in_loop(self._reload_certificates)

    def _reload_certificates(self) -> None:
        if self._entrances is not None:
            self._entrances.reload()

    def _call_in_loop(self, callback: Callable[[], None]) -> None:
        # Before the start there is no loop: `start` looks for itself. Behind the end it is closed,
        # and may have been a moment ago.
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(callback)

    def _heed_stop_requests(self) -> None:
        if self._stops.heed():
            self._interrupt()

    def _interrupt(self) -> None:
        """Start no more."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()

    async def stop(self) -> None:
        """End in order: no new connections, no new requests, no requests, no lifespan.

        Takes no longer than the graceful timeout (seconds) for requests, a few seconds for those
        that have to be cancelled, and the graceful timeout again for the lifespan. Ends `serve`,
        and `start` as well. If somebody else has begun to stop, it waits for the same end. It waits
        for the application, too, which can only `request_stop`.
        """
        if self._state is State.IDLE:
            return
        self._stops.asked.set()
        if self._state is not State.SERVING:
            self._interrupt()
            await self._stops.rested.wait()
            return
        self._state = State.STOPPING
        context, acceptor = self._context, self._acceptor
        assert context is not None
        assert acceptor is not None
        grace = self.config.limits.graceful_timeout
        context.draining = True
        try:
            self._observer.on_stop(self)
            await acceptor.stop()
            await end_all(context, grace, self._stops.hurry)
        finally:
            await self._end(max(grace, _MIN_SHUTDOWN_SECONDS))

    async def _end(self, lifespan_grace: float) -> None:
        """Whatever was before: end what goes on still, and let go of everything."""
        try:
            try:
                if self._acceptor is not None:
                    await self._acceptor.halt()
            finally:
                if self._context is not None:
                    cut_off(self._context)
            await catch_up()
            if self._lifespan is not None:
                await self._lifespan.shutdown(lifespan_grace)
        finally:
            try:
                await self._let_go()
            finally:
                self._stops.end()
                self._rest()

    def _rest(self) -> None:
        """There is nothing, and nobody has asked for anything."""
        self._state = State.IDLE
        self._stops = StopRequests()

    async def _let_go(self) -> None:
        """Of everything that `start` made."""
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is not None:
            acceptor.abandon()
        for listener in self.listeners:
            listener.close()
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            lifespan.abandon()
        context, self._context = self._context, None
        if context is not None:
            context.throttle.close()
        if context is not None and context.access_log is not None:
            # In a thread: its reader may be slow, and the loop may have other things to do. In one
            # of its own: the loop's may all be stuck in application code.
            with ThreadPoolExecutor(max_workers=1) as executor:
                closed = executor.submit(context.access_log.close)
                await asyncio.wrap_future(closed)


def _current_directory() -> str:
    """Its path; empty if it has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""
