"""How streams of HTTP/2 end, as the documentation has it, tried over sockets."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from aserver.engines.h2_frames import ErrorCode
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.h2_clients import GOAWAY, H2Client, connect
from tests.processes import wait_until
from tests.test_docs import table, tables, text_of


class Site:
    """An application that does what the path says, and notes what it hears by path."""

    def __init__(self) -> None:
        self.listening: list[str] = []
        self.heard: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/raise":
            raise RuntimeError("as it is told")
        if path in ("/begin", "/begin-and-raise"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        if path == "/begin-and-raise":
            raise RuntimeError("as it is told")
        # Not before it has sent: whoever leaves during send() is told so by an exception there.
        self.listening.append(path)
        while (message := await receive())["type"] == "http.request":
            if not message["more_body"] and path == "/answer":
                break
        self.heard[path] = message["type"]
        headers = [(b"connection", b"close"), (b"keep-alive", b"timeout=5"), (b"x", b"y")]
        if path == "/answer":
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"answered"})

    def hears(self, path: str) -> str:
        """What it has heard there last, once it has."""
        wait_until(lambda: path in self.heard)
        self.listening.remove(path)
        return self.heard.pop(path)


@pytest.fixture
def site() -> Site:
    return Site()


def opened(site: Site, client: H2Client, path: str, *fields: tuple[str, str]) -> int:
    """A request whose body is still to come, once the application listens."""
    stream = client.open(path, *fields, method="POST", ends=False)
    wait_until(lambda: path in site.listening)
    return stream


def still_answers(client: H2Client) -> bool:
    """Whether the neighbours of a stream go on."""
    return bytes(client.get("/answer").body) == b"answered"


# What an application sees


def test_what_an_application_sees(site: Site) -> None:
    rows = {row[0]: row for row in table(text_of("topics", "http2.md"), "", "HTTP/1.1", "HTTP/2")}
    with serve(site, lifespan="off") as server, connect((server.host, server.port)) as client:
        answer = client.get("/answer")
        connection = "`connection`, `keep-alive`, `upgrade` and their like in a response"
        assert rows[connection][2].startswith("left out")
        assert not answer.all("connection")
        assert not answer.all("keep-alive")
        assert answer.all("x") == ["y"]

        raised = client.get("/raise")
        described = rows["an exception, before the response has begun"][2]
        assert described == f"{raised.status}, and the other streams go on"
        assert raised.ended

        broken = client.get("/begin-and-raise")
        assert broken.reset is not None
        name = ErrorCode(broken.reset).name
        assert rows["the same, behind its beginning"][2] == f"RST_STREAM with {name}"
        assert still_answers(client)


# Clients that leave

Act = Callable[[Site, H2Client], None]


def reset(site: Site, client: H2Client) -> None:
    client.reset(opened(site, client, "/wait"))


def reset_behind_the_beginning(site: Site, client: H2Client) -> None:
    stream = opened(site, client, "/begin")
    client.read_head(stream)
    client.reset(stream)


def end_too_early(site: Site, client: H2Client) -> None:
    stream = opened(site, client, "/wait", ("content-length", "5"))
    client.upload(stream, b"abc")
    answer = client.answer(stream)
    assert (answer.status, answer.reset) == (400, ErrorCode.PROTOCOL_ERROR)


def send_too_much(site: Site, client: H2Client) -> None:
    stream = opened(site, client, "/wait")
    client.upload(stream, bytes(200), ends=False)
    assert client.answer(stream).status == 413


def send_too_much_behind_the_beginning(site: Site, client: H2Client) -> None:
    stream = opened(site, client, "/begin")
    client.read_head(stream)
    client.upload(stream, bytes(200), ends=False)
    answer = client.answer(stream)
    assert (answer.status, answer.ended) == (200, False)


def say_goodbye(site: Site, client: H2Client) -> None:
    stream = opened(site, client, "/answer")
    client.raw(GOAWAY, 0, 0, bytes(8))
    client.upload(stream, b"x")
    assert bytes(client.answer(stream).body) == b"answered"
    client.read_until_closed()


# By the first two columns: what the client does, and where the application hears that it has left.
LEAVING: dict[tuple[str, str], list[tuple[Act, str | None]]] = {
    ("resets the stream", "at any time"): [
        (reset, "/wait"),
        (reset_behind_the_beginning, "/begin"),
    ],
    ("ends the stream with fewer bytes than its content-length says", "in its request"): [
        (end_too_early, "/wait")
    ],
    (
        "sends a body that is malformed, too large or too slow",
        "before the response has begun",
    ): [(send_too_much, "/wait")],
    ("sends such a body", "while the response is being sent"): [
        (send_too_much_behind_the_beginning, "/begin")
    ],
    ("sends GOAWAY", "at any time"): [(say_goodbye, None)],
}


def described() -> list[tuple[str, str, str]]:
    page = text_of("topics", "disconnects.md").partition("\n### Over HTTP/2\n")[2]
    (rows,) = (rows[1:] for rows in tables(page))
    return [(row[0], row[1], row[2]) for row in rows]


def test_every_way_to_leave_is_tried() -> None:
    assert [(row[0], row[1]) for row in described()] == list(LEAVING)


@pytest.mark.parametrize(("what", "when", "means"), described())
def test_ways_to_leave(what: str, when: str, means: str, site: Site) -> None:
    options: dict[str, Any] = {"max_body_size": 100, "lifespan": "off"}
    for act, path in LEAVING[what, when]:
        with serve(site, **options) as server, connect((server.host, server.port)) as client:
            act(site, client)
            if path is None:
                assert means.endswith("then the connection is closed")
                continue
            assert site.hears(path) == "http.disconnect"
            assert still_answers(client)


def test_who_closes_its_side_has_left(site: Site) -> None:
    with serve(site, lifespan="off") as server, connect((server.host, server.port)) as client:
        opened(site, client, "/wait")
        opened(site, client, "/begin")
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: site.heard.keys() == {"/wait", "/begin"})
        assert set(site.heard.values()) == {"http.disconnect"}
