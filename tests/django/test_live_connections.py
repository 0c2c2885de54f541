"""Connections of a live server's application: shared, refused, let go."""

import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.db.utils import ConnectionHandler, InterfaceError

from aserver.django import live_connections
from aserver.django.live_connections import LiveConnections
from aserver.types import Receive, Scope, Send

ENGINE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> ConnectionHandler:
    """Of two databases, and those of no other test."""
    handler = ConnectionHandler({"default": ENGINE, "other": ENGINE})
    monkeypatch.setattr(live_connections, "connections", handler)
    monkeypatch.setattr(live_connections, "_create_before", None)
    return handler


@pytest.fixture(autouse=True)
def executor() -> Iterator[None]:
    """The executor is the process's."""
    before = SyncToAsync.single_thread_executor
    yield
    SyncToAsync.single_thread_executor = before


def in_application(own: LiveConnections, get: Any) -> Any:
    """What a function returns in a thread of its own, called by the application."""
    found: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        context = copy_context()  # as sync_to_async does
        thread = threading.Thread(target=context.run, args=(lambda: found.append(get()),))
        thread.start()
        thread.join()

    def call() -> None:
        coroutine: Any = own.around(app)({}, None, None)  # type: ignore[arg-type]
        with pytest.raises(StopIteration):
            coroutine.send(None)

    copy_context().run(call)
    [result] = found
    return result


def test_connections_are_shared_or_new_while_they_are_lent(connections: ConnectionHandler) -> None:
    shared = connections["default"]
    own = LiveConnections({"default": shared})
    with own.lent():
        assert in_application(own, lambda: connections["default"]) is shared
        other = in_application(own, lambda: connections["other"])
        assert other is not connections["other"]
        assert other.alias == "other"
        other.inc_thread_sharing()
        other.connect()
        other.connection.close()


def test_a_thread_without_context_has_what_is_shared(connections: ConnectionHandler) -> None:
    """One that a view has started by itself."""
    shared = connections["default"]
    found: list[Any] = []

    def look() -> None:
        found.extend((connections["default"], connections["other"]))

    with LiveConnections({"default": shared}).lent():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found[0] is shared
    assert found[1].alias == "other"


@pytest.mark.parametrize("alias", ["default", "other"])
def test_who_comes_late_gets_none(connections: ConnectionHandler, alias: str) -> None:
    own = LiveConnections({"default": connections["default"]})

    def get() -> Any:
        with pytest.raises(InterfaceError, match=f"no connection to the database '{alias}'") as no:
            return connections[alias]
        return no.value

    with own.lent():
        pass
    assert isinstance(in_application(own, get), InterfaceError)
    assert connections[alias].alias == alias, "the tests have theirs"


def test_nor_does_who_connects_again(connections: ConnectionHandler) -> None:
    own = LiveConnections({})
    with own.lent():
        other = in_application(own, lambda: connections["other"])
        other.inc_thread_sharing()

    def connect() -> Any:
        with pytest.raises(InterfaceError, match="no connection to the database 'other'") as no:
            other.connect()
        return no.value

    assert isinstance(in_application(own, connect), InterfaceError)


def test_a_connection_of_a_thread_that_stays_is_good_for_the_next_tests(
    connections: ConnectionHandler,
) -> None:
    first, second = LiveConnections({}), LiveConnections({})
    with first.lent():
        other = in_application(first, lambda: connections["other"])
        other.inc_thread_sharing()

    def connect() -> bool:
        other.connection = None
        other.connect()
        other.connection.close()
        return True

    with second.lent():
        assert in_application(second, connect)
    assert connect(), "and for those without a live server"


def test_what_others_put_in_its_place_is_asked(connections: ConnectionHandler) -> None:
    """Before it, or later and around it."""
    asked: list[str] = []

    def put(name: str) -> None:
        create = connections.create_connection

        def noted(alias: str) -> Any:
            asked.append(f"{name} {alias}")
            return create(alias)

        connections.create_connection = noted

    put("early")
    with LiveConnections({}).lent():
        pass
    put("late")
    own = LiveConnections({})
    with own.lent():
        in_application(own, lambda: connections["other"])
    assert asked == ["late other", "early other"]


def test_one_live_server_within_another(connections: ConnectionHandler) -> None:
    shared = connections["default"]
    found: list[Any] = []
    with LiveConnections({"default": shared}).lent():
        with LiveConnections({}).lent():
            pass
        thread = threading.Thread(target=lambda: found.append(connections["default"]))
        thread.start()
        thread.join()
    assert found == [shared]


def test_the_next_tests_have_theirs(connections: ConnectionHandler) -> None:
    with LiveConnections({}).lent():
        pass
    own = LiveConnections({})
    with own.lent():
        assert in_application(own, lambda: connections["other"]).alias == "other"


def test_a_thread_that_is_at_work_is_told_of_and_not_waited_for(
    connections: ConnectionHandler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The tests that follow have another one."""
    monkeypatch.setattr(live_connections, "_PATIENCE", 0.05)
    may_go_on = threading.Event()
    stuck = SyncToAsync.single_thread_executor.submit(may_go_on.wait)
    with LiveConnections({}).lent():
        pass
    [message] = caplog.messages
    assert message.startswith("A thread of the application is still at work 0.05 seconds after")
    assert SyncToAsync.single_thread_executor.submit(int).result(10) == 0
    may_go_on.set()
    assert stuck.result(10)


def test_a_thread_keeps_no_connection(connections: ConnectionHandler) -> None:
    """The next test's may be another one; and nobody can drop a database with one to it."""
    before = connections["other"]
    before.close = lambda: closed.append(before.alias)
    closed: list[str] = []
    live_connections._disconnect()
    assert connections.all(initialized_only=True) == []
    assert closed == ["other"]
    assert connections["other"] is not before
