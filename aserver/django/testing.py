"""Live servers for Django's tests: WebSockets and all, for Selenium, Playwright and the like.

`LiveServerTestCase` serves in a thread, and is used as Django's own; `ChannelsLiveServerTestCase`
serves in a process, and is used as that of `channels.testing`. Neither needs Channels or Daphne.
Both heed the setting ASERVER, but for addresses and certificates.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from queue import Empty
from types import ModuleType
from typing import Any

import django
from asgiref.sync import SyncToAsync
from django.apps import apps
from django.conf import global_settings, settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import LiveServerTestCase as ThreadTestCase
from django.test import TransactionTestCase, modify_settings, override_settings

from ..config import DECLARATIONS
from ..server_process import ServerProcess
from ..testing import serve
from ..types import ASGIApplication
from .conf import application, server_options

Wrapper = Callable[[ASGIApplication], ASGIApplication]

# How long the death of a process may stay unseen.
_LOOK_SECONDS = 0.2
# For what a dead process has said to arrive; for a thread to close its connections.
_PATIENCE = 5.0
# Of a database, what the test runner changes.
_OF_TESTS = ("NAME", "USER", "PASSWORD")
_ABSENT = object()


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
            served = _application(self._static_handler)
            self._exit.enter_context(_shared(self.connections_override))
            server = serve(served, bind=(self.host,), port=self.port, **_options())
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
        cls.live_server_ws_url = _websocket_url(cls.live_server_url)


class ChannelsLiveServerTestCase(TransactionTestCase):
    """A live server in a process of its own, as `channels.testing` has it.

    The test database must not be in memory: the process could not see it.

    Attributes:
        host: Where it listens; it is an allowed host.
        ProtocolServerProcess: The class of the process.
        static_wrapper: Put around the application to serve static files.
        serve_static: Whether to.
    """

    host = "localhost"
    ProtocolServerProcess: Any = ServerProcess
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
        cls.live_server_ws_url = _websocket_url(cls.live_server_url)

    @classmethod
    def _new_process(cls) -> Any:
        databases = {
            alias: {name: connections[alias].settings_dict[name] for name in _OF_TESTS}
            for alias in connections
        }
        wrapper = cls.static_wrapper if cls.serve_static else None
        get_application = partial(_application_in_child, _changed_settings(), databases, wrapper)
        options = _options()
        if not options:
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
        if cls._server_process.pid is not None:
            cls._server_process.terminate()
            cls._server_process.join()


def _websocket_url(url: str) -> str:
    return url.replace("http", "ws", 1)


def _last_words(process: Any) -> str:
    try:
        return str(process.errors.get(timeout=_PATIENCE)[1])
    except Empty:
        return f"it ended with the exit code {process.exitcode}, and said nothing"


def _options() -> dict[str, Any]:
    """What the settings ask for, without certificates: nobody knows them at `localhost`."""
    return {
        name: value
        for name, value in server_options().items()
        if DECLARATIONS[name].section != "tls"
    }


def _application(wrapper: Wrapper | None) -> ASGIApplication:
    # Projects without WebSockets may never have needed the setting.
    is_named = getattr(settings, "ASGI_APPLICATION", None)
    served = application() if is_named else get_asgi_application()
    return wrapper(served) if wrapper else served


def _changed_settings() -> dict[str, Any]:
    """What is not as the settings' module says: the test runner's doing, and the test's."""
    module = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    if module is None:
        return {}
    changed = {}
    for name in filter(str.isupper, dir(settings)):
        value = getattr(settings, name)
        if value != getattr(module, name, getattr(global_settings, name, _ABSENT)):
            changed[name] = value
    return changed


def _application_in_child(
    changed: dict[str, Any], databases: dict[str, dict[str, str]], wrapper: Wrapper | None
) -> ASGIApplication:
    """A forked process knows all of this; one that was spawned has only read the settings."""
    _renew_executor()
    if not apps.ready:
        django.setup()
    news = {
        name: value for name, value in changed.items() if getattr(settings, name, _ABSENT) != value
    }
    override_settings(**news).enable()
    for alias, own in databases.items():
        connections.settings[alias].update(own)
    return _application(wrapper)


def _renew_executor() -> None:
    """A fork has the executor of sync_to_async, which may believe in a thread that it has not."""
    SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


def import_channels_testing() -> None:
    """Import `channels.testing`, which imports Daphne, where Daphne is not installed.

    Call it before that is first imported: in `conftest.py`, or the `__init__.py` of the tests. The
    server of its `ChannelsLiveServerTestCase` is aserver then. Where Daphne is installed, nothing
    is changed.
    """
    if find_spec("daphne") is None:
        stand_in = ModuleType("daphne.testing")
        vars(stand_in)["DaphneProcess"] = _ChannelsProcess
        sys.modules.update({"daphne": ModuleType("daphne"), "daphne.testing": stand_in})
        try:
            import_module("channels.testing")
        finally:
            del sys.modules["daphne"], sys.modules["daphne.testing"]


class _ChannelsProcess(ServerProcess):
    """What it is given comes from `channels.testing`: a spawned child must import that, too."""

    def run(self) -> None:
        import_channels_testing()
        _renew_executor()
        super().run()
