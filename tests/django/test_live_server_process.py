"""A live server in a process."""

from pathlib import Path

import pytest

from aserver.django.live_server_process import ChannelsLiveServerTestCase, LiveServerProcess
from aserver.server_process import ServerProcess
from aserver.types import ASGIApplication
from tests.django.live_tests import run, run_tests


def get_application() -> ASGIApplication:
    raise NotImplementedError  # nobody starts the process


def test_it_waits_as_long_as_it_is_told_to() -> None:
    assert LiveServerProcess("localhost", get_application).kwargs == {"graceful_timeout": 0.1}
    given = {"graceful_timeout": 5, "server_name": "live"}
    assert LiveServerProcess("localhost", get_application, given).kwargs == given


def test_in_parallel(tmp_path: Path) -> None:
    cases = "tests.django.live.cases"
    names = (f"{cases}.ChangedProcess", f"{cases}.Process")
    options = ("--parallel", "2", *names)
    output = run("-m", "django", "test", *options, database=tmp_path / "test.sqlite3")
    assert "Cloning test database" in output, output
    assert "Ran 7 tests" in output, output
    assert output.endswith("exit code 0"), output


def test_a_server_that_does_not_start_fails_the_tests(tmp_path: Path) -> None:
    nothing = "tests.django.live.nothing.application"
    output = run_tests("cases.Process", directory=tmp_path, LIVE_APPLICATION=nothing)
    assert "Ran 0 tests" in output, output
    assert "FAILED (errors=1)" in output
    assert "tests.django.live.nothing" in output


def test_a_class_keeps_nothing_of_its_process() -> None:
    """There may be hundreds of classes in a run, and a process has descriptors."""
    process = ServerProcess("localhost", get_application)
    process.start()

    class Case(ChannelsLiveServerTestCase):
        _server_process = process

    Case._end_process()
    assert not hasattr(Case, "_server_process")
    with pytest.raises(ValueError, match="process object is closed"):
        process.is_alive()
