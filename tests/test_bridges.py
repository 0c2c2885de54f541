"""Applications of WSGI and ASGI 2 on the server: what they see, and what they can not break."""

import ast
import contextlib
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aserver.bridges import WsgiBridge, bridge_asgi2
from aserver.declarations import ConfigError
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests import wsgi_site
from tests.processes import DEADLINE, Process, get, read_all, read_until, wait_until
from tests.ws_clients import handshake

THREADS = 2


@pytest.fixture(scope="module")
def server() -> Iterator[serve]:
    app = WsgiBridge(wsgi_site.application, THREADS)
    with serve(app, application_close_timeout=1.0, read_buffer=65536, write_buffer=65536) as served:
        yield served


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    for event in (wsgi_site.closed, wsgi_site.closing, wsgi_site.at_work, wsgi_site.may_go_on):
        event.clear()
    wsgi_site.failures.clear()
    yield
    wsgi_site.may_go_on.set()


@contextlib.contextmanager
def connected(server: serve, data: bytes) -> Iterator[socket.socket]:
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(data)
        yield sock


def ask(server: serve, data: bytes) -> bytes:
    with connected(server, data) as sock:
        return read_all(sock)


def facts_of(server: serve, *headers: str, path: str = "/facts") -> dict[str, Any]:
    body = ask(server, get(path, "Connection: close", *headers)).partition(b"\r\n\r\n")[2]
    found = ast.literal_eval(body.decode("utf-8"))
    assert isinstance(found, dict)
    return found


def post(path: str, body: bytes, *headers: str) -> bytes:
    request = get(path, "Connection: close", f"Content-Length: {len(body)}", *headers)
    return request.replace(b"GET", b"POST", 1) + body


def test_the_validator_finds_nothing() -> None:
    """PEP 3333, for whole requests, bodies and responses of several pieces, and their ends."""
    with serve(WsgiBridge(wsgi_site.validated)) as served, httpx.Client() as client:
        assert client.get(f"{served.url}/hello").text == "hello"
        assert client.get(f"{served.url}/facts?a=b").status_code == 200
        assert client.post(f"{served.url}/echo", content=b"a\nb\n").text == "A\nB\n"
        assert client.head(f"{served.url}/hello").text == ""
        assert client.get(f"{served.url}/write").text == "written, returned"


def test_environment(server: serve) -> None:
    found = facts_of(server, "X-Two: 1", "X-Two: 2", "Proxy: evil", path="/facts?a=%20b")
    assert found["SCRIPT_NAME"] == ""
    assert found["PATH_INFO"] == "/facts"
    assert found["QUERY_STRING"] == "a=%20b"
    assert found["HTTP_X_TWO"] == "1,2"
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == (server.host, str(server.port))
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["wsgi.url_scheme"] == "http"
    assert found["wsgi.input_terminated"] is True
    assert "HTTP_PROXY" not in found


@pytest.mark.parametrize(
    ("root_path", "path", "expected"),
    [
        ("/app", "/app/facts", ("/app", "/facts")),
        ("/app/", "/app/facts", ("/app", "/facts")),
        ("/fac", "/facts", ("/fac", "/facts")),
        ("/é", "/%C3%A9/facts", ("/\u00c3\u00a9", "/facts")),
    ],
)
def test_root_path(root_path: str, path: str, expected: tuple[str, str]) -> None:
    with serve(WsgiBridge(wsgi_site.application), root_path=root_path) as served:
        found = facts_of(served, path=path)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == expected


def test_a_path_behind_a_prefix_that_a_proxy_took_off() -> None:
    options = {"proxy_headers": True, "proxy_headers_trust": ("prefix",)}
    with serve(WsgiBridge(wsgi_site.application), **options) as served:
        found = facts_of(served, "X-Forwarded-Prefix: /%C3%A9", path="/caf%E9/facts")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/\u00c3\u00a9", "/caf\u00e9/facts")


def test_unix_socket(path: str) -> None:
    """There is no port, and no address of the client's."""
    with serve(WsgiBridge(wsgi_site.application), unix_socket=path):
        for request, expected in {
            b"GET /facts HTTP/1.0\r\nHost: a.test\r\n\r\n": ("a.test", "80"),
            b"GET /facts HTTP/1.0\r\nHost: [::1]:81\r\n\r\n": ("::1", "81"),
            b"GET /facts HTTP/1.0\r\n\r\n": ("localhost", "80"),
        }.items():
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(DEADLINE)
                sock.connect(path)
                sock.sendall(request)
                found = ast.literal_eval(read_all(sock).partition(b"\r\n\r\n")[2].decode())
            assert (found["SERVER_NAME"], found["SERVER_PORT"]) == expected
            assert found["REMOTE_ADDR"] == ""


def test_proxy_headers() -> None:
    with serve(WsgiBridge(wsgi_site.application), proxy_headers=True) as served:
        found = facts_of(served, "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1")
    assert found["wsgi.url_scheme"] == "https"
    assert found["REMOTE_ADDR"] == "192.0.2.1"


def test_each_way_to_read(server: serve) -> None:
    body = b"abcde\nfgh\nij\nk"
    answer = ask(server, post("/read", body))
    assert repr([b"abc", b"de\n", b"fg", b"h\n", b"ij\n", b"k", b""]).encode() in answer


def test_a_chunked_body_ends(server: serve) -> None:
    head = get("/read", "Connection: close", "Transfer-Encoding: chunked").replace(b"GET", b"PUT")
    answer = ask(server, head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert repr([b"abc", b"de", b"", b""]).encode() in answer


def test_both_ways_at_once(server: serve) -> None:
    """What has come is read, and what is said is sent, before there is more."""
    head = post("/echo", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 8")
    with connected(server, head) as sock:
        assert b" 100 " in read_until(sock, b"\r\n\r\n")
        sock.sendall(b"one\n")
        read_until(sock, b"ONE\n")
        sock.sendall(b"two\n")
        assert read_all(sock).count(b"TWO\n") == 1


def test_backpressure_of_an_upload(server: serve) -> None:
    """A client is not read from faster than the application reads."""
    size = 64 * 2**20
    head = post("/upload", b"").replace(b"Length: 0", b"Length: %d" % size)
    with connected(server, head) as sock:
        assert wsgi_site.at_work.wait(DEADLINE)
        sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += sock.send(bytes(min(2**20, size - sent)))
        assert sent < size
        wsgi_site.may_go_on.set()
        sock.settimeout(DEADLINE)
        sock.sendall(bytes(size - sent))
        assert read_all(sock).count(b"%d" % size) == 1


def test_half_an_upload_is_none(server: serve) -> None:
    with connected(server, get("/upload", "Content-Length: 100").replace(b"GET", b"PUT") + b"abc"):
        assert wsgi_site.at_work.wait(DEADLINE)
    wsgi_site.may_go_on.set()
    wait_until(lambda: bool(wsgi_site.failures))
    assert "has disconnected in its request body" in str(wsgi_site.failures[0])


@pytest.mark.parametrize("path", ["/stream", "/endless_write"])
def test_clients_that_leave_cost_no_thread(server: serve, path: str) -> None:
    for _ in range(THREADS + 1):
        wsgi_site.closed.clear()
        with connected(server, get(path)) as sock:
            read_until(sock, wsgi_site.PIECE)
        assert wsgi_site.closed.wait(DEADLINE)
    assert b"hello" in ask(server, get("/hello", "Connection: close"))


def test_a_thread_that_nobody_waits_for(server: serve, caplog: pytest.LogCaptureFixture) -> None:
    """The call is cancelled when the client has been away for too long; its thread goes on."""
    with connected(server, get("/upload", "Content-Length: 9").replace(b"GET", b"PUT")):
        assert wsgi_site.at_work.wait(DEADLINE)
    wait_until(lambda: "cancelled the application" in caplog.text)
    wsgi_site.may_go_on.set()
    for _ in range(THREADS):
        assert b"hello" in ask(server, get("/hello", "Connection: close"))


def test_who_was_answered_while_it_waited_is_not_served_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = WsgiBridge(wsgi_site.application, 1)
    with serve(app, http_timeout=0.1, application_close_timeout=0.1) as server:
        with connected(server, post("/upload", b"")) as sock:
            assert wsgi_site.at_work.wait(DEADLINE)
            assert ask(server, post("/slow_end", b"")).startswith(b"HTTP/1.1 503 ")
            wait_until(lambda: caplog.text.count("cancelled the application") == 2)
            wsgi_site.may_go_on.set()
            read_all(sock)
        assert b"hello" in ask(server, get("/hello", "Connection: close"))
    assert not wsgi_site.closing.is_set()


def test_a_body_that_is_asked_for_is_not_asked_for_before(server: serve) -> None:
    head = post("/upload", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 3")
    with connected(server, head) as sock:
        assert wsgi_site.at_work.wait(DEADLINE)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        sock.settimeout(DEADLINE)
        wsgi_site.may_go_on.set()
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert read_all(sock).endswith(b"\r\n3\r\n0\r\n\r\n")


def test_what_is_done_behind_a_response_does_not_hold_it_up(
    server: serve, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(server, get("/slow_end", "Connection: close")).endswith(b"\r\nhello\r\n0\r\n\r\n")
    assert wsgi_site.closing.wait(DEADLINE)
    wsgi_site.may_go_on.set()
    wait_until(lambda: "too late to be of harm" in caplog.text)


def test_a_part_of_a_file(server: serve, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(server, get("/part", "Connection: close")).endswith(b"\r\n\r\nWSGI ")
    wait_until(lambda: wsgi_site.files[-1].closed)
    assert not caplog.records


def test_a_response_is_no_longer_than_it_says(
    server: serve, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(server, get("/too_long", "Connection: close")).endswith(b"\r\n\r\nhello")
    wait_until(lambda: "longer than its content-length" in caplog.text)
    assert wsgi_site.closed.is_set()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/not_modified", b"HTTP/1.1 304 Not Modified\r\n"),
        ("/nothing", b"HTTP/1.1 201 Created\r\n"),
        ("/late_sorry", b"HTTP/1.1 500 "),
    ],
)
def test_a_head_goes_without_any_body_and_not_before_there_is_one(
    server: serve, path: str, expected: bytes
) -> None:
    assert ask(server, get(path, "Connection: close")).startswith(expected)


@pytest.mark.parametrize("query", ["", "?memory"])
def test_a_file_is_sent_and_closed(server: serve, query: str) -> None:
    with httpx.Client() as client:
        answer = client.get(f"{server.url}/file{query}")
    assert answer.content == Path(wsgi_site.__file__).read_bytes()
    wait_until(lambda: wsgi_site.files[-1].closed)


def test_another_head_before_the_first_has_gone(server: serve) -> None:
    answer = ask(server, get("/sorry", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"sorry" in answer
    assert b"content-length: 1\r\n" not in answer


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/too_late", 200, "too late"),
        ("/twice", 500, "start_response was called twice"),
        ("/never", 500, "the application did not call start_response"),
        ("/too_long_write", 200, "longer than its content-length"),
    ],
)
def test_mistakes(
    server: serve, path: str, status: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "aserver.app"), connected(server, get(path)) as sock:
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = read_until(sock, b"\r\n\r\n")
            while piece := sock.recv(65536):
                answer += piece
    if answer:
        assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\n0\r\n\r\n" not in answer
    wait_until(lambda: message in caplog.text)
    assert bool(wsgi_site.failures) is (path == "/too_long_write")  # who wrote it was told


def test_websockets_are_refused(server: serve, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(server, handshake("/hello", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert not caplog.records


def test_without_a2wsgi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "a2wsgi", None)
    with pytest.raises(ConfigError, match=r"a2wsgi is not installed \(pip install 'aserver\[wsgi"):
        WsgiBridge(wsgi_site.application)


class Asgi2:
    """An application of ASGI 2."""

    def __init__(self, scope: Scope) -> None:
        if scope["type"] == "lifespan":
            raise ValueError("no lifespan")
        self._version = scope["asgi"]["version"]

    async def __call__(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": self._version.encode()})


def test_asgi_2(caplog: pytest.LogCaptureFixture) -> None:
    with serve(bridge_asgi2(Asgi2)) as served:
        assert httpx.get(served.url).text == "2.0"
    assert not caplog.records


def test_the_split_set_up() -> None:
    """A proxy in front sends `/ws/` to one server, and everything else to another, for WSGI."""
    options = ("--interface", "wsgi", "--threads", "3", "--access-log", "-")
    with (
        Process("tests.wsgi_site:application", *options) as half,
        Process("tests.tls_site:app") as other,
    ):
        with half.connect() as sock:
            sock.sendall(get("/hello", "Connection: close"))
            assert b"hello" in read_all(sock)
        with other.connect() as sock:
            sock.sendall(handshake("/echo"))
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        with half.connect() as sock:
            sock.sendall(handshake("/echo"))
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 403 ")
        assert "Traceback" not in half.stderr
        assert "ERROR" not in half.stderr
