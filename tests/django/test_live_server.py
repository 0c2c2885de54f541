"""A live server in a thread."""

from pathlib import Path

import pytest
from django.db.utils import ConnectionHandler

from aserver.django import live_server
from tests.django.live_tests import run_tests, seconds_to_end


def test_a_server_that_does_not_start_fails_the_tests(tmp_path: Path) -> None:
    nothing = "tests.django.live.nothing.application"
    output = run_tests("cases.Thread", directory=tmp_path, LIVE_APPLICATION=nothing)
    assert "Ran 0 tests" in output, output
    assert "FAILED (errors=1)" in output
    assert "tests.django.live.nothing" in output


def test_nobody_waits_for_what_the_tests_leave_behind(tmp_path: Path) -> None:
    output = run_tests("leaving_cases", directory=tmp_path)
    assert output.endswith("exit code 0"), output
    assert seconds_to_end(output) < 2
    assert "Traceback" not in output


def test_a_thread_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next test's may be another one; and nobody can drop a database with one to it."""
    engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    connections = ConnectionHandler({"default": engine, "other": engine})
    monkeypatch.setattr(live_server, "connections", connections)
    before = connections["other"]
    before.close = lambda: closed.append(before.alias)
    closed: list[str] = []
    live_server._disconnect()
    assert connections.all(initialized_only=True) == []
    assert closed == ["other"]
    assert connections["other"] is not before
