"""A server in a process of its own, for tests; `daphne.testing.DaphneProcess` by its attributes.

    process = ServerProcess("localhost", get_application)
    process.start()
    assert process.ready.wait(10)
    ...                                 # http://localhost:{process.port.value}
    process.terminate()
    process.join()

It works with every start method of `multiprocessing`, so all that it is given must be picklable. It
ends when it is told to, or when the process that started it has ended: gracefully where it can, and
else by an alarm, so nobody waits for it in vain.
"""

import multiprocessing
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from .config import ADDRESS_OPTIONS, APPLICATION_OPTIONS, DECLARATIONS, Config
from .declarations import ConfigError
from .listener import Listener
from .logs import one_line
from .observer import Observed, Observer
from .running import run_server
from .server import Server
from .types import ASGIApplication

_DEFAULTS: dict[str, Any] = {"graceful_timeout": 1.0, "access_log": ""}
# After the grace time: for cancelled requests and the lifespan.
_STOP_SECONDS = 3.0
# After everything: the interpreter waits for threads, also for those stuck in application code.
_THREADS_SECONDS = 3.0
# What is reported of a failure, twice, fits into a pipe (64 KiB on Linux) that perhaps nobody
# reads, even if every character takes four bytes.
_MOST_REPORTED = 6_000
# What the child takes out of its pickle only where it can report a failure.
_GIVEN = ("get_application", "kwargs", "setup", "teardown")
# Keywords that have no meaning here, and why.
_REFUSED = {
    "signal_handlers": "the process has its own",
    "action_logger": "there is access_log, and access_log_format",
    **dict.fromkeys(
        {"application"} | APPLICATION_OPTIONS, "the process has one, from get_application"
    ),
    **dict.fromkeys({"endpoints"} | ADDRESS_OPTIONS, "the process listens on its host and port"),
}


class ServerProcess(multiprocessing.Process):
    """Serve an application in a child process.

    Args:
        host: A name or an address to listen on.
        get_application: Called in the child, without arguments; returns the application.
        kwargs: Options of `aserver.Config.of`, or keywords of Daphne's `Server`.
        setup: Called in the child before it serves.
        teardown: Called in the child when it has served.
        port: To listen on; by default a free one.

    Attributes:
        port: Its value is the port, as soon as `ready` is set.
        ready: An event, set when the server accepts connections.
        errors: A queue; a failure of the child's is there as (exception, traceback as text).

    Raises:
        ConfigError: There is no such option, or its value cannot be.
    """

    def __init__(
        self,
        host: str,
        get_application: Callable[[], ASGIApplication],
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[[], object] | None = None,
        teardown: Callable[[], object] | None = None,
        port: int | None = None,
    ) -> None:
        super().__init__()
        self.host = host
        self.get_application = get_application
        self.kwargs = dict(kwargs or {})
        self.setup = setup
        self.teardown = teardown
        self.port: Synchronized[int] = multiprocessing.Value("i", port or 0)
        self.ready = multiprocessing.Event()
        self.errors: Queue[tuple[BaseException, str]] = multiprocessing.Queue()
        self.daemon = True  # who forgets it does not wait for it at exit
        self._pickled = b""
        self._server: Server | None = None  # in the child
        _configuration(host, port or 0, self.kwargs)  # a mistake is told here: somebody reads it

    def start(self) -> None:
        """Start the child."""
        parent = multiprocessing.current_process()
        # The workers of `manage.py test --parallel` are daemons, which may have no children. This
        # one ends with its parent.
        was_daemon, parent.daemon = parent.daemon, False
        try:
            super().start()
        finally:
            parent.daemon = was_daemon

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        given = {name: state.pop(name) for name in _GIVEN}
        return {**state, "_pickled": bytes(ForkingPickler.dumps(given))}

    def run(self) -> None:
        """The child, from its beginning to its end."""
        self._begin()
        try:
            if self._pickled:  # else it is a fork
                self.__dict__.update(pickle.loads(self._pickled))
            self._serve()
        except BaseException as error:
            self.errors.put((_portable(error), traceback.format_exc()[-_MOST_REPORTED:]))
            raise SystemExit(f"aserver: error: {_clipped(error)}") from None
        finally:
            _end_for_certain(_THREADS_SECONDS)

    def _begin(self) -> None:
        """Lose what a fork has of its parent: signals are the child's own."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        self.daemon = False  # the application may have child processes
        parent = multiprocessing.parent_process()
        assert parent is not None
        threading.Thread(target=self._end_with, args=(parent,), daemon=True).start()

    def _end_with(self, parent: "multiprocessing.process.BaseProcess") -> None:
        """Wait for the parent's end, in a thread: the event loop may be stuck, or there is none."""
        parent.join()
        if self._server is None:
            _end_for_certain(_STOP_SECONDS)
        else:
            self._server.request_stop()

    def _serve(self) -> None:
        options = self.kwargs.copy()
        ready_callable = options.pop("ready_callable", None)
        application = self.get_application()
        config = _configuration(self.host, self.port.value, options)
        starter = _Starter(partial(self._announce, ready_callable))
        server = self._server = Server(application, config, observer=starter)
        if self.setup is not None:
            self.setup()
        try:
            run_server(server)
        finally:
            if self.teardown is not None:
                self.teardown()

    def _announce(
        self, ready_callable: Callable[[], object] | None, listeners: Sequence[Listener]
    ) -> None:
        port = listeners[0].port
        assert port is not None
        self.port.value = port
        if ready_callable is not None:
            ready_callable()
        self.ready.set()


class _Starter(Observer):
    """It says when the server has started; once that is to stop, its process ends for certain."""

    def __init__(self, on_started: Callable[[Sequence[Listener]], None]) -> None:
        self._on_started = on_started

    def on_start(self, server: Observed) -> None:
        self._on_started(server.listeners)

    def on_stop_request(self, server: Observed) -> None:
        _end_for_certain(server.config.limits.graceful_timeout + _STOP_SECONDS)


def _end_for_certain(seconds: float) -> None:
    # The kernel's alarm, and not the event loop's: the application may block that.
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _configuration(host: str, port: int, kwargs: Mapping[str, Any]) -> Config:
    """From keywords of ours and of Daphne's."""
    for name, reason in _REFUSED.items():
        if name in kwargs:
            raise ConfigError(f"{name}: {reason}")
    options = dict(kwargs)
    options.pop("ready_callable", None)
    if "request_buffer_size" in options:
        options["read_buffer"] = options.pop("request_buffer_size")
    # Daphne's None is no limit, or nothing: here that is not to give it.
    for name in [name for name, value in options.items() if value is None and name in DECLARATIONS]:
        del options[name]
    _translate_handshake(options)
    _translate_proxies(options)
    host = host.strip("[]")
    bind = f"[{host}]" if ":" in host else host
    return Config.of(**{**_DEFAULTS, **options, "bind": (bind,), "port": port})


def _translate_handshake(options: dict[str, Any]) -> None:
    """Daphne has two deadlines for one handshake: the first of them ends it."""
    handshake = options.pop("websocket_handshake_timeout", None)
    if handshake is None:
        return
    both = (handshake, options.get("websocket_connect_timeout", handshake))
    limits = [seconds for seconds in both if seconds > 0]
    options["websocket_connect_timeout"] = min(limits, default=0)


def _translate_proxies(options: dict[str, Any]) -> None:
    """Daphne's names of headers: without the one for the address, the others mean nothing."""
    names = {
        ours: options.pop(f"proxy_forwarded_{theirs}_header", None)
        for ours, theirs in (("host", "address"), ("port", "port"), ("proto", "proto"))
    }
    if not names["host"]:
        return
    given = {ours: name for ours, name in names.items() if name}
    options["proxy_headers"] = True
    options["proxy_headers_trust"] = ("for", *(ours for ours in given if ours != "host"))
    options.update({f"proxy_headers_{ours}": name for ours, name in given.items()})


def _portable(error: BaseException) -> BaseException:
    """The exception, if it is small and can be pickled; else another with its text."""
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:  # there is no telling what classes of others raise
        pickled = b""
    if 0 < len(pickled) <= _MOST_REPORTED:
        return error
    return RuntimeError(_clipped(error))


def _clipped(error: BaseException) -> str:
    return one_line(error)[:_MOST_REPORTED]
