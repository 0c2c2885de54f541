"""Live servers in Django's tests: the project `tests.django.live` runs its own, in every way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import DEADLINE, ROOT
from tests.services import require_program

CASES = "tests.django.live.cases"
CONFTEST = """
import django, pytest
from django.test.utils import setup_databases, setup_test_environment, teardown_databases

@pytest.fixture(scope="session", autouse=True)
def database():
    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(databases, verbosity=0)

django.setup()
"""


def run(*arguments: str, database: Path | None = None, **environ: str) -> str:
    """Run a command of Python's in the project; returns what it said, and its exit code."""
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.django.live.settings", **environ}
    if database is not None:
        environ["LIVE_DATABASE"] = str(database)
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )
    return f"{done.stdout}\nexit code {done.returncode}"


def test_with_a_database_in_a_file(tmp_path: Path) -> None:
    output = run("-m", "django", "test", CASES, database=tmp_path / "test.sqlite3")
    assert "Ran 15 tests" in output, output
    assert output.endswith("exit code 0"), output
    assert "Exception" not in output


def test_with_a_database_in_memory() -> None:
    output = run("-m", "django", "test", f"{CASES}.Process", f"{CASES}.Thread")
    assert "Ran 5 tests" in output, output
    assert "FAILED (errors=1)" in output
    assert output.count("ImproperlyConfigured: the test database 'default' is in memory") == 1


def test_in_parallel(tmp_path: Path) -> None:
    names = (f"{CASES}.ChangedProcess", f"{CASES}.Process")
    options = ("--parallel", "2", *names)
    output = run("-m", "django", "test", *options, database=tmp_path / "test.sqlite3")
    assert "Cloning test database" in output, output
    assert "Ran 7 tests" in output, output
    assert output.endswith("exit code 0"), output


def test_with_spawned_processes(tmp_path: Path) -> None:
    names = (f"{CASES}.ChangedProcess", "tests.django.live.channels_cases")
    database = tmp_path / "test.sqlite3"
    output = run("-m", "django", "test", *names, database=database, LIVE_START_METHOD="spawn")
    assert "Ran 4 tests" in output, output
    assert output.endswith("exit code 0"), output


def test_by_pytest(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_live.py").write_text(f"from {CASES} import Process, Thread\n")
    options = ("-q", f"--rootdir={tmp_path}", str(tmp_path))
    database = tmp_path / "test.sqlite3"
    # No pytest-django, and no other plugin.
    output = run("-m", "pytest", *options, database=database, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "9 passed" in output, output


@pytest.mark.services
def test_with_a_browser(tmp_path: Path) -> None:
    output = run(
        *("-m", "django", "test", "tests.django.live.browser_cases"),
        database=tmp_path / "test.sqlite3",
        CHROMIUM=require_program("chromium"),
    )
    assert "Ran 1 test" in output, output
    assert output.endswith("exit code 0"), output


@pytest.mark.parametrize("case", ["Process", "Thread"])
def test_a_server_that_does_not_start_fails_the_tests(case: str, tmp_path: Path) -> None:
    output = run(
        *("-m", "django", "test", f"{CASES}.{case}"),
        database=tmp_path / "test.sqlite3",
        LIVE_APPLICATION="tests.django.live.nothing.application",
    )
    assert "Ran 0 tests" in output, output
    assert "FAILED (errors=1)" in output
    assert "tests.django.live.nothing" in output
