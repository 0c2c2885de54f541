"""`ChannelsLiveServerTestCase`: a live server in a process, used as that of `channels.testing`.

It needs neither Channels nor Daphne.
"""

from collections.abc import Callable, Mapping
from functools import partial
from queue import Empty
from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import TransactionTestCase, modify_settings

from ..server_process import ServerProcess
from ..types import ASGIApplication
from .child_state import ChildState
from .live_application import (
    GRACE_SECONDS,
    Wrapper,
    live_application,
    live_options,
    websocket_url,
)

# How long the death of a process may stay unseen.
_LOOK_SECONDS = 0.2
# For what a dead process has said to arrive.
_PATIENCE = 5.0


class LiveServerProcess(ServerProcess):
    """A `ServerProcess` that does not wait for requests in progress, unless it is told to."""

    def __init__(
        self,
        host: str,
        get_application: Callable[[], ASGIApplication],
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[[], object] | None = None,
        teardown: Callable[[], object] | None = None,
        port: int | None = None,
    ) -> None:
        options = {"graceful_timeout": GRACE_SECONDS, **(kwargs or {})}
        super().__init__(host, get_application, options, setup, teardown, port)


class ChannelsLiveServerTestCase(TransactionTestCase):
    """A live server in a process.

    The test database must not be in memory: the process could not see it.

    Attributes:
        host: Where it listens; it is an allowed host.
        ProtocolServerProcess: The class of the process.
        static_wrapper: Put around the application to serve static files.
        serve_static: Whether to.
    """

    host = "localhost"
    ProtocolServerProcess: Any = LiveServerProcess
    static_wrapper: Any = ASGIStaticFilesHandler
    serve_static = True
    live_server_url: str
    live_server_ws_url: str
    _server_process: Any

    @classmethod
    def setUpClass(cls) -> None:
        for connection in connections.all():
            if connection.vendor == "sqlite" and connection.is_in_memory_db():
                raise ImproperlyConfigured(
                    f"the test database {connection.alias!r} is in memory, where a server in a "
                    "process of its own cannot see it: give it a file "
                    f'(DATABASES["{connection.alias}"]["TEST"]["NAME"]), or use '
                    "aserver.django.testing.LiveServerTestCase"
                )
        super().setUpClass()
        cls.enterClassContext(modify_settings(ALLOWED_HOSTS={"append": cls.host}))
        cls._server_process = cls._new_process()
        cls.addClassCleanup(cls._end_process)
        cls._server_process.start()
        cls._wait_until_ready()
        cls.live_server_url = f"http://{cls.host}:{cls._server_process.port.value}"
        cls.live_server_ws_url = websocket_url(cls.live_server_url)

    @classmethod
    def _new_process(cls) -> Any:
        wrapper = cls.static_wrapper if cls.serve_static else None
        get_application = partial(_in_child, ChildState.of_this_process(), wrapper)
        options = live_options()
        if not options:  # a class that knows none of them may have been put in place of ours
            return cls.ProtocolServerProcess(cls.host, get_application)
        return cls.ProtocolServerProcess(cls.host, get_application, kwargs=options)

    @classmethod
    def _wait_until_ready(cls) -> None:
        process = cls._server_process
        while not process.ready.wait(_LOOK_SECONDS):
            if not process.is_alive():
                raise RuntimeError(f"the live server did not start:\n{_last_words(process)}")

    @classmethod
    def _end_process(cls) -> None:
        process = cls._server_process
        if process.pid is not None:
            process.terminate()
            process.join()
            process.close()
        del cls._server_process  # which has descriptors, and the class stays


def _in_child(state: ChildState, wrapper: Wrapper | None) -> ASGIApplication:
    state.restore()
    return live_application(wrapper)


def _last_words(process: Any) -> str:
    try:
        return str(process.errors.get(timeout=_PATIENCE)[1])
    except Empty:
        return f"it ended with the exit code {process.exitcode}, and said nothing"
