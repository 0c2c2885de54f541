"""A page and a WebSocket that ask the database."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connections
from django.db.utils import InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from aserver.types import Receive, Scope, Send

django_application = get_asgi_application()

from django.contrib.auth.models import User  # noqa: E402, now that Django is set up


def names() -> list[str]:
    return sorted(User.objects.values_list("username", flat=True))


def users(request: HttpRequest) -> HttpResponse:
    if request.GET:
        User.objects.create(username=request.GET["new"])
    facts = {"word": settings.WORD, "pid": os.getpid(), "connection": id(connections["default"])}
    return JsonResponse({"users": names(), **facts})


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    async def stream() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    return StreamingHttpResponse(stream())


at_work = threading.Event()


def late(request: HttpRequest) -> HttpResponse:
    """Write when there is no test database any more."""
    at_work.set()
    deadline = time.monotonic() + 20
    while connections.settings["default"]["NAME"] != os.environ["LIVE_REAL_DATABASE"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    try:
        User.objects.create(username="late")
    except InterfaceError as error:
        sys.stderr.write(f"refused: {error}\n")
        raise
    return HttpResponse("written")


urlpatterns = [path("users", users), path("endless", endless), path("late", late)]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        await django_application(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": ",".join(await sync_to_async(names)())})
    while (await receive())["type"] != "websocket.disconnect":
        pass
