"""`LiveServerTestCase`: Django's, with the server in a thread of the test's own process."""

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.test import LiveServerTestCase as ThreadTestCase

from ..testing import serve
from .child_state import renew_executor
from .live_application import (
    GRACE_SECONDS,
    Wrapper,
    live_application,
    live_options,
    websocket_url,
)
from .live_connections import LiveConnections

# The workers of `manage.py test --parallel` are forks.
os.register_at_fork(after_in_child=renew_executor)


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
            own = LiveConnections(self.connections_override)
            served = own.around(live_application(self._static_handler))
            self._exit.enter_context(own.lent())
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
