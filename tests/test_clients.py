"""Clients and a framework that others wrote, as oracles: what they make of the server's bytes."""

import asyncio
import hashlib
import http.client
import json
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import h11
import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from aserver.testing import serve
from tests.processes import DEADLINE, read_until
from tests.services import require_program

LARGE = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def options(loop_name: str, parser: str) -> dict[str, str]:
    """An event loop and a parser, for `serve`."""
    return {"loop": loop_name, "http": parser}


# The application


class Shared(TypedDict):
    """What the lifespan gives to every request."""

    greeting: str
    events: list[str]


class Site:
    """A Starlette application, and what the test and it have to tell each other."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.go_on = threading.Semaphore(0)
        self.app = Starlette(
            routes=[
                Route("/", self.hello),
                Route("/echo", self.echo, methods=["POST", "PUT", "PATCH"]),
                Route("/digest", self.digest, methods=["POST"]),
                Route("/stream", self.stream),
                Route("/endless", self.endless),
                Route("/background", self.background),
                Route("/nothing", self.nothing, methods=["GET", "DELETE"]),
                Route("/unchanged", self.unchanged),
                Route("/redirect", self.redirect),
                Route("/file", self.file),
                Route("/sync", self.sync),
                Route("/broken", self.broken),
                Route("/url", self.url),
            ],
            lifespan=self.lifespan,
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[Shared]:
        self.events.append("startup")
        yield {"greeting": "hello", "events": self.events}
        self.events.append("shutdown")

    async def hello(self, request: Request) -> Response:
        response = PlainTextResponse(request.state.greeting)
        response.set_cookie("first", "1")
        response.set_cookie("second", "2")
        return response

    async def echo(self, request: Request) -> Response:
        return StreamingResponse(request.stream(), headers={"x-method": request.method})

    async def digest(self, request: Request) -> Response:
        digest = hashlib.sha256()
        async for piece in request.stream():
            digest.update(piece)
        return PlainTextResponse(digest.hexdigest())

    async def stream(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            for number in range(5):
                yield f"data: {number}\n\n"
                await asyncio.to_thread(self.go_on.acquire)

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def endless(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            try:
                while True:
                    yield "data\n"
                    await asyncio.sleep(0.01)
            finally:
                self.events.append("generator closed")
                self.go_on.release()

        return StreamingResponse(pieces())

    async def background(self, request: Request) -> Response:
        async def work() -> None:
            await asyncio.to_thread(self.go_on.acquire)
            self.events.append("work done")

        return PlainTextResponse("accepted", 202, background=BackgroundTask(work))

    async def nothing(self, request: Request) -> Response:
        return Response(status_code=204)

    async def unchanged(self, request: Request) -> Response:
        return Response(status_code=304, headers={"etag": '"1"'})

    async def redirect(self, request: Request) -> Response:
        return RedirectResponse("/")

    async def file(self, request: Request) -> Response:
        return FileResponse(Path(__file__), media_type="text/x-python")

    def sync(self, request: Request) -> Response:
        return PlainTextResponse(threading.current_thread().name)

    async def broken(self, request: Request) -> Response:
        raise ZeroDivisionError

    async def url(self, request: Request) -> Response:
        return JSONResponse([request.url.path, list(request.query_params.multi_items())])


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def server(site: Site, options: dict[str, Any]) -> Iterator[serve]:
    with serve(site.app, **options) as server:
        assert site.events == ["startup"]
        yield server
    assert site.events[-1] == "shutdown"


# The clients


@dataclass
class Answer:
    """A response, as a client understood it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


class Client(Protocol):
    """Makes one request after another, on one connection."""

    def __call__(
        self, method: str, target: str, body: bytes | Iterator[bytes] | None = None
    ) -> Answer: ...


@contextmanager
def httpx_client(server: serve) -> Iterator[Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as client:

        def ask(method: str, target: str, body: bytes | Iterator[bytes] | None = None) -> Answer:
            response = client.request(method, target, content=body)
            assert response.http_version == "HTTP/1.1"
            return Answer(response.status_code, response.headers.multi_items(), response.content)

        yield ask


@contextmanager
def standard_client(server: serve) -> Iterator[Client]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE)
    sockets = set()

    def ask(method: str, target: str, body: bytes | Iterator[bytes] | None = None) -> Answer:
        connection.request(method, target, body)
        sockets.add(connection.sock)
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())

    yield ask
    assert len(sockets) == 1, "the connection was not kept"
    connection.close()


@contextmanager
def h11_client(server: serve) -> Iterator[Client]:
    """h11 accepts nothing that RFC 9112 does not allow."""
    state = h11.Connection(h11.CLIENT)

    with socket.create_connection((server.host, server.port), DEADLINE) as sock:

        def ask(method: str, target: str, body: bytes | Iterator[bytes] | None = None) -> Answer:
            headers = [("Host", "test")]
            pieces = body if isinstance(body, Iterator) else iter([body] if body else [])
            if isinstance(body, bytes):
                headers.append(("Content-Length", str(len(body))))
            elif body is not None:
                headers.append(("Transfer-Encoding", "chunked"))
            send(h11.Request(method=method, target=target, headers=headers))
            for piece in pieces:
                send(h11.Data(data=piece))
            send(h11.EndOfMessage())
            answer = receive()
            state.start_next_cycle()
            return answer

        def send(event: h11.Event) -> None:
            data = state.send(event)
            assert data is not None
            sock.sendall(data)

        def receive() -> Answer:
            response = next_event()
            assert isinstance(response, h11.Response)
            body = b""
            while isinstance(event := next_event(), h11.Data):
                body += event.data
            assert isinstance(event, h11.EndOfMessage)
            headers = [(name.decode(), value.decode()) for name, value in response.headers]
            return Answer(response.status_code, headers, body)

        def next_event() -> object:
            while (event := state.next_event()) is h11.NEED_DATA:
                state.receive_data(sock.recv(65536))
            return event

        yield ask


@contextmanager
def curl_client(server: serve) -> Iterator[Client]:
    def ask(method: str, target: str, body: bytes | Iterator[bytes] | None = None) -> Answer:
        how = ["--head"] if method == "HEAD" else ["--request", method, "--include"]
        if isinstance(body, bytes):
            how += ["--data-binary", "@-"]
        elif body is not None:
            how += ["--upload-file", "-"]
        sent = body if isinstance(body, bytes) else b"".join(body or ())
        output = curl(*how, server.url + target, body=sent)
        while output.startswith(b"HTTP/1.1 100 "):
            output = output.partition(b"\r\n\r\n")[2]
        head, _, content = output.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        return Answer(int(first.split()[1]), headers, content)

    yield ask


def curl(*arguments: str, body: bytes = b"") -> bytes:
    command = [require_program("curl"), "--silent", "--show-error", "--max-time", "20", *arguments]
    done = subprocess.run(
        command, input=body, capture_output=True, timeout=2 * DEADLINE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


CLIENTS = [httpx_client, standard_client, h11_client, curl_client]


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def ask(server: serve, request: pytest.FixtureRequest) -> Iterator[Client]:
    with request.param(server) as client:
        yield client


def test_every_client_understands_every_kind_of_response(ask: Client) -> None:
    answer = ask("GET", "/")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.all("content-length") == ["5"]
    assert answer.all("server") == ["aserver"]
    assert len(answer.all("date")) == 1
    assert [cookie.partition(";")[0] for cookie in answer.all("set-cookie")] == [
        "first=1",
        "second=2",
    ]

    head = ask("HEAD", "/")
    assert (head.status, head.body) == (200, b"")
    assert head.all("content-length") == ["5"]

    answer = ask("POST", "/echo", b"some body")
    assert (answer.status, answer.body) == (200, b"some body")
    assert answer.all("transfer-encoding") == ["chunked"]
    assert answer.all("x-method") == ["POST"]

    answer = ask("PUT", "/echo", iter([b"one ", b"two ", LARGE]))
    assert answer.body == b"one two " + LARGE

    assert ask("POST", "/echo", b"").body == b""
    answer = ask("POST", "/digest", LARGE)
    assert answer.body.decode() == hashlib.sha256(LARGE).hexdigest()

    answer = ask("DELETE", "/nothing")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.all("content-length") == answer.all("transfer-encoding") == []

    answer = ask("GET", "/unchanged")
    assert (answer.status, answer.body, answer.all("etag")) == (304, b"", ['"1"'])

    answer = ask("GET", "/redirect")
    assert (answer.status, answer.all("location")) == (307, ["/"])

    assert ask("GET", "/missing").status == 404
    assert ask("POST", "/", b"no").status == 405
    assert ask("GET", "/file").body == Path(__file__).read_bytes()
    assert b"worker" in ask("GET", "/sync").body.lower()
    answer = ask("GET", "/url?b=1&a=%20&b=2")
    assert json.loads(answer.body) == ["/url", [["b", "1"], ["a", " "], ["b", "2"]]]
    assert ask("GET", "/").body == b"hello"


def test_an_exception_is_a_500_and_in_the_log(
    server: serve, caplog: pytest.LogCaptureFixture
) -> None:
    response = httpx.get(f"{server.url}/broken")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert httpx.get(server.url).text == "hello"
    (record,) = caplog.records
    assert record.name == "aserver.app"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


# Streams


def test_server_sent_events_arrive_one_by_one_at_httpx(server: serve, site: Site) -> None:
    with httpx.stream("GET", f"{server.url}/stream") as response:
        pieces = response.iter_raw()
        for number in range(5):
            assert next(pieces) == f"data: {number}\n\n".encode()
            site.go_on.release()
        assert list(pieces) == []


def test_server_sent_events_arrive_one_by_one_at_curl(server: serve, site: Site) -> None:
    command = [require_program("curl"), "--silent", "--no-buffer", f"{server.url}/stream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for number in range(5):
            assert process.stdout.readline() == f"data: {number}\n".encode()
            assert process.stdout.readline() == b"\n"
            site.go_on.release()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_a_client_that_leaves_closes_the_generator(server: serve, site: Site) -> None:
    with httpx.stream("GET", f"{server.url}/endless") as response:
        assert next(response.iter_lines()) == "data"
    assert site.go_on.acquire(timeout=DEADLINE)
    assert site.events == ["startup", "generator closed"]
    assert httpx.get(server.url).text == "hello"


def test_a_background_task_keeps_nobody_waiting(server: serve, site: Site) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE)
    connection.request("GET", "/background")
    response = connection.getresponse()
    assert (response.status, response.read()) == (202, b"accepted")
    # Its work is not done, and the same connection is served.
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"hello"
    assert site.events == ["startup"]
    site.go_on.release()
    connection.close()


def test_the_end_waits_for_a_background_task(site: Site, options: dict[str, Any]) -> None:
    with serve(site.app, **options) as server:
        assert httpx.get(f"{server.url}/background").text == "accepted"
        threading.Timer(0.1, site.go_on.release).start()
    assert site.events == ["startup", "work done", "shutdown"]


def test_an_asynchronous_client_with_many_connections(server: serve) -> None:
    async def test() -> None:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=server.url, limits=limits) as client:
            bodies = [b"%d" % number * 100 for number in range(100)]
            responses = await asyncio.gather(
                *[client.post("/echo", content=body) for body in bodies]
            )
            assert [response.content for response in responses] == bodies

    asyncio.run(test())


# What curl can that others cannot


def test_curl_keeps_its_connection(server: serve) -> None:
    output = curl("--write-out", "%{num_connects} ", *[f"{server.url}/nothing"] * 3)
    assert output == b"1 0 0 "


def test_curl_speaks_http_1_0(server: serve) -> None:
    output = curl(
        "--http1.0", "--include", "--request", "POST", "--data", "x", f"{server.url}/echo"
    )
    head, _, body = output.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"x"


def test_curl_waits_for_100_continue(server: serve) -> None:
    expect = [
        "--header",
        "Expect: 100-continue",
        "--expect100-timeout",
        "20",
        "--data-binary",
        "@-",
    ]
    output = curl("--include", *expect, f"{server.url}/echo", body=LARGE)
    assert output.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert output.endswith(LARGE)
    # Answered without being read, nothing is sent.
    output = curl("--include", *expect, "--write-out", "%{size_upload}", server.url, body=LARGE)
    assert output.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert output.endswith(b"Method Not Allowed0")


def test_curl_over_a_unix_socket(site: Site, options: dict[str, Any], tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serve(site.app, unix_socket=path, **options):
        assert curl("--unix-socket", path, "http://test/") == b"hello"


def test_curl_over_ipv4_and_ipv6_on_one_socket(site: Site, options: dict[str, Any]) -> None:
    with serve(site.app, bind=("[::]:0",), **options) as server:
        assert len(server.server.sockets) == 1
        for flag, host in (("--ipv4", "127.0.0.1"), ("--ipv6", "[::1]")):
            assert curl(flag, f"http://{host}:{server.port}/") == b"hello"


# Connection


def test_a_client_that_asks_for_the_end_gets_it(server: serve) -> None:
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        state = h11.Connection(h11.CLIENT)
        request = h11.Request(
            method="GET", target="/", headers=[("Host", "test"), ("Connection", "close")]
        )
        sock.sendall((state.send(request) or b"") + (state.send(h11.EndOfMessage()) or b""))
        data = read_until(sock, b"hello")
        assert b"\r\nconnection: close\r\n" in data
        assert sock.recv(1) == b""
