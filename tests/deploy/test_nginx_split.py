"""The recipe split.conf with the demo site: a WSGI server has its pages, aserver its WebSockets."""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.deploy.fronts import HOST
from tests.deploy.nginx import Nginx, serving, upstream
from tests.deploy.programs import command_in
from tests.deploy.visitor import ADDRESS, Visitor
from tests.example_chat import APPLICATION, EXAMPLE, environment, migrate
from tests.processes import DEADLINE, Process, Program

pytestmark = pytest.mark.services

ROOM = "/ws/chat/tea/"
WSGI = "django.core.wsgi:get_wsgi_application"
Pages = Callable[[Path, dict[str, str]], AbstractContextManager[None]]
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    database = migrate(tmp_path_factory.mktemp("chat") / "db.sqlite3")
    return environment(database, DEBUG="off", ALLOWED_HOSTS=HOST)


def told(program: str, path: Path) -> list[str]:
    """The recipe's options for the WSGI server."""
    options = command_in("nginx/split.conf", {}, program)
    return [each.replace("/run/mysite/pages.sock", str(path)) for each in options]


@contextmanager
def gunicorn(path: Path, environ: dict[str, str]) -> Iterator[None]:
    """gunicorn with the demo's pages, by the recipe's command."""
    command = [
        *(sys.executable, "-m", "gunicorn"),
        *told("gunicorn", path),
        *("--pythonpath", str(EXAMPLE), f"{WSGI}()"),
    ]
    with Program(command, cwd=path.parent, environ=environ) as process:
        process.wait_until(path.is_socket)
        yield
    assert "Traceback" not in process.output, process.output


@contextmanager
def second_aserver(path: Path, environ: dict[str, str]) -> Iterator[None]:
    """The same with the other command."""
    options = (*told("aserver --interface", path), "--factory", "--app-dir", str(EXAMPLE))
    with Process(WSGI, *options, environ=environ) as server:
        assert server.url == f"unix:{path}"
        yield


@contextmanager
def split(
    pages: Pages, directory: Path, environ: dict[str, str]
) -> Iterator[tuple[httpx.Client, Visitor, Process]]:
    """The whole set-up, and a browser in front of it."""
    path = directory / "pages.sock"
    with (
        pages(path, environ),
        serving(
            "split.conf", APPLICATION, directory, "--app-dir", str(EXAMPLE), environ=environ
        ) as server,
        Nginx(
            "split.conf",
            directory / "nginx",
            server=upstream(server),
            pages=f"unix:{path}",
            static=f"{EXAMPLE}/chatsite/static/",
        ) as nginx,
        Visitor(nginx).client() as browser,
    ):
        browser.follow_redirects = True
        yield browser, Visitor(nginx), server
        assert not nginx.problems


@pytest.mark.parametrize("pages", [gunicorn, second_aserver])
def test_a_name_given_on_a_page_is_known_to_the_websocket(
    pages: Pages, tmp_path: Path, environ: dict[str, str]
) -> None:
    with split(pages, tmp_path, environ) as (browser, visitor, server):
        token = _TOKEN.findall(browser.get("/chat/").text)[0]
        form = {"csrfmiddlewaretoken": token, "name": "Ada", "next": "/chat/tea/"}
        headers = {"Origin": visitor.origin}  # Django compares it with scheme and host
        page = browser.post("/name/", data=form, headers=headers)
        assert page.status_code == 200, page.text
        assert f'data-socket="{ROOM}"' in page.text
        assert browser.get("/static/chatsite/style.css").headers["content-type"] == "text/css"

        cookies = "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)
        with visitor.websocket(ROOM, [("Cookie", cookies)]) as connection:
            welcome = json.loads(connection.recv(DEADLINE))
            assert (welcome["type"], welcome["you"]["name"]) == ("welcome", "Ada")
        with visitor.websocket(ROOM) as connection, pytest.raises(ConnectionClosed, match="4401"):
            connection.recv(DEADLINE)
        elsewhere = Visitor(visitor.front)
        elsewhere.origin = "http://evil.example"
        with pytest.raises(InvalidStatus, match="403"), elsewhere.websocket(ROOM):
            pass

        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        # It has had the WebSockets, and nothing else.
        lines = server.stdout.splitlines()
        assert len(lines) >= 3
        assert all(line.startswith(f"{ADDRESS}:") and ROOM in line for line in lines), lines
