"""Sites of four frameworks below a prefix, told apart by their hosts: each tells its own URLs.

It is for a process of its own: it configures Django.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import path, reverse
from fastapi import FastAPI
from litestar import Litestar, Request, get
from litestar.params import FromPath
from litestar.static_files import create_static_files_router
from starlette import requests
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from aserver.types import Receive, Scope, Send
from tests.deploy import site
from tests.deploy.site import FILES

# Django and Channels. This module is also their settings' list of URLs.

settings.configure(
    ALLOWED_HOSTS=["django.example.com"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for the tests",
    STATIC_URL="static/",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()


def django_page(request: HttpRequest, name: str) -> HttpResponse:
    return JsonResponse(
        {
            "name": name,
            "path": request.path,
            "path_info": request.path_info,
            "absolute": request.build_absolute_uri(),
            "reverse": reverse("page", args=["other"]),
            "static": static("style.css"),
        }
    )


def django_redirect(request: HttpRequest) -> HttpResponse:
    return redirect("page", "other")


urlpatterns = [
    path("pages/<name>/", django_page, name="page"),
    path("redirect/", django_redirect),
]


class Echo(AsyncWebsocketConsumer):  # type: ignore[misc] # Channels has no types
    """Tell which room it is."""

    async def connect(self) -> None:
        await self.accept()
        await self.send(text_data=json.dumps(self.scope["url_route"]["kwargs"]))


# Starlette: everything below a mount of its own.


async def starlette_page(request: requests.Request) -> Response:
    return JSONResponse(
        {
            "name": request.path_params["name"],
            "absolute": str(request.url),
            "reverse": str(request.url_for("inner:page", name="other")),
            "static": str(request.url_for("inner:files", path="chat.png")),
        }
    )


async def starlette_redirect(request: requests.Request) -> Response:
    return RedirectResponse(request.url_for("inner:page", name="other"))


async def starlette_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(dict(websocket.path_params))
    await websocket.close()


inner = Mount(
    "/inner",
    name="inner",
    routes=[
        Route("/pages/{name}/", starlette_page, name="page"),
        Route("/redirect/", starlette_redirect),
        WebSocketRoute("/rooms/{room}/", starlette_websocket),
        Mount("/files", StaticFiles(directory=FILES), name="files"),
    ],
)

# FastAPI

fastapi_site = FastAPI()


@fastapi_site.get("/pages/{name}/", name="page")
async def fastapi_page(request: requests.Request, name: str) -> dict[str, str]:
    return {
        "name": name,
        "absolute": str(request.url),
        "reverse": str(request.url_for("page", name="other")),
    }


# Litestar


@get("/pages/{title:str}/", name="page", sync_to_thread=False)
def litestar_page(request: Request[Any, Any, Any], title: FromPath[str]) -> dict[str, str]:
    return {
        "name": title,
        "absolute": str(request.url),
        "reverse": request.url_for("page", title="other"),
        "static": request.url_for("files", file_path="chat.png"),
    }


files = create_static_files_router("/files", [FILES], name="files")

HOSTS: dict[str, Callable[..., Awaitable[None]]] = {
    "django.example.com": ProtocolTypeRouter(
        {
            "http": get_asgi_application(),
            "websocket": URLRouter([path("rooms/<room>/", Echo.as_asgi())]),
        }
    ),
    "starlette.example.com": Starlette(routes=[inner]),
    "fastapi.example.com": fastapi_site,
    "litestar.example.com": Litestar([litestar_page, files]),
    "example.com": site.app,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The site of that host."""
    host = dict(scope["headers"])[b"host"].decode()
    await HOSTS[host](scope, receive, send)
