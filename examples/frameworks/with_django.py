"""Django with Channels and a GraphQL API (Strawberry): `aserver with_django:application`.

A project of one file. One that grows has its settings, views and schema in files of their own, see
`examples/chat`.
"""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path, reverse
from django.utils.html import format_html
from news import News

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1", "[::1]"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    # It has no sessions and no cookies, so there is nothing for a CSRF token to protect.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()

import strawberry  # noqa: E402, now that Django is set up
from strawberry.channels import GraphQLHTTPConsumer, GraphQLWSConsumer  # noqa: E402

news = News()  # Django has no lifespan: it is there from the import on


# Pages


async def index(request: HttpRequest) -> HttpResponse:
    there = request.build_absolute_uri(reverse("hello", args=["Ada"]))
    return HttpResponse(format_html('<a href="{}">Hello</a>', there))


async def hello(request: HttpRequest, person: str) -> HttpResponse:
    greeting = request.GET.get("greeting", "Hello")
    return JsonResponse(
        {
            "text": f"{greeting}, {person}!",
            "url": request.build_absolute_uri(),
            "client": request.META["REMOTE_ADDR"],
            "http": request.scope["http_version"],
        }
    )


async def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size, "note": request.POST["note"]})


async def stream(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    if request.method == "POST":
        news.publish(json.loads(request.body)["text"])
        return HttpResponse(status=204)
    return StreamingHttpResponse(news.events(), content_type="text/event-stream")


async def followers(request: HttpRequest) -> HttpResponse:
    return JsonResponse(news.followers, safe=False)


urlpatterns = [
    path("", index),
    path("hello/<person>", hello, name="hello"),
    path("upload", upload),
    path("news", stream),
    path("followers", followers),
]


# WebSockets


class Echo(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.shout = "shout" in self.scope["subprotocols"]
        await self.accept(subprotocol="shout" if self.shout else None)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        assert text_data is not None
        await self.send(text_data.upper() if self.shout else text_data)


# GraphQL


@strawberry.type
class Query:
    @strawberry.field
    def latest(self) -> str:
        return news.latest


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def publish(self, text: str) -> str:
        news.publish(text)
        return text


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def news(self) -> AsyncIterator[str]:
        async with aclosing(news.follow()) as items:
            async for text in items:
                assert text is not None  # no beat was asked for
                yield text


schema = strawberry.Schema(Query, Mutation, Subscription)

application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                path("graphql", GraphQLHTTPConsumer.as_asgi(schema=schema)),
                re_path("", get_asgi_application()),
            ]
        ),
        "websocket": URLRouter(
            [
                path("graphql", GraphQLWSConsumer.as_asgi(schema=schema)),
                path("echo", Echo.as_asgi()),
            ]
        ),
    }
)
