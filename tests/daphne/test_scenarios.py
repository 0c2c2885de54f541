"""What people do with Daphne and a project of Django and Channels, with the name changed.

The project has `ProtocolTypeRouter`, `AuthMiddlewareStack`, `URLRouter` and consumers. Commands are
typed in the directory of its `manage.py`. What needs a proxy, a supervisor or a browser in front is
in tests/deploy and in the tests of the demo site.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect, unix_connect

from tests.daphne.commands import SCRIPT
from tests.processes import DEADLINE, Aserver, Program, wait_until
from tests.test_cli import started

Visit = Callable[[str], "Future[httpx.Response]"]
_CHAT = "/ws/chat/"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of `manage.py`; nothing else says where the project is."""
    directory = tmp_path_factory.mktemp("project") / "site"
    shutil.copytree(Path(__file__).with_name("project"), directory)
    return directory


def environment(**variables: str) -> dict[str, str | None]:
    """Nothing in it helps, but these variables."""
    return {"DJANGO_SETTINGS_MODULE": None, "PYTHONPATH": None, **variables}


def typed(
    project: Path, *options: str, app: str, **variables: str
) -> AbstractContextManager[Aserver]:
    """`aserver OPTIONS APP`, typed there."""
    environ = environment(**variables)
    return started(*options, app=app, command=[SCRIPT], cwd=project, environ=environ)


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[Aserver]:
    with typed(project, "-p", "0", app="mysite.asgi:application") as server:
        yield server
        assert server.end() == 0
    assert "Traceback" not in server.stderr
    assert "Warning" not in server.stderr


@pytest.fixture
def client(server: Aserver) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.urls[0], timeout=DEADLINE, trust_env=False) as client:
        yield client


@pytest.fixture
def visit(client: httpx.Client) -> Iterator[Visit]:
    """Ask for a page, and do not wait for it."""
    with ThreadPoolExecutor() as executor:
        yield lambda path: executor.submit(client.get, path)


def open_chat(server: Aserver, **headers: str) -> ClientConnection:
    url = server.urls[0].replace("http:", "ws:")
    return connect(f"{url}{_CHAT}", additional_headers=headers, proxy=None)


def heard(chat: ClientConnection) -> Any:
    return json.loads(chat.recv(DEADLINE))


def test_all_protocols_on_one_port(server: Aserver, client: httpx.Client) -> None:
    assert client.get("/").json()["version"] == "1.1"
    with httpx.Client(http1=False, http2=True, trust_env=False) as modern:
        facts = modern.get(server.urls[0], timeout=DEADLINE).json()
    assert facts["version"] == "2"
    with open_chat(server) as chat:
        assert heard(chat) == {"you": None, "user": "AnonymousUser"}


def test_chat(server: Aserver) -> None:
    with open_chat(server) as one, open_chat(server) as other:
        heard(one), heard(other)
        one.send(json.dumps("hello"))
        assert [heard(one), heard(one)] == [{"echo": "hello"}, {"all": "hello"}]
        assert heard(other) == {"all": "hello"}


def test_cookies_of_pages_are_those_of_websockets(server: Aserver, client: httpx.Client) -> None:
    cookies = client.get("/?name=Ada").headers["set-cookie"].partition(";")[0]
    with open_chat(server, Cookie=cookies) as chat:
        assert heard(chat)["you"] == "Ada"


def test_long_polling(client: httpx.Client, visit: Visit) -> None:
    waiting = [visit("/poll/") for _ in range(4)]
    wait_until(lambda: client.get("/waiting/").json()["poll"] == 4)
    assert not any(each.done() for each in waiting)
    assert client.get("/publish/").text == "published"
    assert {each.result(DEADLINE).text for each in waiting} == {"news"}


def test_sync_views_run_in_threads_and_hold_nobody_up(client: httpx.Client, visit: Visit) -> None:
    assert client.get("/").json()["thread"] is True
    waiting = [visit("/held/") for _ in range(2)]
    wait_until(lambda: client.get("/waiting/").json()["held"] == 2)
    assert client.get("/let-go/").text == "done"
    assert {each.result(DEADLINE).text for each in waiting} == {"went"}


def test_django_alone_in_middleware(project: Path) -> None:
    options = ("-u", "plain.sock", "-b", "127.0.0.1", "-p", "0")
    variables = {"DJANGO_SETTINGS_MODULE": "mysite.settings"}
    with typed(project, *options, app="mysite.plain:application", **variables) as server:
        transport = httpx.HTTPTransport(uds=str(project / "plain.sock"))
        with httpx.Client(transport=transport, timeout=DEADLINE) as client:
            answer = client.get("http://test/")
        assert answer.json()["channels"] is False
        assert answer.headers["x-stamp"] == "here"
        assert server.end() == 0
    assert "Traceback" not in server.stderr


def test_gunicorn(project: Path) -> None:
    """`gunicorn -k aserver.gunicorn.Worker -w 4 mysite.asgi:application`."""
    options = ["-k", "aserver.gunicorn.Worker", "-w", "4", "mysite.asgi:application"]
    # Where it listens and writes; a control socket would be in the home directory, one for all.
    ours = ["-b", "unix:gunicorn.sock", "--no-control-socket", "--log-file", "gunicorn.log"]
    path = project / "gunicorn.sock"
    command = [sys.executable, "-m", "gunicorn", *ours, *options]
    with Program(command, cwd=project, environ=environment()) as gunicorn:
        log = project / "gunicorn.log"
        gunicorn.wait_until(lambda: log.exists() and log.read_text().count("Booting worker") == 4)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://test/", timeout=DEADLINE).json()["version"] == "1.1"
        with unix_connect(str(path), uri=f"ws://test{_CHAT}") as chat:
            assert heard(chat)["user"] == "AnonymousUser"
        assert gunicorn.end() == 0
    assert "Traceback" not in log.read_text(), log.read_text()
