"""What the recipes of docs/deploy/haproxy promise, seen by clients in front of a real HAProxy."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.certificates import Authority
from tests.deploy.fronts import HOST
from tests.deploy.haproxy import Haproxy
from tests.deploy.load import ask_at_gaps
from tests.deploy.programs import command_in
from tests.deploy.test_nginx_forged import FORGED
from tests.deploy.visitor import ADDRESS, HTTP1, HTTP2, WEBSOCKET, Visitor
from tests.processes import Process, get, read_all

APP = "tests.deploy.proxied_site:app"
RECIPES = ("tcp", "http", "passthrough")
SSL_TLV = "32"  # PP2_TYPE_SSL
_LISTENING = re.compile(r"Listening (?:for PROXY headers )?on (?:https?://|(?=unix:))(\S+)")
# What each says last when it starts.
_LAST = {
    "tcp": "Listening for PROXY headers on unix:",
    "http": "Listening on unix:",
    "passthrough": "Listening for PROXY headers on https:",
}


class Served(NamedTuple):
    """The server of a recipe."""

    process: Process
    tcp: str
    unix: str

    @property
    def places(self) -> dict[str, str]:
        """Where HAProxy finds it, by what the recipe says."""
        return {"127.0.0.1:8000": self.tcp, "unix@/run/mysite/aserver.sock": f"unix@{self.unix}"}


@contextmanager
def serving(name: str, directory: Path, authority: Authority) -> Iterator[Served]:
    """The command in the head of a recipe, at addresses of the test."""
    path = str(directory / "aserver.sock")
    own = authority.issue(HOST)
    places = {
        "127.0.0.1:8000": "127.0.0.1:0",
        "127.0.0.1:8443": "127.0.0.1:0",
        "/run/mysite/aserver.sock": path,
        "unix:/run/mysite/aserver.sock": f"unix:{path}",
        "cert.pem": own.certificate,
        "key.pem": own.key,
    }
    with Process(APP, *command_in(f"haproxy/{name}.cfg", places)) as process:
        process.wait_for(_LAST[name])
        addresses = _LISTENING.findall(process.stderr)
        tcp = [each for each in addresses if not each.startswith("unix:")]
        yield Served(process, tcp[-1], path)


@pytest.fixture(scope="module")
def servers(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Served]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(serving(name, tmp_path_factory.mktemp(name), authority))
            for name in RECIPES
        }


@pytest.fixture(scope="module", params=["tcp", "http"])
def front(
    request: pytest.FixtureRequest,
    servers: dict[str, Served],
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Haproxy]]:
    """A recipe, and what is in front of it."""
    name = str(request.param)
    directory = tmp_path_factory.mktemp("haproxy")
    with Haproxy(f"{name}.cfg", directory, servers[name].places, authority) as front:
        yield name, front


PLAIN = "    bind :443 ssl crt /etc/haproxy/example.com.pem alpn h2,http/1.1\n"


@contextmanager
def changed(
    name: str, served: Served, directory: Path, changes: Mapping[str, str]
) -> Iterator[Visitor]:
    """A recipe with other text, in cleartext."""
    with Haproxy(
        f"{name}.cfg", directory, {PLAIN: "    bind :443\n", **changes, **served.places}
    ) as proxy:
        yield Visitor(proxy)


def told(visitor: Visitor, kind: str, fields: Any = ()) -> dict[str, Any]:
    """What the application sees, but for what is new in each handshake and connection."""
    seen = visitor.see(kind, "/ws/", fields)
    new = ("sec-websocket-key", "proxy-protocol")
    seen["headers"] = [each for each in seen["headers"] if each[0] not in new]
    return seen


def scheme_of(visitor: Visitor, kind: str) -> str:
    return visitor.scheme.replace("http", "ws") if kind == WEBSOCKET else visitor.scheme


@pytest.mark.parametrize("secure", [False, True], ids=["cleartext", "tls"])
@pytest.mark.parametrize("kind", [HTTP1, HTTP2, WEBSOCKET])
def test_the_client_is_who_it_is(
    front: tuple[str, Haproxy], authority: Authority, kind: str, secure: bool
) -> None:
    name, proxy = front
    visitor = Visitor(proxy, authority if secure else None)
    if kind not in visitor.kinds:
        return  # browsers speak HTTP/2 with TLS only
    for _ in range(2):  # the servers behind take turns
        seen = told(visitor, kind)
        address, port = seen["client"]
        assert (address, seen["scheme"]) == (ADDRESS, scheme_of(visitor, kind))
        assert bool(port) == (name == "tcp"), "X-Forwarded-For has none"
        assert seen["headers"].count(["host", HOST]) == 1
        if name == "tcp":
            assert seen["server"] == list(proxy.tls_address if secure else proxy.address)
            assert (seen["http_version"] == "2") == (kind == HTTP2)


@pytest.mark.parametrize("kind", [HTTP1, WEBSOCKET])
def test_who_forges_looks_like_anybody(front: tuple[str, Haproxy], kind: str) -> None:
    name, proxy = front
    visitor = Visitor(proxy)
    honest = [told(visitor, kind) for _ in range(2)]
    for title, fields in FORGED.items():
        seen = told(visitor, kind, fields)
        if name == "tcp":  # the headers are the client's; nobody believes them
            assert (seen["client"][0], seen["scheme"]) == (ADDRESS, scheme_of(visitor, kind)), title
            assert seen["root_path"] == "", title
        else:
            assert seen in honest, title


def test_a_header_of_the_clients_own_is_no_header(front: tuple[str, Haproxy]) -> None:
    _, proxy = front
    with Visitor(proxy).connect() as sock:
        sock.sendall(b"PROXY TCP4 6.6.6.6 127.0.0.1 666 80\r\n" + get("/"))
        assert read_all(sock).startswith(b"HTTP/1.1 400 ")


def test_both_servers_are_asked_and_checked(
    front: tuple[str, Haproxy], servers: dict[str, Served]
) -> None:
    name, proxy = front
    checked = "Health check for server mysite/asgi{} succeeded"
    for number in "01":
        proxy.wait_for(checked.format(number))
    assert "failed" not in proxy.output
    served = servers[name]
    if name == "http":
        own = [told(Visitor(proxy), HTTP1)["server"] for _ in range(2)]
        host, _, port = served.tcp.rpartition(":")
        assert sorted(own, key=str) == sorted([[host, int(port)], [served.unix, None]], key=str)
    assert "WARNING" not in served.process.stderr
    assert "Traceback" not in served.process.stderr


def test_no_request_is_lost_around_the_end_of_idle_connections(
    servers: dict[str, Served], tmp_path: Path
) -> None:
    """HAProxy closes them, so it knows: after five seconds, and here after 50 milliseconds.

    That is only for what it thinks it does not need; what is above a number, it closes at once.
    """
    changes = {
        " check\n": " check pool-purge-delay 50ms pool-max-conn 8\n",
        # So that the application tells HAProxy's connections apart.
        "    http-request set-header X-Forwarded-For %[src]\n": "",
        "    server asgi1": "    # server asgi1",
    }
    with changed("http", servers["http"], tmp_path, changes) as visitor:
        asking = ask_at_gaps(visitor.front.address, 400, (0.03, 0.08), users=16)
        answers, connections = asyncio.run(asking)
    assert answers == {"200": 400}
    assert 16 < connections < 384, "some were closed in between, and some were not"


# Other ways to the server


@pytest.mark.parametrize(("instead", "version"), [("send-proxy", 1), ("send-proxy-v2", 2)])
@pytest.mark.parametrize("kind", [HTTP1, WEBSOCKET])
def test_versions_of_the_proxy_protocol(
    servers: dict[str, Served], tmp_path: Path, instead: str, version: int, kind: str
) -> None:
    with changed("tcp", servers["tcp"], tmp_path, {"send-proxy-v2-ssl": instead}) as visitor:
        for _ in range(2):
            seen = visitor.see(kind, "/ws/")
            (said,) = (
                json.loads(value) for name, value in seen["headers"] if name == "proxy-protocol"
            )
            assert said["version"] == version
            assert seen["client"][0] == ADDRESS
            assert seen["server"] == list(visitor.front.address)


def test_what_is_said_of_tls(
    servers: dict[str, Served], authority: Authority, tmp_path: Path
) -> None:
    with Haproxy("tcp.cfg", tmp_path, servers["tcp"].places, authority) as proxy:
        for own, flags in ((authority, 1), (None, 0)):
            seen = Visitor(proxy, own).see(HTTP1, "/")
            (said,) = (
                json.loads(value) for name, value in seen["headers"] if name == "proxy-protocol"
            )
            assert bytes.fromhex(said["tlvs"][SSL_TLV])[0] & 1 == flags, "PP2_CLIENT_SSL"


def test_tls_that_passes_through(
    servers: dict[str, Served], authority: Authority, tmp_path: Path
) -> None:
    served = servers["passthrough"]
    with Haproxy("passthrough.cfg", tmp_path, {"127.0.0.1:8443": served.tcp}) as proxy:
        visitor = Visitor(proxy, authority)
        for kind in visitor.kinds:
            seen = told(visitor, kind)
            assert (seen["client"][0], seen["scheme"]) == (ADDRESS, scheme_of(visitor, kind))
        proxy.wait_for("asgi0 succeeded")
    assert "WARNING" not in served.process.stderr


def test_http2_to_the_server(servers: dict[str, Served], tmp_path: Path) -> None:
    with changed("http", servers["http"], tmp_path, {" check\n": " check proto h2\n"}) as visitor:
        for kind in (HTTP1, WEBSOCKET):
            for fields in ((), FORGED["all"]):
                seen = told(visitor, kind, fields)
                assert (seen["client"], seen["scheme"]) == ([ADDRESS, 0], scheme_of(visitor, kind))
                assert seen["http_version"] == "2"
        visitor.front.wait_for("asgi1 succeeded")
