"""Database connections of a live server's application, for as long as its tests last.

A thread cannot be cancelled: a view that is at work when the tests have ended goes on. By then a
new connection would lead to the database of the settings, the real one, so it is refused.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from asgiref.sync import SyncToAsync
from django.db import connections
from django.db.utils import InterfaceError

from ..logs import server_log
from ..types import ASGIApplication, Receive, Scope, Send
from .child_state import renew_executor

# For the thread to close its connections.
_PATIENCE = 5.0


class LiveConnections:
    """Those of one live server.

    Attributes:
        shared: Connections that all threads have in common, by alias: to databases in memory.
    """

    def __init__(self, shared: Mapping[str, Any]) -> None:
        self.shared = shared
        self._is_over = False

    def around(self, app: ASGIApplication) -> ASGIApplication:
        """The application, known by its context, which sync_to_async takes to other threads."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            _own.set(self)
            await app(scope, receive, send)

        return application

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let the application have connections until the block ends."""
        global _lent
        connections.create_connection = _create  # for good: who comes late asks it, too
        _lent = self
        try:
            yield
        finally:
            _lent = None
            self._is_over = True
            _clean_up()

    def get(self, alias: str) -> Any:
        """The connection for a thread that has none."""
        self._check(alias)
        return self.shared[alias] if alias in self.shared else self._new(alias)

    def _new(self, alias: str) -> Any:
        connection = _create_of_django(alias)
        connect = connection.connect

        def checked() -> None:
            self._check(alias)
            connect()

        connection.connect = checked  # it may be closed, and connect anew
        return connection

    def _check(self, alias: str) -> None:
        if self._is_over:
            raise InterfaceError(
                f"no connection to the database {alias!r}: the tests of the live server have "
                "ended, and what is meant may be the test database"
            )


_own: ContextVar[LiveConnections | None] = ContextVar("aserver.live_connections", default=None)
_lent: LiveConnections | None = None
_create_of_django: Callable[[str], Any] = connections.create_connection


def _create(alias: str) -> Any:
    own = _own.get()
    if own is not None:
        return own.get(alias)
    # A thread that the application has started by itself, or the test has.
    if _lent is not None and alias in _lent.shared:
        return _lent.get(alias)
    return _create_of_django(alias)


def _clean_up() -> None:
    """The one thread that sync_to_async has for the whole process is that of later tests, too."""
    closing = SyncToAsync.single_thread_executor.submit(_disconnect)
    try:
        closing.result(_PATIENCE)
    except TimeoutError:
        server_log.error(
            "A thread of the application is still at work %g seconds after the last test of its "
            "live server, and may hold a connection to the test database",
            _PATIENCE,
        )
        renew_executor()


def _disconnect() -> None:
    """Let go of this thread's connections: nobody can drop a database with one to it."""
    for connection in connections.all(initialized_only=True):
        connection.close()  # one in memory stays: Django knows better
        del connections[connection.alias]
