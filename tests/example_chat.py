"""The demo site, as its tests start it."""

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "chat"
PYTHON = [sys.executable, "-W", "error"]
APPLICATION = "chatsite.asgi:application"
LISTENING = re.compile(r"listening on (http://\S+)", re.IGNORECASE)


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
    command = [*PYTHON, "-m", "aserver", "--app-dir", str(EXAMPLE), "-b", "127.0.0.1:0"]
    server = subprocess.Popen(
        [*command, APPLICATION],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    found: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read_log() -> None:
        assert server.stderr is not None
        with server.stderr:
            for line in server.stderr:
                lines.append(line)
                if match := LISTENING.search(line):
                    found.put(match[1])
        found.put("")  # it ended without a word

    reader = threading.Thread(target=read_log)
    reader.start()
    try:
        url = found.get(timeout=30)
        assert url, "".join(lines)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(timeout=15)
        finally:
            server.kill()
            reader.join()
    log = "".join(lines)
    assert server.returncode == 0, log
    assert "Traceback" not in log, log
    assert "Warning:" not in log, log


def migrate(path: Path) -> Path:
    """Make a database."""
    command = [*PYTHON, str(EXAMPLE / "manage.py"), "migrate", "--verbosity=0"]
    subprocess.run(command, env=environment(path), check=True, timeout=30)
    return path
