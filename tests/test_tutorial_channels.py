"""The tutorial of Channels, followed with aserver where it says Daphne: a chat, by `runserver`."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from aserver import __version__
from tests.django.projects import Runserver
from tests.processes import DEADLINE, PYTHON

# What the reader of the tutorial writes: the pages, then the consumer of its third part.
FILES = {
    "mysite/urls.py": """\
from django.urls import include, path

urlpatterns = [path("chat/", include("chat.urls"))]
""",
    "mysite/asgi.py": """\
import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
pages = get_asgi_application()

from chat.routing import websocket_urlpatterns

sockets = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
application = ProtocolTypeRouter({"http": pages, "websocket": sockets})
""",
    "chat/urls.py": """\
from django.urls import path

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("<str:room_name>/", views.room, name="room"),
]
""",
    "chat/views.py": """\
from django.shortcuts import render


def index(request):
    return render(request, "chat/index.html")


def room(request, room_name):
    return render(request, "chat/room.html", {"room_name": room_name})
""",
    "chat/templates/chat/index.html": """\
{% load static %}
<link rel="stylesheet" href="{% static 'chat/style.css' %}">
<p>Which room would you like to enter?</p>
""",
    "chat/templates/chat/room.html": """\
<p id="log"></p>
{{ room_name|json_script:"room-name" }}
""",
    "chat/static/chat/style.css": "p { color: navy }\n",
    "chat/routing.py": """\
from django.urls import re_path

from . import consumers

websocket_urlpatterns = [
    re_path(r"ws/chat/(?P<room_name>\\w+)/$", consumers.ChatConsumer.as_asgi()),
]
""",
    "chat/consumers.py": """\
import json

from channels.generic.websocket import AsyncWebsocketConsumer


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.group = "chat_" + self.scope["url_route"]["kwargs"]["room_name"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data):
        message = json.loads(text_data)["message"]
        event = {"type": "chat.message", "message": message}
        await self.channel_layer.group_send(self.group, event)

    async def chat_message(self, event):
        await self.send(text_data=json.dumps({"message": event["message"]}))
""",
}
# One process needs no Redis for its layer.
SETTINGS = """
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""


def run(directory: Path, *command: str) -> str:
    """Type a command, which succeeds."""
    done = subprocess.run(
        [*PYTHON, *command], cwd=directory, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_project(directory: Path) -> Path:
    """Do what the three parts say, up to `runserver`."""
    run(directory, "-m", "django", "startproject", "mysite")
    project = directory / "mysite"
    run(project, "manage.py", "startapp", "chat")
    for file, text in FILES.items():
        path = project / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    settings = project / "mysite" / "settings.py"
    before = settings.read_text(encoding="utf-8")
    head, marker, tail = before.partition("INSTALLED_APPS = [\n")
    assert marker
    ours = "    'aserver.django',\n    'chat',\n"
    settings.write_text(head + marker + ours + tail + SETTINGS, encoding="utf-8")
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("tutorial"))


@pytest.fixture(scope="module")
def migrated(project: Path) -> str:
    return run(project, "manage.py", "migrate", "--no-color")


@pytest.fixture(scope="module")
def server(project: Path, migrated: str) -> Iterator[Runserver]:
    with Runserver(project, "0", "--noreload") as server:
        yield server
        server.interrupt()
        assert server.exit_code() == 0
    assert "Traceback" not in server.stderr


def join(server: Runserver, room: str, origin: str) -> ClientConnection:
    """Open a tab with this room."""
    uri = f"ws{server.url.removeprefix('http')}/ws/chat/{room}/"
    return connect(uri, origin=Origin(origin), proxy=None)


def say(tab: ClientConnection, text: str) -> None:
    tab.send(json.dumps({"message": text}))


def hear(tab: ClientConnection) -> str:
    return str(json.loads(tab.recv(DEADLINE))["message"])


def test_migrations_are_applied(migrated: str) -> None:
    assert "Applying sessions.0001_initial... OK" in migrated


def test_runserver_says_whose_it_is(server: Runserver) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    lines = server.stdout.splitlines()
    assert "System check identified no issues (0 silenced)." in lines
    starting = next(line for line in lines if line.startswith("Starting ASGI/"))
    assert starting == (
        f"Starting ASGI/aserver version {__version__} development server at {server.url}/"
    )
    assert lines[lines.index(starting) + 1] == "Quit the server with CONTROL-C."


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/chat/", "Which room would you like to enter?"),
        ("/chat/lobby/", '<script id="room-name" type="application/json">"lobby"</script>'),
        ("/static/chat/style.css", "p { color: navy }"),
    ],
)
def test_pages(server: Runserver, path: str, text: str) -> None:
    response = httpx.get(server.url + path, trust_env=False)
    assert response.status_code == 200
    assert text in response.text


def test_those_in_a_room_hear_each_other(server: Runserver) -> None:
    with (
        join(server, "lobby", server.url) as ada,
        join(server, "lobby", server.url) as grace,
        join(server, "kitchen", server.url) as other,
    ):
        say(grace, "hello")
        assert hear(ada) == hear(grace) == "hello"
        say(ada, "Ahoy, Grace!")
        assert hear(ada) == hear(grace) == "Ahoy, Grace!"
        say(other, "alone")
        assert hear(other) == "alone"  # and nothing of the others before it


def test_pages_of_other_sites_are_kept_out(server: Runserver) -> None:
    with pytest.raises(InvalidStatus) as refused:
        join(server, "lobby", "http://example.com").close()
    assert refused.value.response.status_code == 403


def test_it_writes_what_happens(server: Runserver) -> None:
    with join(server, "log", server.url) as tab:
        say(tab, "hello")
        assert hear(tab) == "hello"
    for event in ("HANDSHAKING", "CONNECT", "DISCONNECT"):
        server.wait_for(f"WebSocket {event} /ws/chat/log/ [127.0.0.1:")
