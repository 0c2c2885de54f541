"""What the recipes of docs/deploy/nginx promise, seen by clients in front of a real nginx."""

import json
import re
import signal
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from aserver.config import DECLARATIONS
from tests.certificates import Authority
from tests.deploy.fronts import HOST
from tests.deploy.nginx import PLACES, RECIPES, Nginx, serving, upstream
from tests.deploy.site import EVENTS
from tests.deploy.visitor import ADDRESS, HTTP1, HTTP2, Visitor
from tests.processes import Process, read_all, read_until
from tests.test_docs import DOCS, codes, section, table

pytestmark = pytest.mark.services

APP = "tests.deploy.site:app"
README = (RECIPES / "README.md").read_text(encoding="utf-8")
GUIDE = (DOCS / "howto" / "nginx.md").read_text(encoding="utf-8")
TLS_SECTION = "TLS between nginx and the server"
MIB = 1 << 20


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Process]]:
    """The servers of the recipes, each by the command that its recipe has."""
    with ExitStack() as stack:
        yield {
            each: stack.enter_context(serving(f"{each}.conf", APP, tmp_path_factory.mktemp(each)))
            for each in ("unified", "http2")
        }


@pytest.fixture(scope="module", params=["unified-tcp", "unified-unix", "http2"])
def visitor(
    request: pytest.FixtureRequest,
    servers: dict[str, Process],
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Visitor]:
    """Somebody in front of the recipe, over TCP and over a unix socket, and of that with TLS."""
    name = str(request.param)
    secure = name == "http2"
    own = authority.issue(HOST)
    directory = tmp_path_factory.mktemp("nginx")
    static = directory / "static"
    static.mkdir()
    (static / "style.css").write_text("body {}")
    (directory / "secret.css").write_text("nobody's business")
    with Nginx(
        "http2.conf" if secure else "unified.conf",
        directory,
        server=upstream(servers["unified" if name == "unified-tcp" else "http2"]),
        static=f"{static}/",
        certificate=own.certificate,
        key=own.key,
    ) as nginx:
        yield Visitor(nginx, authority if secure else None)


# Streams and uploads


@pytest.mark.parametrize("path", ["/stream/", "/unbuffered"])
def test_each_event_arrives_before_the_next_is_made(visitor: Visitor, path: str) -> None:
    extensions = {"sni_hostname": HOST}
    for http2 in {False, HTTP2 in visitor.kinds}:
        with (
            visitor.client(http2=http2) as client,
            client.stream("GET", f"{path}?{http2}", extensions=extensions) as response,
        ):
            assert response.headers["content-type"] == "text/event-stream"
            assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            pieces = response.iter_raw()
            for number in range(EVENTS):
                assert next(pieces) == b"data: %d\n\n" % number
                assert visitor.get(f"/next?{http2}").status_code == 200
            assert list(pieces) == []


@pytest.mark.parametrize("visitor", ["http2"], indirect=True)
def test_elsewhere_nginx_may_wait_for_more(visitor: Visitor) -> None:
    """Which is why the recipe has that location: with TLS and HTTP/1.1, for 16 KiB or the end."""
    with visitor.client() as client:
        client.timeout = httpx.Timeout(0.2)
        with (
            pytest.raises(httpx.ReadTimeout),
            client.stream("GET", "/other/stream/", extensions={"sni_hostname": HOST}) as response,
        ):
            next(response.iter_raw())


def test_uploads_up_to_the_recipes_size(visitor: Visitor) -> None:
    extensions = {"sni_hostname": HOST}
    with visitor.client() as client:
        # More than nginx allows of itself.
        body = bytes(2 * MIB)
        assert client.post("/upload", content=body, extensions=extensions).json() == len(body)
    # Refused for what it says of itself: nothing of it need be sent.
    with visitor.connect() as sock:
        length = 100 * MIB + 1
        lines = ("POST / HTTP/1.1", f"Host: {HOST}", f"Content-Length: {length}", "", "")
        sock.sendall("\r\n".join(lines).encode())
        head = read_until(sock, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nServer: nginx/" in head


# WebSockets


def test_a_websocket_passes_whole_messages_and_its_end(visitor: Visitor) -> None:
    with visitor.websocket("/ws/") as connection:
        connection.recv()
        for message in ("hello", "x" * MIB):
            connection.send(message)
            assert connection.recv() == message


def test_what_is_refused_is_told_to_the_client(visitor: Visitor) -> None:
    with pytest.raises(InvalidStatus, match="403"), visitor.websocket("/ws/refused"):
        pass


def test_the_servers_end_reaches_who_is_connected(tmp_path: Path) -> None:
    with (
        serving("unified.conf", APP, tmp_path) as server,
        Nginx("unified.conf", tmp_path / "nginx", server=upstream(server)) as nginx,
        Visitor(nginx).websocket("/ws/") as connection,
    ):
        connection.recv()
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed, match="1012"):
            connection.recv()


def test_pings_keep_a_silent_websocket_open(tmp_path: Path) -> None:
    """Without them nginx closes it after `proxy_read_timeout`, 60 seconds in the recipe."""
    shorter = {"proxy_connect_timeout 5s;": "proxy_read_timeout 2500ms;"}

    def stays_open(interval: str) -> bool:
        socket_path = str(tmp_path / f"{interval}.sock")
        with (
            Process(APP, "-u", socket_path, "--ping-interval", interval) as server,
            Nginx("unified.conf", tmp_path / interval, shorter, server=server.url) as nginx,
            Visitor(nginx).websocket("/ws/") as connection,
        ):
            connection.recv()
            try:
                connection.recv(3.2)
            except TimeoutError:
                return True
            except ConnectionClosed:
                return False
        raise AssertionError("nobody has said anything")

    with ThreadPoolExecutor() as executor:
        assert list(executor.map(stays_open, ("1", "0"))) == [True, False]


# Hosts


def test_who_names_another_host_gets_no_answer(visitor: Visitor) -> None:
    stranger = Visitor(visitor.front, visitor.authority, "evil.example")
    for kind in visitor.kinds:
        with pytest.raises((httpx.TransportError, ssl.SSLError, InvalidMessage)):
            stranger.see(kind, "/ws/")


def test_who_is_let_in_by_one_name_cannot_ask_for_another(visitor: Visitor) -> None:
    with visitor.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert sock.recv(1) == b""


@pytest.mark.parametrize("line", [f"GET http://{HOST}/ HTTP/1.1", "GET / HTTP/1.1"])
def test_the_host_is_the_one_that_nginx_has_chosen_by(visitor: Visitor, line: str) -> None:
    """With a whole URL its host counts (RFC 9112 section 3.2.2); the port is nginx's own matter."""
    other = "evil.example" if "//" in line else f"{HOST.upper()}:666"
    request = f"{line}\r\nHost: {other}\r\nConnection: close\r\n\r\n"
    with visitor.connect() as sock:
        sock.sendall(request.encode())
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    headers = json.loads(body)["headers"]
    assert [value for name, value in headers if name == "host"] == [HOST]
    assert [value for name, value in headers if name == "x-forwarded-host"] == [HOST]


def test_no_upgrade_but_a_websockets_goes_on(visitor: Visitor) -> None:
    fields = [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings")]
    headers = visitor.see(HTTP1, "/", [*fields, ("HTTP2-Settings", "AAMAAABk")])["headers"]
    assert not {"upgrade", "connection"} & {name for name, _ in headers}


# Static files, HTTP/2


def test_static_files_are_nginxs(visitor: Visitor) -> None:
    page = visitor.get("/static/style.css")
    assert (page.text, page.headers["content-type"]) == ("body {}", "text/css")
    assert visitor.get("/static/nothing.css").status_code == 404
    for path in ("/static../secret.css", "/static/%2e%2e/secret.css", "/static/..%2fsecret.css"):
        assert "business" not in visitor.get(path).text


def test_http2_reaches_the_server_as_http1(visitor: Visitor) -> None:
    if HTTP2 not in visitor.kinds:
        assert visitor.get("/").http_version == "HTTP/1.1"
        return
    page = visitor.get("/", http2=True)
    assert page.http_version == "HTTP/2"
    assert page.json()["http_version"] == "1.1"
    assert page.json()["scheme"] == "https"
    # The port in cleartext has nothing but the way to the other.
    plain = Visitor(visitor.front).get("/a/%2F?b")
    assert (plain.status_code, plain.headers["location"]) == (301, f"https://{HOST}/a/%2F?b")


# The client's address


def test_a_proxy_in_front_of_nginx_is_believed_by_nginx(tmp_path: Path) -> None:
    (block,) = re.findall(r"```nginx\n(.*?)```", section(README, "Who the client is"), re.DOTALL)
    include = "include snippets/aserver.conf;"
    trusting = {include: include + block.replace("192.0.2.0/24", f"{ADDRESS}/32")}
    with (
        serving("unified.conf", APP, tmp_path) as server,
        Nginx("unified.conf", tmp_path / "nginx", trusting, server=upstream(server)) as nginx,
    ):
        fields = [("X-Forwarded-For", "6.6.6.6, 203.0.113.5")]
        assert Visitor(nginx).see(HTTP1, "/", fields)["client"] == ["203.0.113.5", 0]


def test_the_access_log_shows_the_client(tmp_path: Path) -> None:
    with (
        serving("unified.conf", APP, tmp_path, "--proxy-headers-port", "X-Client-Port") as server,
        Nginx(
            "unified.conf",
            tmp_path / "nginx",
            {"proxy_connect_timeout 5s;": "proxy_set_header X-Client-Port $remote_port;"},
            server=upstream(server),
        ) as nginx,
        Visitor(nginx).client() as client,
    ):
        told = client.get("/")
        port = told.extensions["network_stream"].get_extra_info("client_addr")[1]
        assert told.json()["client"] == [ADDRESS, port]
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert f"{ADDRESS}:{port} " in server.stdout


# TLS to the server


def test_nginx_looks_whose_certificate_the_server_has(tmp_path: Path, authority: Authority) -> None:
    (block,) = re.findall(r"location / \{(.*?)\}", section(GUIDE, TLS_SECTION), re.DOTALL)
    block = block.replace("/etc/nginx/authority.pem", authority.file)
    seen = {}
    for name in ("mysite.internal", "other.internal"):
        own = authority.issue(name)
        with (
            Process(APP, "--certfile", own.certificate, "--keyfile", own.key) as server,
            Nginx(
                "unified.conf",
                tmp_path / name,
                {"proxy_pass http://mysite;": block},
                server=f"127.0.0.1:{server.address[1]}",
            ) as nginx,
        ):
            seen[name] = Visitor(nginx).get("/")
    assert seen["mysite.internal"].json()["scheme"] == "https"
    assert seen["other.internal"].status_code == 502


# What the pages say


def test_the_page_has_all_that_is_exchanged() -> None:
    rows = table(README, "in the files", "what it is")
    places = {code for cell, _ in rows for code in codes(cell)}
    assert places == {*PLACES, HOST, "/shop"}


def test_the_page_shows_each_recipe() -> None:
    rows = table(README, "file", "what it does")
    recipes = {str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.conf")}
    assert {code for cell, _ in rows for code in codes(cell)} == recipes


def test_the_limits_that_the_page_compares() -> None:
    rows = table(GUIDE, "nginx", "its default", "the server", "its default")
    assert rows
    for _, _, flag, default in rows:
        number, _, unit = default.partition(" ")
        factor = {"": 1, "s": 1, "KiB": 1 << 10, "GiB": 1 << 30}[unit]
        name = codes(flag)[0].removeprefix("--").replace("-", "_")
        assert DECLARATIONS[name].default == int(number) * factor, flag


def test_the_server_keeps_connections_longer_than_nginx() -> None:
    """nginx: `keepalive_timeout` of an upstream, 60 seconds unless a recipe says otherwise."""
    assert DECLARATIONS["keep_alive"].default > 60
    for path in RECIPES.rglob("*.conf"):
        assert "keepalive_timeout" not in path.read_text(encoding="utf-8")
        assert "--keep-alive" not in path.read_text(encoding="utf-8")
