"""What gunicorn serves in tests: applications, a worker class, and its hooks as a configuration."""

import json
import os
import threading
from typing import Any, ClassVar

from aserver.gunicorn import Worker
from aserver.types import Receive, Scope, Send
from tests import served


class Named(Worker):
    """A worker class of somebody's own."""

    options: ClassVar[dict[str, str]] = {"server_name": "named"}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        served.note(f"websocket: {message['type']} {message.get('code')}")
    elif scope["type"] == "http" and scope["path"] == "/facts":
        facts = {name: scope[name] for name in ("client", "scheme", "http_version", "root_path")}
        facts |= {"pid": os.getpid(), "ids": [os.getuid(), os.getgid()]}
        await served.answer(send, json.dumps(facts).encode())
    else:
        await served.app(scope, receive, send)


async def without_start(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that cannot start."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def without_start_or_end(scope: Scope, receive: Receive, send: Send) -> None:
    """The same with a thread that the interpreter waits for."""
    threading.Thread(target=threading.Event().wait).start()
    await without_start(scope, receive, send)


def wsgi(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"wsgi"]


# What follows is read by gunicorn: `-c python:tests.gunicorn.site`.


def post_fork(server: Any, worker: Any) -> None:
    served.note("post_fork")


def post_worker_init(worker: Any) -> None:
    served.note("post_worker_init")


def worker_int(worker: Any) -> None:
    served.note("worker_int")


def worker_abort(worker: Any) -> None:
    served.note("worker_abort")


def worker_exit(server: Any, worker: Any) -> None:
    served.note(f"worker_exit {worker.pid}")
