"""The chat."""

import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer


class ChatConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # Channels has no types
    """Echo what one says, and tell it to all."""

    async def connect(self) -> None:
        await self.channel_layer.group_add("chat", self.channel_name)
        await self.accept()
        names = {"you": self.scope["session"].get("name"), "user": str(self.scope["user"])}
        await self.send(text_data=json.dumps(names))

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("chat", self.channel_name)

    async def receive(self, text_data: str) -> None:
        await self.send(text_data=json.dumps({"echo": json.loads(text_data)}))
        event = {"type": "chat.message", "text": json.loads(text_data)}
        await self.channel_layer.group_send("chat", event)

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps({"all": event["text"]}))
