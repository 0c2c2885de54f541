"""`LiveServerTestCase`: Django's, with the server in a thread of the test's own process."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from asgiref.sync import SyncToAsync
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.db import connections
from django.test import LiveServerTestCase as ThreadTestCase

from ..testing import serve
from .live_application import (
    GRACE_SECONDS,
    Wrapper,
    live_application,
    live_options,
    websocket_url,
)

# For a thread to close its connections.
_PATIENCE = 5.0


class _ServerThread:
    """What Django's `LiveServerTestCase` takes for its thread; the thread is that of `serve`."""

    def __init__(
        self,
        host: str,
        static_handler: Wrapper | None,
        connections_override: Mapping[str, Any],
        port: int = 0,
    ) -> None:
        self.host = host
        self.port = port
        self.daemon = True
        self.is_ready = threading.Event()
        self.error: Exception | None = None
        self.connections_override = connections_override
        self._static_handler = static_handler
        self._exit = ExitStack()

    def start(self) -> None:
        """Serve; a failure is in `error`."""
        try:
            served = live_application(self._static_handler)
            self._exit.enter_context(_shared(self.connections_override))
            place = {"bind": (self.host,), "port": self.port}
            server = serve(served, **place, graceful_timeout=GRACE_SECONDS, **live_options())
            self.port = self._exit.enter_context(server).port
        except Exception as error:
            self._exit.close()
            self.error = error
        self.is_ready.set()

    def terminate(self) -> None:
        """Serve no longer."""
        self._exit.close()


@contextmanager
def _shared(override: Mapping[str, Any]) -> Iterator[None]:
    """Let every thread that asks for a connection have one of these, if it is there."""
    create = connections.create_connection

    def give(alias: str) -> object:
        return override[alias] if alias in override else create(alias)

    connections.create_connection = give
    try:
        yield
    finally:
        del connections.create_connection  # the attribute; the class has the method
        # The one thread that sync_to_async has for the whole process, and so for later tests.
        SyncToAsync.single_thread_executor.submit(_disconnect).result(_PATIENCE)


def _disconnect() -> None:
    """Let go of this thread's connections: nobody can drop a database with one to it."""
    for connection in connections.all(initialized_only=True):
        connection.close()  # one in memory stays: Django knows better
        del connections[connection.alias]


class LiveServerTestCase(ThreadTestCase):
    """Django's `LiveServerTestCase`, but the server is aserver, with the ASGI application.

    Its threads share the connection to an SQLite database in memory, and have their own to others.

    Attributes:
        static_handler: Put around the application to serve static files; None: nothing is.
    """

    static_handler = ASGIStaticFilesHandler
    server_thread_class = _ServerThread
    live_server_ws_url: str

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.live_server_ws_url = websocket_url(cls.live_server_url)
