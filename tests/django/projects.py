"""A small Django project in a directory, and its `manage.py runserver` as a process."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.processes import DEADLINE, ROOT

_MANAGE = """
import os
import sys
from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
execute_from_command_line(sys.argv)
"""
_SETTINGS = """
from pathlib import Path

ALLOWED_HOSTS = ["*"]
ASGI_APPLICATION = "mysite.asgi.application"
BASE_DIR = Path(__file__).resolve().parent.parent
DATABASES = {}
DEBUG = True
INSTALLED_APPS = ["aserver.django", "django.contrib.staticfiles"]
ROOT_URLCONF = "mysite.urls"
SECRET_KEY = "only for the tests"
STATICFILES_DIRS = [BASE_DIR / "assets"]
STATIC_URL = "static/"
USE_TZ = True
"""
_ASGI = """
import os
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django = get_asgi_application()


async def application(scope, receive, send):
    if scope["type"] != "websocket":
        return await django(scope, receive, send)
    await receive()
    if scope["path"] == "/no/":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
"""
_URLS = """
import asyncio
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

VERSION = "one"


async def numbers(request):
    async def stream():
        for number in range(10_000):
            yield f"data: {number}\\n\\n"
            await asyncio.sleep(0.02)

    return StreamingHttpResponse(stream(), content_type="text/event-stream")


def facts(request):
    return HttpResponse(f"{VERSION} {request.scheme} {type(request).__name__}")


def broken(request):
    raise ValueError("as meant")


urlpatterns = [path("", facts), path("numbers/", numbers), path("broken/", broken)]
"""
_LISTENING = re.compile(r"development server at (\S+)/")


def make_project(directory: Path, settings: str = "") -> Path:
    """Write it, with these lines behind its settings; returns the directory."""
    files = {
        "manage.py": _MANAGE,
        "mysite/__init__.py": "",
        "mysite/asgi.py": _ASGI,
        "mysite/settings.py": f"{_SETTINGS}\n{settings}\n",
        "mysite/urls.py": _URLS,
        "assets/style.css": "body { color: teal }\n",
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return directory


class Runserver:
    """`manage.py runserver`, in a session of its own, from its first line to its exit code.

    Leaving the block kills it and all that it has started.

    Args:
        project: The directory.
        options: Of the command; without an address, it listens on a free port.
        environ: Variables beside those of this process.
    """

    def __init__(
        self, project: Path, *options: str, environ: Mapping[str, str] | None = None
    ) -> None:
        if not options or options[0].startswith("-"):
            options = ("0", *options)
        variables = {name: each for name, each in os.environ.items() if name != "RUN_MAIN"}
        # Where this process ignores Ctrl-C, as in the background, it would, too.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "manage.py", "runserver", *options],
                cwd=project,
                env={**variables, "PYTHONPATH": str(ROOT), **(environ or {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        self._output: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    self._output[name].append(line)
                    self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)

    @property
    def urls(self) -> list[str]:
        """What it has said that it serves, once for each start."""
        return _LISTENING.findall(self.stdout)

    @property
    def url(self) -> str:
        """The last of them; waits for the first."""
        self.wait_until(lambda: bool(self.urls) or self._process.poll() is not None)
        assert self.urls, self.stdout + self.stderr
        return self.urls[-1]

    @property
    def stdout(self) -> str:
        """What it has written to standard output so far."""
        return "".join(self._output["stdout"])

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return "".join(self._output["stderr"])

    def wait_for(self, text: str) -> None:
        """Wait until it has written this, wherever."""
        self.wait_until(lambda: text in self.stdout + self.stderr)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so, whatever it writes meanwhile."""
        with self._changed:
            until = time.monotonic() + DEADLINE
            while not condition():
                assert time.monotonic() < until, self.stdout + self.stderr
                self._changed.wait(0.1)  # its end wakes nobody

    def interrupt(self) -> None:
        """Press Ctrl-C: everything in the terminal hears of it."""
        os.killpg(self._process.pid, signal.SIGINT)

    def exit_code(self) -> int:
        """Wait until it has ended, and all its output is there."""
        code = self._process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code
