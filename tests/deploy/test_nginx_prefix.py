"""A site below a prefix, which nginx keeps or strips: each URL that an application makes is right.

An application cannot see which of the two it is: so it is asked the same, and answers the same.
"""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.deploy.fronts import HOST
from tests.deploy.nginx import Nginx, serving, upstream
from tests.deploy.site import FILES
from tests.deploy.visitor import HTTP1, WEBSOCKET, Visitor
from tests.processes import DEADLINE

pytestmark = pytest.mark.services

APP = "tests.deploy.mounted:app"
KEPT, STRIPPED = RECIPES = ("prefix-kept.conf", "prefix-stripped.conf")
# Every site of the application.
SITES = {f"server_name {HOST};": f"server_name .{HOST};"}


@pytest.fixture(scope="module", params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def nginx(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    directory = tmp_path_factory.mktemp("nginx")
    static = directory / "static"
    static.mkdir()
    (static / "style.css").write_text("body {}")
    with (
        serving(recipe, APP, directory) as server,
        Nginx(recipe, directory, SITES, server=upstream(server), static=f"{static}/") as nginx,
    ):
        yield nginx
        assert not nginx.problems


def visitor(nginx: Nginx, framework: str) -> Visitor:
    return Visitor(nginx, host=f"{framework}.{HOST}")


# What an application sees


@pytest.mark.parametrize("kind", [HTTP1, WEBSOCKET])
def test_the_path_has_the_prefix_and_the_root_path_is_it(nginx: Nginx, kind: str) -> None:
    told = Visitor(nginx).see(kind, "/shop/ws/")
    assert (told["root_path"], told["path"]) == ("/shop", "/shop/ws/")


def test_what_was_received_tells_them_apart(nginx: Nginx, recipe: str) -> None:
    """Of a path that it shortens nginx decodes what was encoded: %2F is a slash to the server."""
    told = Visitor(nginx).see(HTTP1, "/shop/a%2Fb%20c")
    assert told["path"] == "/shop/a/b c"
    assert told["raw_path"] == ("/shop/a%2Fb%20c" if recipe == KEPT else "/a/b%20c")


def test_nothing_outside_of_the_prefix_is_served(nginx: Nginx) -> None:
    for path in ("/", "/shopping/", "/shop/../secret", "/shop/%2e%2e/secret"):
        assert Visitor(nginx).get(path).status_code == 404
    at_the_door = Visitor(nginx).get("/shop")
    assert at_the_door.status_code == 301
    assert httpx.URL(at_the_door.headers["location"]).path == "/shop/"


# Frameworks


def test_django(nginx: Nginx) -> None:
    site = visitor(nginx, "django")
    assert site.get("/shop/pages/a%20b/?c=d").json() == {
        "name": "a b",
        "path": "/shop/pages/a b/",
        "path_info": "/pages/a b/",
        "absolute": "http://django.example.com/shop/pages/a%20b/?c=d",
        "reverse": "/shop/pages/other/",
        "static": "/shop/static/style.css",
    }
    assert site.get("/shop/redirect/").headers["location"] == "/shop/pages/other/"
    # Django's own redirect, to the slash at the end.
    assert site.get("/shop/pages/a").headers["location"] == "/shop/pages/a/"
    assert site.get("/shop/static/style.css").text == "body {}"


def test_starlette(nginx: Nginx) -> None:
    site = visitor(nginx, "starlette")
    here = f"{site.origin}/shop/inner"
    assert site.get("/shop/inner/pages/tea/?c=d").json() == {
        "name": "tea",
        "absolute": f"{here}/pages/tea/?c=d",
        "reverse": f"{here}/pages/other/",
        "static": f"{here}/files/chat.png",
    }
    assert site.get("/shop/inner/redirect/").headers["location"] == f"{here}/pages/other/"
    assert site.get("/shop/inner/pages/a").headers["location"] == f"{here}/pages/a/"
    assert_is_served(site, "/shop/inner/files/chat.png")


def test_fastapi(nginx: Nginx) -> None:
    site = visitor(nginx, "fastapi")
    here = f"{site.origin}/shop"
    assert site.get("/shop/pages/tea/").json() == {
        "name": "tea",
        "absolute": f"{here}/pages/tea/",
        "reverse": f"{here}/pages/other/",
    }
    # Its own pages: where the browser finds the description, and what that says of the server.
    assert "'/shop/openapi.json'" in site.get("/shop/docs").text
    assert site.get("/shop/openapi.json").json()["servers"] == [{"url": "/shop"}]


def test_litestar(nginx: Nginx) -> None:
    site = visitor(nginx, "litestar")
    told = site.get("/shop/pages/name/?c=d").json()
    here = f"{site.origin}/shop"
    assert told == {
        "name": "name",
        "absolute": f"{here}/pages/name?c=d",
        "reverse": f"{here}/pages/other",
        "static": f"{here}/files/chat.png",
    }
    assert_is_served(site, "/shop/files/chat.png")


def assert_is_served(site: Visitor, path: str) -> None:
    assert site.get(path).content == (FILES / "chat.png").read_bytes()


@pytest.mark.parametrize(
    ("framework", "path"), [("django", "/shop/rooms/tea/"), ("starlette", "/shop/inner/rooms/tea/")]
)
def test_websockets(nginx: Nginx, framework: str, path: str) -> None:
    with visitor(nginx, framework).websocket(path) as connection:
        assert json.loads(connection.recv(DEADLINE)) == {"room": "tea"}
