"""Live servers in Django's tests: the project `tests.django.live` runs its own, in every way."""

from pathlib import Path

import pytest

from aserver.django import testing
from tests.django.live_tests import run, run_tests
from tests.services import require_program

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


def test_public_names() -> None:
    names = {"ChannelsLiveServerTestCase", "LiveServerTestCase", "import_channels_testing"}
    assert set(testing.__all__) == names
    assert all(hasattr(testing, name) for name in names)


def test_with_a_database_in_a_file(tmp_path: Path) -> None:
    output = run_tests("cases", directory=tmp_path)
    assert "Ran 15 tests" in output, output
    assert output.endswith("exit code 0"), output
    assert "Exception" not in output


def test_with_a_database_in_memory() -> None:
    cases = "tests.django.live.cases"
    output = run("-m", "django", "test", f"{cases}.Process", f"{cases}.Thread")
    assert "Ran 5 tests" in output, output
    assert "FAILED (errors=1)" in output
    assert output.count("ImproperlyConfigured: the test database 'default' is in memory") == 1


def test_by_pytest(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_live.py").write_text("from tests.django.live.cases import Process, Thread\n")
    options = ("-q", f"--rootdir={tmp_path}", str(tmp_path))
    database = tmp_path / "test.sqlite3"
    # No pytest-django, and no other plugin.
    output = run("-m", "pytest", *options, database=database, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "9 passed" in output, output


@pytest.mark.services
def test_with_a_browser(tmp_path: Path) -> None:
    chromium = require_program("chromium")
    output = run_tests("browser_cases", directory=tmp_path, CHROMIUM=chromium)
    assert "Ran 1 test" in output, output
    assert output.endswith("exit code 0"), output
