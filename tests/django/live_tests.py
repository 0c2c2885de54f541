"""`manage.py test` of the project `tests.django.live`, in a process."""

import re
from pathlib import Path

from tests.processes import run_python


def run(*arguments: str, database: Path | None = None, **environ: str) -> str:
    """Run a command of Python's in the project; returns what it said, and its exit code."""
    environ = {"DJANGO_SETTINGS_MODULE": "tests.django.live.settings", **environ}
    if database is not None:
        environ["LIVE_DATABASE"] = str(database)
    code, output = run_python("-W", "error", *arguments, environ=environ)
    return f"{output}\nexit code {code}"


def run_tests(*names: str, directory: Path, **environ: str) -> str:
    """Run the tests of these modules or classes; their database is in this directory."""
    names = tuple(f"tests.django.live.{name}" for name in names)
    database = directory / "test.sqlite3"
    return run("-m", "django", "test", *names, database=database, **environ)


def seconds_to_end(output: str) -> float:
    """How long the end of the class in `leaving_cases` has taken."""
    found = re.search(r"ended in ([\d.]+) s", output)
    assert found, output
    return float(found[1])
