"""A Litestar application: `aserver with_litestar:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.datastructures import State, UploadFile
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath, FromQuery, JSONBody, MultipartBody
from litestar.response import Stream
from news import News, open_news


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    async with open_news() as news:
        app.state.news = news
        yield


def the_news(state: State) -> News:
    news: News = state.news
    return news


@dataclass
class Form:
    file: UploadFile
    note: str


@dataclass
class Item:
    text: str


@get("/", media_type=MediaType.HTML)
async def index(request: Request[Any, Any, State]) -> str:
    there = request.url_for("hello", person="Ada")
    return f'<a href="{there}">Hello</a>'


@get("/hello/{person:str}", name="hello")
async def hello(
    request: Request[Any, Any, State], person: FromPath[str], greeting: FromQuery[str] = "Hello"
) -> dict[str, str | None]:
    return {
        "text": f"{greeting}, {person}!",
        "url": str(request.url),
        "client": request.client.host if request.client else None,
        "http": request.scope["http_version"],
    }


@post("/upload", status_code=200)
async def upload(data: MultipartBody[Form]) -> dict[str, str | int]:
    size = len(await data.file.read())
    return {"name": data.file.filename, "size": size, "note": data.note}


@get("/news")
async def stream(state: State) -> Stream:
    return Stream(the_news(state).events(), media_type="text/event-stream")


@post("/news", status_code=204)
async def publish(state: State, data: JSONBody[Item]) -> None:
    the_news(state).publish(data.text)


@get("/followers")
async def followers(state: State) -> int:
    return the_news(state).followers


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, State]) -> None:
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocols="shout" if "shout" in offered else None)
    try:
        while True:
            text = await socket.receive_text()
            await socket.send_text(text.upper() if "shout" in offered else text)
    except WebSocketDisconnect:
        pass


app = Litestar(
    [index, hello, upload, stream, publish, followers, echo],
    lifespan=[lifespan],
    logging_config=None,  # else Litestar sets up the logging of the whole process
)
