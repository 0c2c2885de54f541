"""A WebSocket application for tests with real clients; it tells the test what it has seen."""

import hashlib
import json
import queue
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from aserver.types import Message, Receive, Scope, Send
from tests.processes import DEADLINE

View = Callable[[Scope, Receive, Send], Awaitable[None]]


class Site:
    """The application."""

    def __init__(self) -> None:
        self._scopes: queue.SimpleQueue[Scope] = queue.SimpleQueue()
        self._disconnects: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._views: dict[str, View] = {
            "/echo": self.echo,
            "/digest": self.digest,
            "/speak": self.speak,
            "/close": self.close,
            "/leave": self.leave,
            "/break": self.break_off,
            "/deny": self.deny,
            "/refuse": self.refuse,
            "/wrong": self.wrong,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"plain"})
        else:
            assert (await receive()) == {"type": "websocket.connect"}
            await self._views[scope["path"]](scope, receive, send)

    # For the test

    def next_scope(self) -> Scope:
        """The scope of the next WebSocket at /speak."""
        return self._scopes.get(timeout=DEADLINE)

    def next_disconnect(self) -> tuple[int, str]:
        """Code and reason of the next websocket.disconnect that it has received."""
        message = self._disconnects.get(timeout=DEADLINE)
        assert message.keys() == {"type", "code", "reason"}
        return message["code"], message["reason"]

    def has_disconnects(self) -> bool:
        """Whether there is one that the test has not asked for."""
        return not self._disconnects.empty()

    # The views

    async def _received(self, receive: Receive) -> str | bytes | None:
        """The next message; None: it was the disconnect."""
        message = await receive()
        if message["type"] == "websocket.disconnect":
            self._disconnects.put(message)
            return None
        assert message["type"] == "websocket.receive"
        (data,) = (message[key] for key in ("text", "bytes") if message.get(key) is not None)
        assert isinstance(data, str | bytes)
        return data

    async def echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send back what comes; who does not wait for the answer is heard to the end."""
        await send({"type": "websocket.accept"})
        while (data := await self._received(receive)) is not None:
            with suppress(OSError):
                await send(message_of(data))

    async def digest(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send back type, size and digest of what comes."""
        await send({"type": "websocket.accept"})
        while (data := await self._received(receive)) is not None:
            await send({"type": "websocket.send", "text": digest_of(data)})

    async def speak(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept with the subprotocol that is asked for in the query, and with two cookies."""
        self._scopes.put(scope)
        headers = [(b"set-cookie", b"first=1"), (b"Set-Cookie", b"second=2"), (b"x-a", b"\xe9")]
        accept: dict[str, Any] = {"type": "websocket.accept", "headers": headers}
        if chosen := scope["query_string"].decode("ascii"):
            accept["subprotocol"] = chosen
        await send(accept)
        while await self._received(receive) is not None:
            pass

    async def close(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close with the query's code and reason, and hear how that ends."""
        await send({"type": "websocket.accept"})
        query = parse_qs(scope["query_string"].decode("ascii"))
        code, reason = int(query["code"][0]), query.get("reason", [""])[0]
        await send({"type": "websocket.close", "code": code, "reason": reason})
        assert await self._received(receive) is None

    async def leave(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say something and return."""
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "bye"})

    async def break_off(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say something and raise."""
        await self.leave(scope, receive, send)
        raise ZeroDivisionError

    async def deny(self, scope: Scope, receive: Receive, send: Send) -> None:
        """401, and a JSON body in several pieces."""
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Basic")]
        start = {"type": "websocket.http.response.start", "status": 401, "headers": headers}
        await send(start)
        body = json.dumps(DENIAL).encode("ascii")
        for number in range(0, len(body), 10):
            piece = body[number : number + 10]
            await send({"type": "websocket.http.response.body", "body": piece, "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
        assert await self._received(receive) is None

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the handshake without a word."""
        await send({"type": "websocket.close"})
        assert await self._received(receive) is None

    async def wrong(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Choose a subprotocol that nobody has offered."""
        await send({"type": "websocket.accept", "subprotocol": "mine"})
        assert await self._received(receive) is None


DENIAL = {"error": "who are you?", "login": "/login"}


def message_of(data: str | bytes) -> Message:
    """A websocket.send."""
    return {"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}


def digest_of(data: str | bytes) -> str:
    """What /digest says of a message."""
    raw = data.encode("utf-8") if isinstance(data, str) else data
    return f"{type(data).__name__} {len(raw)} {hashlib.sha256(raw).hexdigest()}"
