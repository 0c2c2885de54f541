"""A Quart application: `aserver with_quart:app`."""

from collections.abc import AsyncGenerator

from news import News, open_news
from quart import Quart, Response, request, url_for, websocket

app = Quart(__name__)


@app.while_serving
async def lifespan() -> AsyncGenerator[None, None]:
    async with open_news() as news:
        app.extensions["news"] = news
        yield


def the_news() -> News:
    news: News = app.extensions["news"]
    return news


@app.get("/")
async def index() -> str:
    there = url_for("hello", person="Ada", _external=True)
    return f'<a href="{there}">Hello</a>'


@app.get("/hello/<person>")
async def hello(person: str) -> dict[str, str | None]:
    greeting = request.args.get("greeting", "Hello")
    return {
        "text": f"{greeting}, {person}!",
        "url": request.url,
        "client": request.remote_addr,
        "http": request.http_version,
    }


@app.post("/upload")
async def upload() -> dict[str, str | int | None]:
    form, files = await request.form, await request.files
    file = files["file"]
    return {"name": file.filename, "size": len(file.read()), "note": form["note"]}


@app.get("/news")
async def stream() -> Response:
    response = Response(the_news().events(), content_type="text/event-stream")
    response.timeout = None  # else it ends after 60 seconds
    return response


@app.post("/news")
async def publish() -> tuple[str, int]:
    the_news().publish((await request.get_json())["text"])
    return "", 204


@app.get("/followers")
async def followers() -> str:
    return str(the_news().followers)


@app.websocket("/echo")
async def echo() -> None:
    offered = websocket.requested_subprotocols
    await websocket.accept(subprotocol="shout" if "shout" in offered else None)
    while True:
        text = await websocket.receive()
        await websocket.send(text.upper() if "shout" in offered else text)
