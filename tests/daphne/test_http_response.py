"""Responses as the clients of Daphne's applications get them, and what `send()` says of mistakes.

As its tests have it: heads and bodies of every kind go through unchanged, and a wrong message is a
`ValueError` where it is sent.
"""

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.testing import serve
from aserver.types import Message
from tests.daphne.recorder import BODY, FEW, START, Answer, Recorder, ask
from tests.processes import DEADLINE, read_all

# What the server adds: `date` on purpose, the others as Daphne does.
ADDED = {"date", "server", "content-length", "transfer-encoding"}
END: Message = {"type": "http.response.body"}


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def server(recorder: Recorder) -> Iterator[serve]:
    with serve(recorder) as server:
        yield server


def answer_of(server: serve, recorder: Recorder, *says: Message) -> Answer:
    """What a client gets of these messages, none of which is refused."""
    recorder.says = says
    answer = ask(server)
    assert recorder.next().raised is None
    return answer


def parts(*bodies: bytes) -> list[Message]:
    """The messages of a body in so many parts."""
    more = [True] * (len(bodies) - 1) + [False]
    return [
        {"type": "http.response.body", "body": body, "more_body": each}
        for body, each in zip(bodies, more, strict=True)
    ]


# What goes through


def test_the_simplest_response(server: serve, recorder: Recorder) -> None:
    answer = answer_of(server, recorder, START, BODY)
    assert (answer.status, answer.body) == (200, b"hello")
    headers = dict(answer.headers)
    assert headers.keys() == {"date", "server", "content-length"}
    assert headers["server"] == "aserver"


@pytest.mark.parametrize(("name", "headers"), [("daphne", {"server": "daphne"}), ("", {})])
def test_the_name_of_the_server(recorder: Recorder, name: str, headers: dict[str, str]) -> None:
    with serve(recorder, server_name=name) as server:
        answer = answer_of(server, recorder, START, BODY)
    assert headers == {name: value for name, value in answer.headers if name == "server"}


@pytest.mark.parametrize("status", [201, 202, 301, 404, 418, 422, 500, 599])
def test_a_status(server: serve, recorder: Recorder, status: int) -> None:
    answer = answer_of(server, recorder, {**START, "status": status}, BODY)
    assert (answer.status, answer.body) == (status, b"hello")


def test_a_body_without_a_body(server: serve, recorder: Recorder) -> None:
    assert answer_of(server, recorder, START, END).body == b""


@pytest.mark.parametrize(
    "bodies", [(b"a", b"b", b"c"), (b"a", b"b", b""), (b"", b"a"), (b"", b"", b"")]
)
def test_a_body_in_parts(server: serve, recorder: Recorder, bodies: tuple[bytes, ...]) -> None:
    answer = answer_of(server, recorder, START, *parts(*bodies))
    assert answer.body == b"".join(bodies)
    assert ("transfer-encoding", "chunked") in answer.headers


@FEW
@given(bodies=st.lists(st.binary(max_size=1500), min_size=1, max_size=5))
def test_any_body(server: serve, recorder: Recorder, bodies: list[bytes]) -> None:
    assert answer_of(server, recorder, START, *parts(*bodies)).body == b"".join(bodies)


NAMES = st.text("!#$%&'*+-.^_`|~0123456789ABCabc", max_size=20).map(lambda name: f"X-{name}")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100)


@FEW
@given(headers=st.lists(st.tuples(NAMES, VALUES.map(str.strip)), max_size=50))
def test_any_headers(server: serve, recorder: Recorder, headers: list[tuple[str, str]]) -> None:
    said = [[name.encode(), value.encode()] for name, value in headers]
    answer = answer_of(server, recorder, {**START, "headers": said}, BODY)
    assert [pair for pair in answer.headers if pair[0] not in ADDED] == headers


def test_what_follows_the_end_is_ignored(server: serve, recorder: Recorder) -> None:
    assert answer_of(server, recorder, START, BODY, BODY, END).body == b"hello"


# What does not


TEXT_AS_NAME: Message = {**START, "headers": [("foo", b"bar")]}
TEXT_AS_VALUE: Message = {**START, "headers": [(b"foo", "bar")]}
NAME = "Header name 'foo' expected to be `bytes`, but got `<class 'str'>`"
VALUE = "Header value 'bar' expected to be `bytes`, but got `<class 'str'>`"


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ([{"type": "http.response.start"}], "http.response.start must have a 'status'"),
        ([TEXT_AS_NAME], NAME),
        ([TEXT_AS_VALUE], VALUE),
        ([BODY], "the message 'http.response.body' is not allowed now: .*"),
        ([START, START], "the message 'http.response.start' is not allowed now: .*"),
        ([{"type": "http.response.stop"}], "the message 'http.response.stop' is not .*"),
        ([{"status": 200}], "a message must have a 'type'"),
    ],
)
def test_a_wrong_message(
    server: serve, recorder: Recorder, says: Sequence[Message], message: str
) -> None:
    recorder.says = says
    assert ask(server).status == 500
    with pytest.raises(ValueError, match=f"^{message}$"):
        raise recorder.next().raised or AssertionError("it was taken")


def test_text_for_a_header_to_a_client_of_http_1_0(server: serve, recorder: Recorder) -> None:
    recorder.says = [TEXT_AS_NAME, BODY]
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.0 500 Internal Server Error\r\n")
    assert str(recorder.next().raised) == NAME


def test_an_application_that_catches_the_error_may_do_better() -> None:
    """On purpose: to Daphne it is over, and the client has its 500."""

    async def careful(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        with pytest.raises(ValueError):
            await send(TEXT_AS_VALUE)
        await send(START)
        await send(BODY)

    with serve(careful) as server:
        assert ask(server).body == b"hello"
