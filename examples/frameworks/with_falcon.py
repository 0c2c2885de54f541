"""A Falcon application: `aserver with_falcon:app`."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import falcon
import falcon.asgi
from falcon.asgi import Request, Response, WebSocket
from news import News, open_news


class Lifespan:
    """Middleware that opens the news, and hands them to each request."""

    def __init__(self) -> None:
        self.opened = AsyncExitStack()

    async def process_startup(self, scope: dict[str, object], event: dict[str, object]) -> None:
        self.news = await self.opened.enter_async_context(open_news())

    async def process_shutdown(self, scope: dict[str, object], event: dict[str, object]) -> None:
        await self.opened.aclose()

    async def process_request(self, request: Request, response: Response) -> None:
        request.context.news = self.news


class Index:
    async def on_get(self, request: Request, response: Response) -> None:
        there = f"{request.prefix}/hello/Ada"  # Falcon does not reverse routes
        response.content_type = falcon.MEDIA_HTML
        response.text = f'<a href="{there}">Hello</a>'


class Hello:
    async def on_get(self, request: Request, response: Response, person: str) -> None:
        greeting = request.get_param("greeting", default="Hello")
        response.media = {
            "text": f"{greeting}, {person}!",
            "url": request.uri,
            "client": request.remote_addr,
            "http": request.scope["http_version"],
        }


class Upload:
    async def on_post(self, request: Request, response: Response) -> None:
        answer: dict[str, str | int] = {}
        async for part in await request.get_media():
            if part.filename:
                answer |= {"name": part.filename, "size": len(await part.get_data())}
            else:
                answer[part.name] = await part.get_text()
        response.media = answer


class Stream:
    async def on_get(self, request: Request, response: Response) -> None:
        response.content_type = "text/event-stream"
        response.stream = encoded(request.context.news)

    async def on_post(self, request: Request, response: Response) -> None:
        request.context.news.publish((await request.get_media())["text"])
        response.status = falcon.HTTP_204


async def encoded(news: News) -> AsyncGenerator[bytes, None]:
    """Falcon's streams are of bytes."""
    async with aclosing(news.events()) as events:
        async for event in events:
            yield event.encode()


class Followers:
    async def on_get(self, request: Request, response: Response) -> None:
        response.media = request.context.news.followers


class Echo:
    async def on_websocket(self, request: Request, socket: WebSocket) -> None:
        shout = "shout" in socket.subprotocols
        await socket.accept(subprotocol="shout" if shout else None)
        try:
            while True:
                text = await socket.receive_text()
                await socket.send_text(text.upper() if shout else text)
        except falcon.WebSocketDisconnected:
            pass


application = falcon.asgi.App(middleware=[Lifespan()])
application.add_route("/", Index())
application.add_route("/hello/{person}", Hello())
application.add_route("/upload", Upload())
application.add_route("/news", Stream())
application.add_route("/followers", Followers())
application.add_route("/echo", Echo())


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same below a root path, too: ASGI has it at the front of `path`, Falcon does not."""
    if root_path := scope.get("root_path"):
        scope = scope | {"path": scope["path"].removeprefix(root_path)}
    await application(scope, receive, send)
