"""The same small application with each framework: pages, uploads, streams, WebSockets."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from urllib.parse import unquote_plus

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from aserver.testing import serve
from aserver.types import ASGIApplication
from tests.processes import DEADLINE, ROOT, Process, wait_until
from tests.test_docs import table, text_of

EXAMPLES = ROOT / "examples" / "frameworks"
WITH_LIFESPAN = ["falcon", "fastapi", "litestar", "quart", "starlette"]
FRAMEWORKS = ["django", *WITH_LIFESPAN]
# The others find out that a reader has left only when they send something.
LISTENING_FOR_DISCONNECTS = {"django", "litestar", "quart"}


@dataclass
class Site:
    framework: str
    url: str  # of its first page, without the slash


@contextmanager
def application(framework: str) -> Iterator[ASGIApplication]:
    """Import an example, as if for the first time: Quart starts an application only once."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        imported: ASGIApplication = import_module(f"with_{framework}").app
        yield imported
    finally:
        sys.path.remove(str(EXAMPLES))
        for name in ("news", f"with_{framework}"):
            sys.modules.pop(name, None)


@contextmanager
def served(framework: str, root_path: str) -> Iterator[Site]:
    if framework == "django":  # whose settings are those of a whole process
        options = ("--app-dir", str(EXAMPLES), "--root-path", root_path, "--access-log", "")
        with Process("with_django:application", *options) as process:
            yield Site(framework, process.url + root_path)
        assert "Traceback" not in process.stderr
    else:
        with application(framework) as app, serve(app, root_path=root_path) as server:
            yield Site(framework, server.url + root_path)


@pytest.fixture(
    scope="module",
    params=[(each, root_path) for each in FRAMEWORKS for root_path in ("", "/shop")],
    ids=lambda param: "".join(param),
)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with served(*request.param) as site:
        yield site


@contextmanager
def client_of(site: Site, http2: bool = False) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=site.url,
        http1=not http2,
        http2=http2,
        timeout=DEADLINE,
        trust_env=False,
        verify=False,  # there is nothing to verify, and so nothing is loaded
    ) as client:
        yield client


@pytest.fixture(params=[False, True], ids=["1.1", "2"])
def client(site: Site, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with client_of(site, request.param) as client:
        yield client


@contextmanager
def websocket(site: Site, path: str, *subprotocols: str) -> Iterator[ClientConnection]:
    uri = f"ws{site.url.removeprefix('http')}{path}"
    offered = [Subprotocol(each) for each in subprotocols] or None
    with connect(uri, subprotocols=offered, proxy=None) as connection:
        yield connection


def followers(client: httpx.Client) -> int:
    return int(client.get("/followers").text)


def publish(client: httpx.Client, text: str) -> None:
    assert client.post("/news", json={"text": text}).status_code == 204


# Pages


def test_page(site: Site, client: httpx.Client) -> None:
    response = client.get("/hello/J%C3%BCrgen%20M.?greeting=Gr%C3%BC%C3%9F+Gott")
    answer = response.json()
    # They differ in what they leave encoded.
    assert unquote_plus(answer.pop("url")) == f"{site.url}/hello/Jürgen M.?greeting=Grüß Gott"
    assert answer == {
        "text": "Grüß Gott, Jürgen M.!",
        "client": "127.0.0.1",
        "http": response.http_version.removeprefix("HTTP/"),
    }


def test_links_lead_back(site: Site, client: httpx.Client) -> None:
    link = re.search('href="(.*?)"', client.get("/").text)
    assert link is not None
    assert link[1] == f"{site.url}/hello/Ada"
    assert client.get(link[1]).json()["text"] == "Hello, Ada!"


def test_outside_of_the_root_path_there_is_nothing(site: Site, client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404


def test_upload(client: httpx.Client) -> None:
    file = ("the sea.bin", b"sea" * 100_000)
    response = client.post("/upload", data={"note": "für dich"}, files={"file": file})
    assert response.json() == {"name": "the sea.bin", "size": 300_000, "note": "für dich"}


# Streams


def test_stream(site: Site, client: httpx.Client) -> None:
    with client_of(site) as editor:
        publish(editor, "yesterday's")
        with client.stream("GET", "/news") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            events = (line for line in response.iter_lines() if line.startswith("data:"))
            # The first is here before the second is made.
            assert next(events) == 'data: "yesterday\'s"'
            assert followers(editor) == 1
            publish(editor, "today's")
            assert next(events) == 'data: "today\'s"'
        client.close()  # httpx resets no stream of HTTP/2
        wait_until(lambda: left(site, editor))


def left(site: Site, editor: httpx.Client) -> bool:
    """Whether nobody follows the news any more."""
    if site.framework not in LISTENING_FOR_DISCONNECTS:
        publish(editor, "for whom?")
    return followers(editor) == 0


# WebSockets


def test_websocket(site: Site) -> None:
    with websocket(site, "/echo") as echo:
        assert echo.subprotocol is None
        for text in ("hello", "long" * 50_000, "Grüße"):
            echo.send(text)
            assert echo.recv(DEADLINE) == text


def test_subprotocol(site: Site) -> None:
    with websocket(site, "/echo", "whisper", "shout") as echo:
        assert echo.subprotocol == "shout"
        echo.send("hello")
        assert echo.recv(DEADLINE) == "HELLO"


# The lifespan


@pytest.mark.parametrize("framework", WITH_LIFESPAN)
def test_lifespan(framework: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "news")
    with served(framework, "") as site, client_of(site) as client:
        assert caplog.messages[-1] == "open"
        assert followers(client) == 0
    assert [each.message for each in caplog.records if each.name == "news"] == ["open", "closed"]


# GraphQL

graphql = pytest.mark.parametrize(
    "site", [("django", ""), ("django", "/shop")], indirect=True, ids=["", "/shop"]
)


@contextmanager
def subscribed(site: Site) -> Iterator[ClientConnection]:
    """A subscription to the news, by the protocol of graphql-ws."""
    with websocket(site, "/graphql", "graphql-transport-ws") as connection:
        assert connection.subprotocol == "graphql-transport-ws"
        tell(connection, type="connection_init")
        assert hear(connection)["type"] == "connection_ack"
        query = {"query": "subscription { news }"}
        tell(connection, type="subscribe", id="1", payload=query)
        yield connection


def tell(connection: ClientConnection, **message: object) -> None:
    connection.send(json.dumps(message))


def hear(connection: ClientConnection) -> dict[str, object]:
    message: dict[str, object] = json.loads(connection.recv(DEADLINE))
    return message


def news(text: str) -> dict[str, object]:
    return {"type": "next", "id": "1", "payload": {"data": {"news": text}}}


@graphql
def test_query(client: httpx.Client) -> None:
    publish(client, "Ahoy")
    response = client.post("/graphql", json={"query": "{ latest }"})
    assert response.json() == {"data": {"latest": "Ahoy"}}


@graphql
def test_subscription(site: Site) -> None:
    with client_of(site) as editor, subscribed(site) as first, subscribed(site) as second:
        for each in (first, second):
            hear(each)  # whatever is the latest
        query = "mutation ($text: String!) { publish(text: $text) }"
        editor.post("/graphql", json={"query": query, "variables": {"text": "Land!"}})
        assert hear(first) == hear(second) == news("Land!")


@graphql
@pytest.mark.parametrize("how", ["complete", "close"])
def test_subscription_ends(site: Site, how: str) -> None:
    with client_of(site) as client, subscribed(site) as connection:
        hear(connection)
        assert followers(client) == 1
        if how == "complete":
            tell(connection, type="complete", id="1")
        else:
            connection.close()
        wait_until(lambda: followers(client) == 0)


# The guide


def test_guide_says_who_listens() -> None:
    rows = table(text_of("howto", "frameworks.md"), "framework", "when", "so")
    assert {row[0].strip("`") for row in rows} == set(FRAMEWORKS)
    listening = {row[0].strip("`") for row in rows if row[1] == "at once"}
    assert listening == LISTENING_FOR_DISCONNECTS
