"""A Starlette application: `aserver with_starlette:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from news import News, open_news
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


class State(TypedDict):
    news: News


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    async with open_news() as news:
        yield {"news": news}  # it becomes `request.state.news`


async def index(request: Request) -> Response:
    there = request.url_for("hello", person="Ada")
    return HTMLResponse(f'<a href="{there}">Hello</a>')


async def hello(request: Request) -> Response:
    greeting = request.query_params.get("greeting", "Hello")
    return JSONResponse(
        {
            "text": f"{greeting}, {request.path_params['person']}!",
            "url": str(request.url),
            "client": request.client.host if request.client else None,
            "http": request.scope["http_version"],
        }
    )


async def upload(request: Request) -> Response:
    async with request.form() as form:
        file = form["file"]
        assert not isinstance(file, str)
        size = len(await file.read())
        return JSONResponse({"name": file.filename, "size": size, "note": form["note"]})


async def stream(request: Request) -> Response:
    return StreamingResponse(request.state.news.events(), media_type="text/event-stream")


async def publish(request: Request) -> Response:
    request.state.news.publish((await request.json())["text"])
    return Response(status_code=204)


async def followers(request: Request) -> Response:
    return JSONResponse(request.state.news.followers)


async def echo(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol="shout" if "shout" in offered else None)
    try:
        while True:
            text = await websocket.receive_text()
            await websocket.send_text(text.upper() if "shout" in offered else text)
    except WebSocketDisconnect:
        pass


app = Starlette(
    routes=[
        Route("/", index),
        Route("/hello/{person}", hello, name="hello"),
        Route("/upload", upload, methods=["POST"]),
        Route("/news", stream, methods=["GET"]),
        Route("/news", publish, methods=["POST"]),
        Route("/followers", followers),
        WebSocketRoute("/echo", echo),
    ],
    lifespan=lifespan,
)
