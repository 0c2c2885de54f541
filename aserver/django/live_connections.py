"""Database connections of a live server's application, for as long as its tests last.

A thread cannot be cancelled: a view that is at work when the tests have ended goes on. By then a
new connection would lead to the database of the settings, the real one, so it is refused to whoever
has the context of the application: all that `sync_to_async` and `asyncio.to_thread` have started,
but not `run_in_executor`, or a thread of a view's own.
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
        is_over: Whether its tests have ended.
    """

    def __init__(self, shared: Mapping[str, Any]) -> None:
        self.shared = shared
        self.is_over = False

    def around(self, app: ASGIApplication) -> ASGIApplication:
        """The application, known by its context, which sync_to_async takes to other threads."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            _own.set(self)
            await app(scope, receive, send)

        return application

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let the application have connections until the block ends.

        What gives them stays in Django's place when that is over: who comes late asks it, too.
        """
        global _create_before, _lent
        if _create_before is None:
            _create_before = connections.create_connection
            connections.create_connection = _create
        before, _lent = _lent, self
        try:
            yield
        finally:
            _lent = before
            self.is_over = True
            _clean_up()


_own: ContextVar[LiveConnections | None] = ContextVar("aserver.live_connections", default=None)
_lent: LiveConnections | None = None
_create_before: Callable[[str], Any] | None = None


def _create(alias: str) -> Any:
    """The connection for a thread that has none."""
    _check(alias)
    own = _own.get() or _lent  # the latter for threads without the application's context
    if own is not None and alias in own.shared:
        return own.shared[alias]
    assert _create_before is not None
    connection = _create_before(alias)
    connect = connection.connect

    def checked() -> None:
        _check(alias)
        connect()

    connection.connect = checked  # it may be closed, and connect anew
    return connection


def _check(alias: str) -> None:
    own = _own.get()
    if own is not None and own.is_over:
        raise InterfaceError(
            f"no connection to the database {alias!r}: the tests of the live server have ended, "
            "and what is meant may be the test database"
        )


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
