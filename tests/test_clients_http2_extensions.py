"""What HTTP/2 has beside requests and responses: hints, trailers, cookies, priorities, an end."""

import hashlib
import itertools
import json
import queue
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from aserver.types import Receive, Scope, Send
from tests import test_clients_extensions
from tests.certificates import Authority
from tests.h2_clients import PRIORITY_UPDATE, H2Client
from tests.h2_places import MATRIX, Place, placed
from tests.processes import DEADLINE

MIB = 1 << 20
# What may be sent on a connection before anything is taken (RFC 9113 section 6.9.2).
WINDOW = 65_535


class Site:
    """The application; it tells the test when its clients leave."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.left: queue.SimpleQueue[float] = queue.SimpleQueue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await getattr(self, scope["path"][1:])(scope, receive, send)

    async def extensions(self, scope: Scope, receive: Receive, send: Send) -> None:
        await test_clients_extensions.app(scope, receive, send)

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Server-sent events: one, and then nothing until the client has left."""
        await receive()
        try:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            assert (await receive())["type"] == "http.disconnect"
        finally:  # a client that leaves at once is told by `send()`
            self.left.put(time.perf_counter())

    async def read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say how much came."""
        size = 0
        while (message := await receive())["more_body"]:
            size += len(message["body"])
        await self._answer(send, b"%d" % (size + len(message["body"])))

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer without a look at the body."""
        await self._answer(send, b"no", 403)

    async def scope(self, scope: Scope, receive: Receive, send: Send) -> None:
        facts = [scope["http_version"], scope["scheme"], "tls" in scope["extensions"]]
        headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
        await self._answer(send, json.dumps([facts, headers]).encode("ascii"))

    async def large(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(send, bytes(MIB))

    async def download(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": str(self.file)})

    async def _answer(self, send: Send, body: bytes, status: int = 200) -> None:
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "file")


@pytest.fixture(params=MATRIX)
def place(request: pytest.FixtureRequest, site: Site, authority: Authority) -> Iterator[Place]:
    with placed(site, authority, request.param, lifespan="off") as place:
        yield place


@pytest.fixture
def client(place: Place) -> Iterator[H2Client]:
    with place.connect(window=2 * MIB) as client:
        yield client


# Extensions


def test_hints_and_trailers(client: H2Client) -> None:
    answer = client.get("/extensions", ("te", "trailers"))
    hint = [(":status", "103"), ("link", "</a.css>"), ("link", "</b.css>")]
    assert answer.hints == [hint, hint]
    assert bytes(answer.body) == b"hello, world"
    digest = hashlib.sha256(answer.body).hexdigest()
    tls = "tls " if client.scheme == "https" else ""
    names = f"early_hint pathsend {tls}trailers zerocopysend"
    assert answer.trailers == [("x-digest", digest), ("x-extensions", names)]


def test_hints_and_trailers_at_nghttp(place: Place) -> None:
    said = place.nghttp("/extensions", "--verbose", "--header=te: trailers")
    order = [":status: 103", "link: </b.css>", ":status: 200", "hello, ", "x-digest: "]
    found = [said.index(each) for each in order]
    assert found == sorted(found)


def test_hints_and_trailers_at_curl(place: Place) -> None:
    said = place.curl("/extensions", "--include", "--header", "TE: trailers").decode("ascii")
    assert said.count("HTTP/2 103 \r\nlink: </a.css>\r\nlink: </b.css>\r\n\r\n") == 2
    head, _, trailers = said.partition("hello, world")
    assert "x-digest: " not in head
    assert "x-digest: " in trailers


def test_a_file(client: H2Client, site: Site) -> None:
    content = bytes(range(256)) * 20_001  # no multiple of any frame's size
    site.file.write_bytes(content)
    beside = client.open("/large")
    answer = client.get("/download")
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(content).digest()
    assert len(client.answer(beside).body) == MIB


def test_a_small_window_costs_no_delay(client: H2Client) -> None:
    """The last bytes of each are a small piece, with which Nagle's algorithm would wait."""

    def duration() -> float:
        started = time.perf_counter()
        assert len(client.get("/large").body) == MIB
        return time.perf_counter() - started

    # It would wait for 40 ms behind each of 16 windows.
    assert min(duration() for _ in range(4)) < 0.4


# Leaving


def test_who_leaves_a_stream_is_missed_at_once(client: H2Client, site: Site) -> None:
    staying, leaving = client.open("/events"), client.open("/events")
    for stream in (staying, leaving):
        assert client.read_body(stream, 9) == b"data: 1\n\n"
    started = time.perf_counter()
    client.reset(leaving)
    assert site.left.get(timeout=DEADLINE) - started < 0.1
    assert client.get("/refuse").status == 403
    assert site.left.empty()
    client.reset(staying)
    site.left.get(timeout=DEADLINE)


def test_who_leaves_the_connection_is_missed_at_once(place: Place, site: Site) -> None:
    with place.connect() as client:
        streams = [client.open("/events") for _ in range(3)]
        for stream in streams:
            assert client.read_body(stream, 9) == b"data: 1\n\n"
        started = time.perf_counter()
        client.sock.close()
        for _ in streams:
            assert site.left.get(timeout=DEADLINE) - started < 0.1


def test_who_leaves_with_httpx_is_missed_at_once(place: Place, site: Site) -> None:
    client = httpx.Client(**place.httpx_options())
    with client.stream("GET", "/events") as response:
        assert next(response.iter_raw()) == b"data: 1\n\n"
        client.close()  # it does not reset a stream
        started = time.perf_counter()
        assert site.left.get(timeout=DEADLINE) - started < 0.1


# Requests


def test_a_body_that_is_awaited_is_asked_for(client: H2Client) -> None:
    expects = ("expect", "100-continue")
    stream = client.open("/read", expects, method="POST", ends=False)
    answer = client.answers[stream]
    while not answer.hints:
        client.read()
    assert answer.hints == [[(":status", "100")]]
    client.upload(stream, bytes(100_000))
    assert bytes(client.answer(stream).body) == b"100000"


def test_a_body_that_nobody_wants_is_not_asked_for(client: H2Client) -> None:
    expects = ("expect", "100-continue")
    stream = client.open("/refuse", expects, method="POST", ends=False)
    answer = client.answer(stream)
    assert (answer.status, answer.hints, answer.ended) == (403, [], True)
    assert client.get("/refuse").status == 403


def test_a_large_body_that_nobody_wants_is_cut_short_without_an_error(client: H2Client) -> None:
    stream = client.open("/refuse", method="POST", ends=False)
    answer = client.answers[stream]
    sent = 0
    while answer.reset is None:
        sent += client.upload_as_much_as_goes(stream)
        client.read()
    assert (answer.status, bytes(answer.body), answer.ended) == (403, b"no", True)
    assert answer.reset == 0  # NO_ERROR (RFC 9113 section 8.1)
    assert sent < MIB
    assert client.get("/refuse").status == 403


def test_cookies_in_crumbs_are_one(client: H2Client) -> None:
    crumbs = [("cookie", "a=1"), ("x-between", "b"), ("cookie", "c=2"), ("cookie", "d=3")]
    facts, headers = json.loads(client.get("/scope", *crumbs).body)
    assert facts == ["2", client.scheme, client.scheme == "https"]
    assert headers[0] == ["host", "test"]
    assert [value for name, value in headers if name == "cookie"] == ["a=1; c=2; d=3"]


def test_cookies_of_clients(place: Place) -> None:
    jar = {"a": "1", "b": "2"}
    with httpx.Client(**place.httpx_options(), cookies=jar) as client:
        _, headers = client.get("/scope").json()
    assert ["cookie", "a=1; b=2"] in headers
    _, headers = json.loads(place.curl("/scope", "--cookie", "a=1; b=2"))
    assert ["cookie", "a=1; b=2"] in headers


# Priorities


def open_together(client: H2Client, *priorities: str) -> list[int]:
    """Requests for something large, in one piece; the server has begun with each when it is read.

    Nothing is taken meanwhile, so that what is sent next is a matter of who comes first.
    """
    client.takes = False
    streams = []
    for priority in priorities:
        fields = [("priority", priority)] if priority else []
        streams.append(client.open("/large", *fields))
    while sum(size for _, size in client.order) < WINDOW or len(client.answers) < len(streams):
        client.read()
    client.order.clear()
    return streams


def read_all(client: H2Client, streams: list[int]) -> list[int]:
    """Take everything; returns the streams in the order of their frames, each run of them once."""
    client.takes = True
    client.connection.increment_flow_control_window(WINDOW)
    client.flush()
    for stream in streams:
        assert len(client.answer(stream).body) == MIB
    return [stream for stream, _ in itertools.groupby(stream for stream, _ in client.order)]


def test_the_more_urgent_come_first(client: H2Client) -> None:
    later, sooner, last = streams = open_together(client, "u=5", "u=1", "u=7, i")
    assert read_all(client, streams) == [sooner, later, last]


def test_one_after_the_other_for_who_knows_of_priorities(client: H2Client) -> None:
    streams = open_together(client, "u=3", "u=3", "u=3")
    assert read_all(client, streams) == streams


@pytest.mark.parametrize("priority", ["", "i"])
def test_turns_for_who_does_not_and_for_what_is_of_use_in_parts(
    client: H2Client, priority: str
) -> None:
    streams = open_together(client, priority, priority, priority)
    assert len(read_all(client, streams)) > 3 * 10
    # When the first is complete, the others nearly are.
    sent = Counter[int]()
    for stream, size in client.order:
        sent[stream] += size
        if sent[stream] > MIB - WINDOW:
            break
    assert min(sent[each] for each in streams) > MIB // 2


def test_a_client_may_change_its_mind(client: H2Client) -> None:
    first, second = streams = open_together(client, "u=1", "u=3")
    client.raw(PRIORITY_UPDATE, 0, 0, second.to_bytes(4, "big") + b"u=0")
    assert read_all(client, streams) == [second, first]


def test_a_wish_for_a_stream_that_is_still_to_come(client: H2Client) -> None:
    number = client.connection.get_next_available_stream_id() + 2
    client.raw(PRIORITY_UPDATE, 0, 0, number.to_bytes(4, "big") + b"u=0")
    first, second = streams = open_together(client, "u=1", "u=6")
    assert second == number
    assert read_all(client, streams) == [second, first]
