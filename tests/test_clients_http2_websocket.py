"""WebSockets over HTTP/2 (RFC 8441), with the h2 library and wsproto as the client."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator

import pytest
from wsproto import events as frames

from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.certificates import Authority
from tests.h2_clients import H2Client, connect
from tests.h2_places import MATRIX, Place, placed
from tests.h2_ws_clients import H2WebSocket, Refused
from tests.processes import wait_until
from tests.ws_clients import BINARY, CONTINUATION, TEXT, frame
from tests.ws_site import DENIAL, Site, digest_of

MIB = 1 << 20
# Of 1, 2, 3 and 4 bytes in UTF-8.
SAMPLE = "a\u00e9\u2603\U0001f600"
LARGE = bytes(range(256)) * (MIB // 256)
CANCEL, PROTOCOL_ERROR = 8, 1


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    assert not site.has_disconnects()


@pytest.fixture(params=MATRIX)
def place(request: pytest.FixtureRequest, site: Site, authority: Authority) -> Iterator[Place]:
    options = {"websocket_max_message_size": 2 * MIB, "websocket_max_fragments": 10}
    with placed(site, authority, request.param, **options) as place:
        yield place


@pytest.fixture
def client(place: Place) -> Iterator[H2Client]:
    with place.connect() as client:
        client.read_settings()
        yield client


# Messages


@pytest.mark.parametrize("deflate", [True, False], ids=["deflate", "plain"])
def test_messages(client: H2Client, site: Site, deflate: bool) -> None:
    socket = H2WebSocket(client, "/echo", deflate=deflate)
    for message in ("", SAMPLE, "e" * 126, SAMPLE * (MIB // 10), b"", b"\xff", LARGE):
        if isinstance(message, str):
            socket.send(frames.TextMessage(message))
        else:
            socket.send(frames.BytesMessage(message))
        assert socket.message() == message
    halves = [frames.TextMessage(SAMPLE, message_finished=last) for last in (False, True)]
    socket.send(*halves)
    assert socket.message() == SAMPLE * 2
    socket.send(frames.Ping(b"are you there?"))
    assert socket.next() == frames.Pong(b"are you there?")
    socket.close()
    assert site.next_disconnect() == (1000, "")


@pytest.mark.parametrize("deflate", [True, False], ids=["deflate", "plain"])
def test_messages_in_front_of_the_end_are_not_lost(loop_name: str, deflate: bool) -> None:
    """A proxy ends the stream when its own client, who was sending, has left."""
    begin = threading.Event()
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/slow":
            await asyncio.to_thread(begin.wait)
        while (message := await receive())["type"] == "websocket.receive":
            heard.append(message["text"])
        heard.append(message["code"])

    texts = [f"{number}".rjust(400, "-") for number in range(100)]
    with (
        serve(app, lifespan="off", loop=loop_name) as server,
        connect((server.host, server.port)) as client,
    ):
        socket = H2WebSocket(client, "/slow", deflate=deflate)
        socket.send(*map(frames.TextMessage, texts), frames.CloseConnection(1000))
        client.upload(socket.stream, b"")
        other = H2WebSocket(client, "/other")  # so everything before has arrived
        begin.set()
        wait_until(lambda: len(heard) > len(texts))
        assert heard == [*texts, 1000]
        other.close()


def test_a_ping_that_comes_while_another_stream_fills_the_connection(loop_name: str) -> None:
    """It is answered when there is room, though its own stream has never waited for that."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": bytes(32 * MIB)})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "heard"})

    with (
        serve(app, lifespan="off", loop=loop_name) as server,
        connect((server.host, server.port), window=64 * MIB) as client,
    ):
        client.connection.increment_flow_control_window(64 * MIB)
        talk = H2WebSocket(client, "/")
        talk.text("a")
        assert talk.message() == "heard"
        large = client.open("/")
        client.read_head(large)  # the rest fills what there is between us
        talk.send(frames.Ping(b"are you there?"))
        assert len(client.answer(large).body) == 32 * MIB
        assert talk.next() == frames.Pong(b"are you there?")
        talk.close()


def test_messages_are_compressed(client: H2Client, site: Site) -> None:
    socket = H2WebSocket(client, "/echo", deflate=True)
    client.order.clear()
    socket.send(frames.BytesMessage(bytes(MIB)))
    assert socket.message() == bytes(MIB)
    assert sum(size for _, size in client.order) < 10_000
    socket.close()
    assert site.next_disconnect() == (1000, "")


def test_messages_byte_by_byte(client: H2Client, site: Site) -> None:
    socket = H2WebSocket(client, "/digest")
    message = frame(TEXT, SAMPLE.encode("utf-8"))
    for number in range(len(message)):
        socket.send_raw(message[number : number + 1])
    assert socket.message() == digest_of(SAMPLE)
    socket.close()
    assert site.next_disconnect() == (1000, "")


def test_messages_before_it_is_accepted(client: H2Client, site: Site) -> None:
    """A client may not wait for the answer; it is known that there will be one."""
    fields = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
    stream = client.open("/echo", *fields, method="CONNECT", ends=False)
    client.upload(stream, frame(TEXT, b"early"), ends=False)
    assert client.read_head(stream).status == 200
    assert client.read_body(stream, 7) == b"\x81\x05early"
    client.reset(stream)
    assert site.next_disconnect() == (1006, "")


def test_what_the_application_is_told(client: H2Client, site: Site) -> None:
    fields = [("origin", "https://a.test"), ("sec-websocket-protocol", "mine, yours")]
    socket = H2WebSocket(client, "/speak?yours", *fields, ("cookie", "a=1"), ("cookie", "b=2"))
    assert socket.answer.all("sec-websocket-protocol") == ["yours"]
    assert socket.answer.all("set-cookie") == ["first=1", "second=2"]
    names = {name for name, _ in socket.answer.fields}
    assert not names & {"sec-websocket-accept", "connection", "upgrade", "content-length"}
    scope = site.next_scope()
    assert (scope["type"], scope["http_version"]) == ("websocket", "2")
    assert scope["scheme"] == ("wss" if client.scheme == "https" else "ws")
    assert ("tls" in scope["extensions"]) == (client.scheme == "https")
    assert (scope["path"], scope["query_string"]) == ("/speak", b"yours")
    assert scope["subprotocols"] == ["mine", "yours"]
    assert scope["headers"][0] == (b"host", b"test")
    assert (b"cookie", b"a=1; b=2") in scope["headers"]
    assert (b"origin", b"https://a.test") in scope["headers"]
    assert not any(name.startswith(b":") for name, _ in scope["headers"])
    socket.close()
    assert site.next_disconnect() == (1000, "")


# The end


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_client_closes(client: H2Client, site: Site, code: int) -> None:
    socket = H2WebSocket(client, "/echo")
    socket.send(frames.CloseConnection(code, "for a reason"))
    assert socket.closed() == (code, "")
    assert socket.next() is None
    assert (socket.answer.ended, socket.answer.reset) == (True, None)
    assert site.next_disconnect() == (code, "for a reason")
    assert client.get("/").body == b"plain"


def test_the_application_closes(client: H2Client, site: Site) -> None:
    socket = H2WebSocket(client, "/close?code=4001&reason=enough")
    assert socket.closed() == (4001, "enough")
    socket.send(frames.CloseConnection(4001, "enough"))
    assert socket.next() is None
    assert site.next_disconnect() == (4001, "enough")
    assert client.get("/").body == b"plain"


@pytest.mark.parametrize(("path", "code"), [("/leave", 1000), ("/break", 1011)])
def test_the_application_ends(
    client: H2Client, caplog: pytest.LogCaptureFixture, path: str, code: int
) -> None:
    socket = H2WebSocket(client, path)
    assert socket.message() == "bye"
    assert socket.closed()[0] == code
    socket.send(frames.CloseConnection(code))
    assert socket.next() is None
    assert [record.name for record in caplog.records] == ["aserver.app"] * (code == 1011)


def test_who_leaves_without_a_word(client: H2Client, site: Site) -> None:
    reset, ended = (H2WebSocket(client, "/echo") for _ in range(2))
    client.reset(reset.stream)
    assert site.next_disconnect() == (1006, "")
    client.upload(ended.stream, b"")
    assert site.next_disconnect() == (1006, "")
    assert client.answer(ended.stream).is_over
    H2WebSocket(client, "/echo")
    client.sock.close()
    assert site.next_disconnect() == (1006, "")


# Limits

TOO_LARGE = frame(BINARY, bytes(2 * MIB + 1))
FRAGMENTS = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"a", fin=False) * 10


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (TOO_LARGE, 1009),
        (FRAGMENTS, 1009),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"a")[:1] + b"\x01a", 1002),  # not masked
        (frame(CONTINUATION, b"a"), 1002),
    ],
    ids=["too large", "too many fragments", "no UTF-8", "not masked", "nothing to continue"],
)
def test_mistakes_end_a_websocket_and_nothing_else(
    client: H2Client, site: Site, data: bytes, code: int
) -> None:
    beside = H2WebSocket(client, "/echo")
    socket = H2WebSocket(client, "/echo")
    socket.send_raw(data)
    assert socket.closed()[0] == code
    assert site.next_disconnect()[0] == code
    beside.text("still here")
    assert beside.message() == "still here"
    beside.close()
    assert site.next_disconnect() == (1000, "")
    assert client.goaways == []


# Refusals


def test_a_denial_has_a_body(client: H2Client, site: Site) -> None:
    with pytest.raises(Refused) as refused:
        H2WebSocket(client, "/deny")
    answer = refused.value.answer
    assert (answer.status, json.loads(answer.body), answer.ended) == (401, DENIAL, True)
    assert answer.all("www-authenticate") == ["Basic"]
    assert site.next_disconnect()[0] == 1006
    assert client.get("/").body == b"plain"


def test_a_refusal_is_a_403(client: H2Client, site: Site) -> None:
    with pytest.raises(Refused) as refused:
        H2WebSocket(client, "/refuse")
    assert (refused.value.answer.status, refused.value.answer.ended) == (403, True)
    assert site.next_disconnect()[0] == 1006


def test_a_subprotocol_that_was_not_offered_is_left_out_and_in_the_log(
    client: H2Client, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    socket = H2WebSocket(client, "/wrong", ("sec-websocket-protocol", "a"))
    assert socket.answer.all("sec-websocket-protocol") == []
    socket.close()
    assert site.next_disconnect() == (1000, "")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("aserver.app", logging.WARNING)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":protocol", "websocket")], 400),
        ([(":protocol", "websocket"), ("sec-websocket-version", "12")], 426),
        ([(":protocol", "connect-udp")], 501),
    ],
)
def test_what_is_no_handshake(client: H2Client, fields: list[tuple[str, str]], status: int) -> None:
    stream = client.open("/echo", *fields, method="CONNECT", ends=False)
    answer = client.read_head(stream)
    assert answer.status == status
    client.answer(stream)
    assert client.get("/").body == b"plain"


# Many


def test_many_websockets_beside_requests(client: H2Client, site: Site) -> None:
    sockets = [H2WebSocket(client, "/echo", deflate=number % 2 > 0) for number in range(60)]
    for turn in range(3):
        asked = [client.open("/") for _ in range(30)]
        for number, socket in enumerate(sockets):
            socket.text(f"{turn} {number} {SAMPLE}")
        for number, socket in reversed(list(enumerate(sockets))):
            assert socket.message() == f"{turn} {number} {SAMPLE}"
        for stream in asked:
            assert client.answer(stream).body == b"plain"
    for socket in sockets:
        socket.close()
        assert site.next_disconnect() == (1000, "")


def test_one_that_does_not_read_is_in_nobodys_way(place: Place, site: Site) -> None:
    with connect_with_room(place) as client:
        full = H2WebSocket(client, "/echo")
        client.takes = False
        # It sends as much back as its stream may; then its own sending is held up.
        message = frame(BINARY, bytes(60_000))
        for _ in range(20):
            if client.room(full.stream) < len(message):
                break
            full.send_raw(message)
        other = H2WebSocket(client, "/echo")
        for number in range(10):
            other.text(f"{number}")
            assert other.message() == f"{number}"
        assert client.get("/").body == b"plain"
        client.sock.close()
    assert [site.next_disconnect(), site.next_disconnect()] == [(1006, "")] * 2


def connect_with_room(place: Place) -> H2Client:
    """The connection's own window is in nobody's way."""
    client = place.connect()
    client.connection.increment_flow_control_window(16 * MIB)
    client.flush()
    client.read_settings()
    return client
