"""What the recipes of docs/deploy/caddy promise, seen by clients in front of a real Caddy."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.certificates import Authority
from tests.deploy.caddy import Caddy
from tests.deploy.fronts import HOST
from tests.deploy.load import ask_at_gaps
from tests.deploy.programs import command_in
from tests.deploy.site import EVENTS
from tests.deploy.test_nginx_forged import FORGED
from tests.deploy.visitor import ADDRESS, HTTP1, HTTP2, WEBSOCKET, Visitor
from tests.processes import Process, wait_until

APP = "tests.deploy.site:app"
RECIPES = ("Caddyfile", "http2.Caddyfile")
KINDS = [(False, HTTP1), (False, WEBSOCKET), (True, HTTP1), (True, HTTP2), (True, WEBSOCKET)]


class Site(NamedTuple):
    """A recipe, served by Caddy, and the server behind it."""

    name: str
    caddy: Caddy
    server: Process

    def visitor(self, authority: Authority, *, secure: bool = True) -> Visitor:
        """Somebody in front of it."""
        return Visitor(self.caddy, authority if secure else None)


def places_of(server: Process, static: Path) -> dict[str, dict[str, str]]:
    """What stands in each recipe, and what is true here."""
    url = server.url
    return {
        "Caddyfile": {
            "unix//run/mysite/aserver.sock": f"unix/{url.removeprefix('unix:')}",
            "/srv/mysite/static": str(static),
        },
        "http2.Caddyfile": {"127.0.0.1:8000": url.removeprefix("http://")},
    }


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Process]]:
    """The servers of the recipes, each by the command in its head."""
    path = str(tmp_path_factory.mktemp("caddy") / "aserver.sock")
    places = {"127.0.0.1:8000": "127.0.0.1:0", "/run/mysite/aserver.sock": path}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Process(APP, *command_in(f"caddy/{name}", places)))
            for name in RECIPES
        }


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("static")
    (directory / "style.css").write_text("body {}")
    return directory


@pytest.fixture(scope="module", params=RECIPES)
def site(
    request: pytest.FixtureRequest,
    servers: dict[str, Process],
    static: Path,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    name = str(request.param)
    server = servers[name]
    directory = tmp_path_factory.mktemp("caddy")
    with Caddy(name, directory, authority, places_of(server, static)[name]) as front:
        yield Site(name, front, server)


def told(visitor: Visitor, kind: str, fields: Any = ()) -> dict[str, Any]:
    """What the application sees, but for what is new in each handshake and connection."""
    seen = visitor.see(kind, "/ws/", fields)
    seen["headers"] = sorted(each for each in seen["headers"] if each[0] != "sec-websocket-key")
    return seen


@pytest.mark.parametrize(("secure", "kind"), KINDS)
def test_the_client_is_who_it_is_and_who_forges_is_nobody_else(
    site: Site, authority: Authority, secure: bool, kind: str
) -> None:
    visitor = site.visitor(authority, secure=secure)
    honest = told(visitor, kind)
    scheme = visitor.scheme.replace("http", "ws") if kind == WEBSOCKET else visitor.scheme
    assert (honest["client"], honest["scheme"]) == ([ADDRESS, 0], scheme)
    assert honest["headers"].count(["host", HOST]) == 1
    is_http2 = site.name.startswith("http2") and kind != WEBSOCKET
    assert honest["http_version"] == ("2" if is_http2 else "1.1")
    for title, fields in FORGED.items():
        assert told(visitor, kind, fields) == honest, title


@pytest.mark.parametrize("kind", [HTTP1, HTTP2])
def test_each_event_arrives_before_the_next_is_made(
    site: Site, authority: Authority, kind: str
) -> None:
    visitor = site.visitor(authority)
    extensions = {"sni_hostname": HOST}
    with (
        visitor.client(http2=kind == HTTP2) as client,
        client.stream("GET", "/stream/", extensions=extensions) as response,
    ):
        pieces = response.iter_raw()
        for number in range(EVENTS):
            assert next(pieces) == b"data: %d\n\n" % number
            assert visitor.get("/next").status_code == 200
        assert list(pieces) == []


def test_the_server_hears_that_a_reader_has_left(site: Site, authority: Authority) -> None:
    path = f"/left-{site.name}/stream/"
    with (
        site.visitor(authority).client() as client,
        client.stream("GET", path, extensions={"sni_hostname": HOST}) as response,
    ):
        assert next(response.iter_raw()) == b"data: 0\n\n"
        assert path not in site.server.stdout
    wait_until(lambda: path in site.server.stdout)  # in the access log


def test_a_websocket_is_an_echo(site: Site, authority: Authority) -> None:
    with site.visitor(authority).websocket("/ws/") as connection:
        connection.recv()
        for message in ("hello", "x" * (1 << 20)):
            connection.send(message)
            assert connection.recv() == message


def test_static_files_are_caddys(site: Site, authority: Authority) -> None:
    answer = site.visitor(authority).get("/static/style.css")
    assert (answer.text == "body {}") == (site.name == "Caddyfile")


def test_no_request_is_lost_around_the_end_of_idle_connections(
    servers: dict[str, Process], static: Path, authority: Authority, tmp_path: Path
) -> None:
    """Caddy closes them, as in the recipe after 60 seconds; after 50 milliseconds here."""
    places = places_of(servers["Caddyfile"], static)["Caddyfile"]
    # Over TCP, and without knowing the client: the application tells Caddy's connections apart.
    tcp = {"unix//run/mysite/aserver.sock {": "{address} {{\n\t\theader_up -X-Forwarded-For"}
    del places["unix//run/mysite/aserver.sock"]
    changes = {
        each: new.format(address=servers["http2.Caddyfile"].url) for each, new in tcp.items()
    }
    changes["keepalive 60s"] = "keepalive 50ms"
    with Caddy("Caddyfile", tmp_path, authority, {**places, **changes}) as front:
        asking = ask_at_gaps(front.address, 400, (0.03, 0.07), users=16)
        answers, connections = asyncio.run(asking)
    assert answers == {"200": 400}
    assert 32 < connections < 400, "some were closed in between, and some were not"
