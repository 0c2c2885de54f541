"""WebSocket clients that others wrote, as oracles: messages, pings, handshakes."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import pytest
from websockets.asyncio.client import ClientConnection as AsyncioConnection
from websockets.sync.client import ClientConnection
from websockets.typing import Origin, Subprotocol
from wsproto import events
from wsproto.extensions import Extension, PerMessageDeflate

from aserver.testing import serve
from tests.processes import DEADLINE
from tests.ws_clients import (
    PING,
    PONG,
    TEXT,
    Peer,
    WsprotoClient,
    close_frame,
    connect,
    connect_in_loop,
    connected,
    frame,
)
from tests.ws_site import Site

MIB = 1 << 20
# Of 1, 2, 3 and 4 bytes in UTF-8.
SAMPLE = "a\u00e9\u2603\U0001f600"
LONG = SAMPLE * (MIB // 10)
LARGE = bytes(range(256)) * (MIB // 256)

Message = str | bytes


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def server(site: Site, loop_name: str) -> Iterator[serve]:
    with serve(site, loop=loop_name) as server:
        yield server
    assert not site.has_disconnects()


# The clients


class Conversation(Protocol):
    """An open WebSocket, from the client's side."""

    def send(self, message: Message | Iterable[str] | Iterable[bytes]) -> None:
        """Send a message, or its fragments."""

    def receive(self) -> Message: ...

    def ping(self, payload: bytes) -> None:
        """Send a ping, and wait for its pong."""

    def close(self) -> None:
        """Close with 1000."""


Client = Callable[..., AbstractContextManager[Conversation]]


class WebsocketsConversation:
    """websockets, in threads."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.send = connection.send
        self.close = connection.close

    def receive(self) -> Message:
        return self._connection.recv(DEADLINE)

    def ping(self, payload: bytes) -> None:
        assert self._connection.ping(payload).wait(DEADLINE)


@contextmanager
def websockets_client(server: serve, path: str, *, deflate: bool = True) -> Iterator[Conversation]:
    compression = "deflate" if deflate else None
    with connect(server, path, max_size=None, compression=compression) as connection:
        yield WebsocketsConversation(connection)


class AsyncioConversation:
    """websockets, in an event loop."""

    def __init__(self, runner: asyncio.Runner, connection: AsyncioConnection) -> None:
        self._runner = runner
        self._connection = connection

    def send(self, message: Message | Iterable[str] | Iterable[bytes]) -> None:
        self._runner.run(self._connection.send(message))

    def receive(self) -> Message:
        return self._runner.run(asyncio.wait_for(self._connection.recv(), DEADLINE))

    def ping(self, payload: bytes) -> None:
        async def ping_pong() -> None:
            await asyncio.wait_for(await self._connection.ping(payload), DEADLINE)

        self._runner.run(ping_pong())

    def close(self) -> None:
        self._runner.run(self._connection.close())


@contextmanager
def asyncio_client(server: serve, path: str, *, deflate: bool = True) -> Iterator[Conversation]:
    compression = "deflate" if deflate else None
    with asyncio.Runner() as runner:
        connection = runner.run(
            connect_in_loop(server, path, max_size=None, compression=compression)
        )
        yield AsyncioConversation(runner, connection)
        runner.run(connection.close())


class WsprotoConversation:
    """wsproto, which checks what it gets."""

    def __init__(self, client: WsprotoClient) -> None:
        self._client = client
        self._events = client.events()

    def send(self, message: Message | Iterable[str] | Iterable[bytes]) -> None:
        pieces: list[Any] = [message] if isinstance(message, str | bytes) else list(message)
        for number, piece in enumerate(pieces, 1):
            last = number == len(pieces)
            if isinstance(piece, str):
                self._client.send(events.TextMessage(piece, message_finished=last))
            else:
                self._client.send(events.BytesMessage(piece, message_finished=last))

    def receive(self) -> Message:
        pieces: list[Any] = []
        while True:
            event = next(self._events)
            assert isinstance(event, events.TextMessage | events.BytesMessage), event
            pieces.append(event.data)
            if event.message_finished:
                joined: Message = pieces[0][:0].join(pieces)
                return joined

    def ping(self, payload: bytes) -> None:
        self._client.send(events.Ping(payload))
        pong = next(self._events)
        assert isinstance(pong, events.Pong)
        assert pong.payload == payload

    def close(self) -> None:
        self._client.send(events.CloseConnection(1000))
        answer = next(self._events)
        assert isinstance(answer, events.CloseConnection)
        assert (answer.code, answer.reason) == (1000, "")
        assert list(self._events) == []


@contextmanager
def wsproto_client(server: serve, path: str, *, deflate: bool = True) -> Iterator[Conversation]:
    with connected(server.host, server.port) as sock:
        client = WsprotoClient(sock)
        extensions: list[Extension] = [PerMessageDeflate()] if deflate else []
        answer = client.open(path, subprotocols=[], extensions=extensions)
        assert isinstance(answer, events.AcceptConnection), answer
        assert len(answer.extensions) == deflate
        conversation = WsprotoConversation(client)
        yield conversation
        conversation.close()


CLIENTS = [websockets_client, asyncio_client, wsproto_client]


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(request: pytest.FixtureRequest) -> Client:
    made: Client = request.param
    return made


# Messages


@pytest.mark.parametrize("deflate", [True, False], ids=["deflate", "plain"])
def test_every_client_gets_back_every_kind_of_message(
    client: Client, server: serve, site: Site, deflate: bool
) -> None:
    with client(server, "/echo", deflate=deflate) as conversation:
        messages: list[Message] = ["", b""]
        for message in [
            *messages,
            "hello",
            b"\x00\xff",
            SAMPLE,
            "x" * 125,
            b"x" * 126,
            b"y" * 65536,
        ]:
            conversation.send(message)
            assert conversation.receive() == message
        conversation.ping(b"are you there?")
        for long in (LONG, LARGE):
            conversation.send(long)
            assert conversation.receive() == long
        conversation.send(["one ", "two ", SAMPLE, "", "three"])
        assert conversation.receive() == f"one two {SAMPLE}three"
        conversation.send([b"", LARGE[:70_000], b"", b"x", b""])
        assert conversation.receive() == LARGE[:70_000] + b"x"
        # Several that nobody waits for are answered in their order.
        for number in range(100):
            conversation.send(f"number {number}")
        assert [conversation.receive() for _ in range(100)] == [f"number {n}" for n in range(100)]
    assert site.next_disconnect() == (1000, "")


def test_many_clients_at_once_get_their_own_messages(server: serve, site: Site) -> None:
    async def talk(number: int) -> None:
        async with await connect_in_loop(server, "/echo") as connection:
            for message in (f"{number}", b"%d" % number * 1000):
                await connection.send(message)
                assert await connection.recv() == message

    async def test() -> None:
        await asyncio.gather(*map(talk, range(100)))

    asyncio.run(test())
    assert {site.next_disconnect() for _ in range(100)} == {(1000, "")}


def test_what_is_sent_in_one_piece_with_the_handshake_is_received(
    server: serve, site: Site
) -> None:
    early = frame(TEXT, b"early") + frame(PING, b"?") + close_frame(1000)
    with (
        connected(server.host, server.port) as sock,
        Peer(sock, "/echo", early=early) as peer,
    ):
        assert peer.read() == (PONG, b"?")
        assert peer.read_close() == (1000, "")
        peer.read_end()
    assert site.next_disconnect() == (1000, "")


# The handshake


def test_the_scope_says_what_the_client_has_said(server: serve, site: Site) -> None:
    with (
        connect(
            server,
            "/speak?two",
            subprotocols=[Subprotocol("one"), Subprotocol("two")],
            additional_headers={"X-Extra": "1", "Cookie": "a=b"},
            origin=Origin("http://example.org"),
        ) as connection,
    ):
        scope = site.next_scope()
        assert (scope["scheme"], scope["http_version"], scope["path"]) == ("ws", "1.1", "/speak")
        assert scope["subprotocols"] == ["one", "two"]
        assert scope["client"] == connection.local_address
        assert scope["server"] == connection.remote_address
        headers = dict(scope["headers"])
        assert headers[b"x-extra"] == b"1"
        assert headers[b"cookie"] == b"a=b"
        assert headers[b"origin"] == b"http://example.org"
        assert connection.subprotocol == "two"
        assert connection.response is not None
        assert connection.response.headers.get_all("set-cookie") == ["first=1", "second=2"]
        assert connection.response.headers["x-a"] == "\u00e9"
        assert connection.response.headers["server"] == "aserver"
        assert len(connection.response.headers.get_all("date")) == 1
        assert "content-length" not in connection.response.headers
    assert site.next_disconnect() == (1000, "")


def test_no_subprotocol_is_chosen_for_who_offers_some(server: serve, site: Site) -> None:
    offered = [Subprotocol("one")]
    with connect(server, "/speak", subprotocols=offered) as connection:
        assert connection.subprotocol is None
    assert site.next_scope()["subprotocols"] == ["one"]
    assert site.next_disconnect() == (1000, "")


def test_a_subprotocol_that_was_not_offered_is_left_out_and_in_the_log(
    server: serve, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(server, "/wrong", subprotocols=[Subprotocol("a")]) as connection:
        assert connection.subprotocol is None
    assert site.next_disconnect() == (1000, "")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("aserver.app", logging.WARNING)
    assert "subprotocol 'mine'" in record.getMessage()
