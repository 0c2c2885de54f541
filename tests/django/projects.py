"""A small Django project in a directory, and its `manage.py runserver` as a process."""

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from signal import SIGINT, SIGKILL, Signals

from tests.processes import PYTHON, ROOT, Program

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


class Runserver(Program):
    """`manage.py runserver`, in a session of its own, from its first line to its exit code.

    It and all that it has started hear of every signal, as of Ctrl-C in a terminal. Leaving the
    block kills them.

    Args:
        project: The directory.
        options: Of the command; without an address, it listens on a free port.
        environ: Variables beside those of this process.
    """

    farewell = SIGKILL

    def __init__(
        self, project: Path, *options: str, environ: Mapping[str, str] | None = None
    ) -> None:
        if not options or options[0].startswith("-"):
            options = ("0", *options)
        # Where this process ignores Ctrl-C, as in the background, it would, too.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            super().__init__(
                [*PYTHON, "manage.py", "runserver", *options],
                cwd=project,
                environ={"RUN_MAIN": None, "PYTHONPATH": str(ROOT), **(environ or {})},
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)

    @property
    def urls(self) -> list[str]:
        """What it has said that it serves, once for each start."""
        return _LISTENING.findall(self.stdout)

    @property
    def url(self) -> str:
        """The last of them; waits for the first."""
        self.wait_until(lambda: bool(self.urls))
        return self.urls[-1]

    def signal(self, number: Signals) -> None:
        """Send it to all of them."""
        if not self.has_ended:
            os.killpg(self.pid, number)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.signal(SIGINT)
