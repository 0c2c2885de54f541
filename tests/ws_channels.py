"""Consumers of Channels that real server processes serve in tests; see `tests.served`."""

import asyncio

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings

from aserver.types import Receive, Scope, Send
from tests.served import answer, lifespan, note

settings.configure(
    SECRET_KEY="only for tests",
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": 100_000},
        }
    },
)

GROUP = "all"
_may_go_on = asyncio.Event()


def _name(scope: Scope) -> str:
    """What the test calls it."""
    query: bytes = scope["query_string"]
    return query.decode("ascii")


class Busy(AsyncWebsocketConsumer):  # type: ignore[misc]
    """At one point it has so much to do that it only goes on when `/go_on` is asked for."""

    async def connect(self) -> None:
        if self.scope["path"] == "/before":
            await self._work()
        await self.accept()
        if self.scope["path"] == "/connect":
            await self._work()
            await self.send("hello")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self._work()
        for _ in range(10):
            await self.send("done")
        note(f"{_name(self.scope)} has worked")

    async def _work(self) -> None:
        note(f"{_name(self.scope)} is at work")
        await _may_go_on.wait()

    async def disconnect(self, code: int) -> None:
        note(f"{_name(self.scope)} disconnect {code}")


class Member(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One of a group: what one says, all hear."""

    groups = (GROUP,)

    async def connect(self) -> None:
        note(f"{_name(self.scope)} connect")
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send(GROUP, {"type": "heard", "text": text_data})
        await self.send("said")

    async def heard(self, event: dict[str, str]) -> None:
        await self.send(event["text"])

    async def disconnect(self, code: int) -> None:
        note(f"{_name(self.scope)} disconnect {code}")


class ThreadMember(WebsocketConsumer):  # type: ignore[misc]
    """The same, without async."""

    groups = (GROUP,)

    def connect(self) -> None:
        note(f"{_name(self.scope)} connect")
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send("said")

    def heard(self, event: dict[str, str]) -> None:
        self.send(event["text"])

    def disconnect(self, code: int) -> None:
        note(f"{_name(self.scope)} disconnect {code}")


WEBSOCKETS = {
    "/before": Busy.as_asgi(),
    "/connect": Busy.as_asgi(),
    "/receive": Busy.as_asgi(),
    "/member": Member.as_asgi(),
    "/thread": ThreadMember.as_asgi(),
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await WEBSOCKETS[scope["path"]](scope, receive, send)
    else:
        if scope["path"] == "/go_on":
            _may_go_on.set()
        else:
            await get_channel_layer().group_send(GROUP, {"type": "heard", "text": "x" * 300})
        await answer(send, b"")
