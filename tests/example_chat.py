"""The demo site, as its tests start it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import PYTHON, Process

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "chat"
APPLICATION = "chatsite.asgi:application"


def environment(database: Path, **changes: str) -> dict[str, str]:
    return os.environ | {
        "DATABASE": str(database),
        "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        "SECRET_KEY": "only for the tests",
        **changes,
    }


@contextmanager
def served(environ: dict[str, str]) -> Iterator[str]:
    """Serve the demo, give its address, and in the end see that all went quietly."""
    with Process(APPLICATION, "--app-dir", str(EXAMPLE), environ=environ) as server:
        yield server.url
        assert server.end() == 0, server.stderr
    assert "Traceback" not in server.stderr, server.stderr
    assert "Warning:" not in server.stderr, server.stderr


def migrate(path: Path) -> Path:
    """Make a database."""
    command = [*PYTHON, str(EXAMPLE / "manage.py"), "migrate", "--verbosity=0"]
    subprocess.run(command, env=environment(path), check=True, timeout=30)
    return path
