"""The WebSocket side of the chat: one `ChatConsumer` for each open page."""

import asyncio
import json
import random
import time
from contextlib import suppress
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import ChannelFull, StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from chatsite.frames import Refused, Throttle, parse
from chatsite.models import Message
from chatsite.people import person_of
from chatsite.presence import Presence

NAMELESS = 4401  # the close code for those without a name; 4000 to 4999 are an application's own
BEAT = 20.0  # seconds from one hello to the next
SILENCE = 3 * BEAT  # who has not been heard for so long is gone
FRAMES, PERIOD = 10, 5.0  # so many frames in so many seconds


class ChatConsumer(AsyncWebsocketConsumer):
    """A page in a room.

    Channels calls `connect` and `receive` for the page, and for what comes from the group the
    method of its type: `chat.message`, `presence.hello`, `presence.bye`. One call ends before the
    next begins.
    """

    beating: asyncio.Task[None] | None = None  # while it is in the room

    async def __call__(self, *args: Any) -> None:
        """However this ends, also by an error or a cancellation, the room hears of it."""
        try:
            await super().__call__(*args)
        finally:
            if self.beating is not None:
                await self.leave(self.beating)

    async def connect(self) -> None:
        await self.accept()
        person = person_of(self.scope["user"], self.scope["session"])
        if person is None:
            # Only after accepting: a browser does not tell a page why it was not let in.
            await self.close(NAMELESS)
            raise StopConsumer
        self.person = person
        self.room = self.scope["url_route"]["kwargs"]["room"]
        self.group = f"chat.{self.room}"
        self.presence = Presence()
        self.throttle = Throttle(FRAMES, PERIOD)
        # First into the group, then the history: between the two nothing gets lost, and what comes
        # twice has the same id.
        await self.channel_layer.group_add(self.group, self.channel_name)
        self.beating = asyncio.create_task(self.beat())
        messages = await database_sync_to_async(Message.recent)(self.room)
        await self.tell("welcome", you=person, messages=[each.as_json() for each in messages])
        await self.channel_layer.group_send(self.group, self.hello(asking=True))

    async def leave(self, beating: asyncio.Task[None]) -> None:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await self.channel_layer.group_discard(self.group, self.channel_name)
        bye = {"type": "presence.bye", "member": self.channel_name}
        await self.channel_layer.group_send(self.group, bye)

    async def tell(self, kind: str, **content: Any) -> None:
        """Send the page a frame."""
        await self.send(text_data=json.dumps({"type": kind, **content}))

    # Messages

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if wait := self.throttle.wait(time.monotonic()):
            text = "That was fast. The rest follows in a moment."
            await self.tell("error", text=text, wait=round(wait, 3))
            return
        try:
            said = parse(text_data)
        except Refused as problem:
            await self.tell("error", text=str(problem))
            return
        record = database_sync_to_async(Message.record)
        message, new = await record(self.room, self.person, said.text, said.nonce)
        # A layer delivers at most once. The author must know, and so is told without it.
        await self.tell("message", **message.as_json(), nonce=said.nonce)
        if new:
            event = {"type": "chat.message", "by": self.channel_name, "message": message.as_json()}
            await self.channel_layer.group_send(self.group, event)

    async def chat_message(self, event: dict[str, Any]) -> None:
        if event["by"] != self.channel_name:
            await self.tell("message", **event["message"])

    # Presence

    def hello(self, *, asking: bool) -> dict[str, Any]:
        return {
            "type": "presence.hello",
            "member": self.channel_name,
            "person": self.person,
            "asking": asking,
        }

    async def presence_hello(self, event: dict[str, Any]) -> None:
        person, member = event["person"], event["member"]
        if self.presence.heard(member, person, time.monotonic()):
            # Those who answer were here before; those who ask have just come in.
            await self.tell("here", person=person, new=event["asking"])
        if event["asking"] and member != self.channel_name:
            # Asked by more than it can take in: the next beat tells it.
            with suppress(ChannelFull):
                await self.channel_layer.send(member, self.hello(asking=False))

    async def presence_bye(self, event: dict[str, Any]) -> None:
        if person := self.presence.left(event["member"]):
            await self.tell("gone", person=person)

    async def beat(self) -> None:
        """Say hello from time to time, each at their own; miss those who do not."""
        while True:
            await asyncio.sleep(BEAT * random.uniform(0.8, 1.2))
            # Layers forget members after a day, or when they lose their memory.
            await self.channel_layer.group_add(self.group, self.channel_name)
            await self.channel_layer.group_send(self.group, self.hello(asking=False))
            for member in self.presence.silent(time.monotonic() - SILENCE):
                await self.presence_bye({"member": member})


class Nowhere(AsyncWebsocketConsumer):
    """Turns away, with a 403, who asks for a path that there is not."""

    async def connect(self) -> None:
        await self.close()
