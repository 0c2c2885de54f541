"""A FastAPI application: `aserver with_fastapi:app`."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import FastAPI, Form, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse
from news import News, open_news
from pydantic import BaseModel


class State(TypedDict):
    news: News


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    async with open_news() as news:
        yield {"news": news}  # it becomes `request.state.news`


app = FastAPI(lifespan=lifespan)


class Greeting(BaseModel):
    text: str
    url: str
    client: str | None
    http: str


class Item(BaseModel):
    text: str


@app.get("/", response_class=HTMLResponse)
async def index(request: Request) -> str:
    there = request.url_for("hello", person="Ada")
    return f'<a href="{there}">Hello</a>'


@app.get("/hello/{person}")
async def hello(request: Request, person: str, greeting: str = "Hello") -> Greeting:
    return Greeting(
        text=f"{greeting}, {person}!",
        url=str(request.url),
        client=request.client.host if request.client else None,
        http=request.scope["http_version"],
    )


@app.post("/upload")
async def upload(file: UploadFile, note: Annotated[str, Form()]) -> dict[str, str | int | None]:
    return {"name": file.filename, "size": len(await file.read()), "note": note}


@app.get("/news", response_class=EventSourceResponse)
async def stream(request: Request) -> AsyncIterator[str | None]:
    # FastAPI makes events of what is yielded, and comments of 15 seconds of silence.
    async with aclosing(request.state.news.follow()) as news:
        async for text in news:
            yield text


@app.post("/news", status_code=204)
async def publish(request: Request, item: Item) -> None:
    request.state.news.publish(item.text)


@app.get("/followers")
async def followers(request: Request) -> int:
    news: News = request.state.news
    return news.followers


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol="shout" if "shout" in offered else None)
    try:
        while True:
            text = await websocket.receive_text()
            await websocket.send_text(text.upper() if "shout" in offered else text)
    except WebSocketDisconnect:
        pass
