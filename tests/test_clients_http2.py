"""HTTP/2 clients that others wrote, as oracles: what they make of the server's frames."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.certificates import Authority
from tests.h2_places import MATRIX, Place, placed
from tests.processes import DEADLINE
from tests.services import require_program
from tests.test_clients import LARGE, Answer, Client, Site


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture(params=MATRIX)
def place(request: pytest.FixtureRequest, site: Site, authority: Authority) -> Iterator[Place]:
    with placed(site.app, authority, request.param) as place:
        yield place
    assert site.events[-1] == "shutdown"


# The clients


@contextmanager
def httpx_client(place: Place) -> Iterator[Client]:
    with httpx.Client(**place.httpx_options()) as client:

        def ask(method: str, target: str, body: bytes | Iterator[bytes] | None = None) -> Answer:
            response = client.request(method, target, content=body)
            assert response.http_version == "HTTP/2"
            return Answer(response.status_code, response.headers.multi_items(), response.content)

        yield ask


@contextmanager
def curl_client(place: Place) -> Iterator[Client]:
    def ask(method: str, target: str, body: bytes | Iterator[bytes] | None = None) -> Answer:
        how = ["--head"] if method == "HEAD" else ["--request", method, "--include"]
        if isinstance(body, bytes):
            how += ["--data-binary", "@-"]
        elif body is not None:
            how += ["--upload-file", "-"]
        sent = body if isinstance(body, bytes) else b"".join(body or ())
        head, _, content = place.curl(target, *how, body=sent).partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        version, status, _ = first.split(" ")
        assert version == "HTTP/2"
        fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        return Answer(int(status), fields, content)

    yield ask


@contextmanager
def h2_client(place: Place) -> Iterator[Client]:
    with place.connect() as client:

        def ask(method: str, target: str, body: bytes | Iterator[bytes] | None = None) -> Answer:
            stream = client.open(target, method=method, ends=body is None)
            if body is not None:
                for piece in [body] if isinstance(body, bytes) else body:
                    client.upload(stream, piece, ends=False)
                client.upload(stream, b"")
            answer = client.answer(stream)
            assert answer.ended
            return Answer(answer.status, answer.fields, bytes(answer.body))

        yield ask


CLIENTS: list[Callable[[Place], AbstractContextManager[Client]]] = [
    httpx_client,
    curl_client,
    h2_client,
]


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def ask(place: Place, request: pytest.FixtureRequest) -> Iterator[Client]:
    with request.param(place) as client:
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
    assert (head.status, head.body, head.all("content-length")) == (200, b"", ["5"])

    answer = ask("POST", "/echo", b"some body")
    assert (answer.status, answer.body, answer.all("x-method")) == (200, b"some body", ["POST"])
    assert answer.all("transfer-encoding") == answer.all("connection") == []

    answer = ask("PUT", "/echo", iter([b"one ", b"two ", LARGE]))
    assert answer.body == b"one two " + LARGE

    assert ask("POST", "/echo", b"").body == b""
    answer = ask("POST", "/digest", LARGE * 8)
    assert answer.body.decode() == hashlib.sha256(LARGE * 8).hexdigest()

    answer = ask("DELETE", "/nothing")
    assert (answer.status, answer.body, answer.all("content-length")) == (204, b"", [])

    answer = ask("GET", "/unchanged")
    assert (answer.status, answer.body, answer.all("etag")) == (304, b"", ['"1"'])

    answer = ask("GET", "/redirect")
    assert (answer.status, answer.all("location")) == (307, ["/"])

    assert ask("GET", "/missing").status == 404
    assert ask("POST", "/", b"no").status == 405
    assert ask("GET", "/file").body == Path(Site.__init__.__code__.co_filename).read_bytes()
    assert b"worker" in ask("GET", "/sync").body.lower()
    answer = ask("GET", "/url?b=1&a=%20&b=2")
    assert json.loads(answer.body) == ["/url", [["b", "1"], ["a", " "], ["b", "2"]]]
    assert ask("GET", "/").body == b"hello"


# Many at once


def test_a_hundred_requests_at_once_of_httpx(place: Place) -> None:
    bodies = [b"%d" % number * 100 for number in range(100)]

    async def test() -> None:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(**place.httpx_options(), limits=limits) as client:
            asked = [client.post("/echo", content=body) for body in bodies]
            responses = await asyncio.gather(*asked)
        assert [response.content for response in responses] == bodies

    asyncio.run(test())


def test_a_hundred_requests_at_once_of_the_library(place: Place) -> None:
    with place.connect() as client:
        streams = [client.open("/echo", method="POST", ends=False) for _ in range(100)]
        for stream in reversed(streams):
            client.upload(stream, b"%d" % stream * 300)
        for stream in streams:
            answer = client.answer(stream)
            assert (answer.status, bytes(answer.body)) == (200, b"%d" % stream * 300)


@pytest.mark.parametrize("window_bits", [16, 30])
def test_nghttp(place: Place, tmp_path: Path, window_bits: int) -> None:
    windows = [f"--window-bits={window_bits}", f"--connection-window-bits={window_bits}"]
    assert place.nghttp("/", *windows, "--multiply=100") == "hello" * 100
    (tmp_path / "body").write_bytes(LARGE)
    upload = [*windows, f"--data={tmp_path / 'body'}"]
    digest = hashlib.sha256(LARGE).hexdigest()
    for more in ([], ["--no-content-length"], ["--padding=200"], ["--trailer=x-a: b"]):
        assert place.nghttp("/digest", *upload, *more) == digest
    said = place.nghttp("/digest", *upload, "--verbose", "--expect-continue")
    assert said.index(":status: 100") < said.index("send DATA") < said.index(":status: 200")
    assert digest in said
    assert place.nghttp("/echo", *upload) == LARGE.decode("latin-1")


# Streams


def test_server_sent_events_arrive_one_by_one_at_curl(place: Place, site: Site) -> None:
    how = ["--silent", "--no-buffer", *place.curl_options(), f"{place.url}/stream"]
    command = [require_program("curl"), *how]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for number in range(5):
            assert process.stdout.readline() == f"data: {number}\n".encode()
            assert process.stdout.readline() == b"\n"
            site.go_on.release()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_server_sent_events_arrive_one_by_one_beside_others(place: Place, site: Site) -> None:
    with place.connect() as client:
        stream = client.open("/stream")
        for number in range(5):
            assert client.read_body(stream, 9) == f"data: {number}\n\n".encode()
            assert client.get("/").body == b"hello"
            site.go_on.release()
        assert client.answer(stream).body == b""


def test_a_client_that_leaves_closes_the_generator(place: Place, site: Site) -> None:
    with place.connect() as client:
        stream = client.open("/endless")
        assert client.read_body(stream, 5) == b"data\n"
        client.reset(stream)
        assert site.go_on.acquire(timeout=DEADLINE)
        assert site.events == ["startup", "generator closed"]
        assert client.get("/").body == b"hello"


def test_a_background_task_keeps_nobody_waiting(place: Place, site: Site) -> None:
    with place.connect() as client:
        answer = client.get("/background")
        assert (answer.status, bytes(answer.body)) == (202, b"accepted")
        assert client.get("/").body == b"hello"
        assert site.events == ["startup"]
        site.go_on.release()


def test_an_exception_is_the_end_of_nobody_else(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with place.connect() as client:
        waiting = client.open("/echo", method="POST", ends=False)
        assert client.get("/broken").status == 500
        client.upload(waiting, b"still here")
        assert client.answer(waiting).body == b"still here"
    (record,) = caplog.records
    assert record.name == "aserver.app"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
