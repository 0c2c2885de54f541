"""The pages."""

import asyncio
import os
import sys
import threading

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

_waiting = {"poll": 0, "held": 0}
_news = asyncio.Event()
_may_go = threading.Event()


def page(request: HttpRequest) -> HttpResponse:
    """Tell of the request, and remember the visitor."""
    request.session["name"] = request.GET.get("name", "nobody")
    facts = {
        "scheme": request.scheme,
        "version": request.scope["http_version"],
        "thread": threading.current_thread() is not threading.main_thread(),
        "channels": "channels" in sys.modules,
        "pid": os.getpid(),
    }
    return JsonResponse(facts)


async def poll(request: HttpRequest) -> HttpResponse:
    """A long poll: answer when there is something to tell."""
    _waiting["poll"] += 1
    await asyncio.wait_for(_news.wait(), 20)
    return HttpResponse("news")


async def publish(request: HttpRequest) -> HttpResponse:
    """There is something to tell."""
    _news.set()
    return HttpResponse("published")


def held(request: HttpRequest) -> HttpResponse:
    """A sync view that takes its time: until somebody lets it go."""
    _waiting["held"] += 1
    return HttpResponse("went" if _may_go.wait(20) else "stuck")


async def let_go(request: HttpRequest) -> HttpResponse:
    """Do that."""
    _may_go.set()
    return HttpResponse("done")


async def waiting(request: HttpRequest) -> HttpResponse:
    """Tell how many have begun to wait."""
    return JsonResponse(_waiting)


urlpatterns = [
    path("", page),
    path("waiting/", waiting),
    path("poll/", poll),
    path("publish/", publish),
    path("held/", held),
    path("let-go/", let_go),
]
