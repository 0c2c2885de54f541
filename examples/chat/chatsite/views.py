"""The pages. `home`, `upload` and `stream` run in threads; the others run in the event loop."""

import asyncio
import hashlib
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import django
from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render

from chatsite import storyteller, streams

LONGEST_WAIT = 10.0  # seconds
TOKEN_DELAY = 40.0  # milliseconds, about the pace of a fast reader
LONGEST_TOKEN_DELAY = 2000.0


def home(request: HttpRequest) -> HttpResponse:
    """A sync view; what it knows of the connection comes from the ASGI scope."""
    facts = {
        "Protocol": f"HTTP/{request.scope['http_version']}",
        "Scheme": request.scheme,
        "Your address": address(request.scope.get("client")),
        "Server address": address(request.scope.get("server")),
        "Thread": threading.current_thread().name,
        "Django": django.get_version(),
        "Python": platform.python_version(),
    }
    return render(request, "chatsite/home.html", {"facts": facts})


async def wait(request: HttpRequest) -> HttpResponse:
    """An async view: any number of these wait at the same time in the one event loop."""
    asked = bounded(request.GET.get("wait"), 0.0, LONGEST_WAIT)
    started = time.perf_counter()
    await asyncio.sleep(asked)
    result = {
        "asked": asked,
        "waited": round(time.perf_counter() - started, 3),
        "thread": threading.current_thread().name,
    }
    if request.GET.get("format") == "json":
        return JsonResponse(result)
    return render(request, "chatsite/wait.html", {"result": result, "longest": LONGEST_WAIT})


class UploadForm(forms.Form):
    file = forms.FileField(allow_empty_file=True)


def upload(request: HttpRequest) -> HttpResponse:
    """Weigh and hash a file, keep only the answer. Django has put a big one in a temporary file."""
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method != "POST":
        context = {"form": form, "receipt": request.session.get("receipt")}
        return render(request, "chatsite/upload.html", context)
    if not form.is_valid():
        return render(request, "chatsite/upload.html", {"form": form}, status=422)
    file: UploadedFile = form.cleaned_data["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    request.session["receipt"] = {
        "name": file.name,
        "size": file.size,
        "sha256": digest.hexdigest(),
    }
    messages.success(request, f"{file.name} arrived safely.")
    return redirect("upload")


def stream(request: HttpRequest) -> HttpResponse:
    """The page around the stream."""
    return render(request, "chatsite/stream.html", {"counts": streams.counts})


async def stream_tokens(request: HttpRequest) -> HttpResponseBase:
    """An answer token by token: plain text, or server-sent events for those who prefer them."""
    chunks = storyteller.answer(request.GET.get("prompt", ""))
    content_type = request.get_preferred_type(["text/plain", "text/event-stream"]) or "text/plain"
    if content_type == "text/event-stream":
        chunks = storyteller.events(chunks)
    delay = bounded(request.GET.get("delay"), TOKEN_DELAY, LONGEST_TOKEN_DELAY) / 1000
    return streams.ClosingStream(
        streams.paced(chunks, delay),
        content_type=f"{content_type}; charset=utf-8",
        headers={
            "Cache-Control": "no-store",
            "Vary": "Accept",
            "X-Accel-Buffering": "no",  # nginx: pass each token on as it comes
        },
    )


async def stream_status(request: HttpRequest) -> JsonResponse:
    """How this process's streams ended."""
    return JsonResponse(asdict(streams.counts))


async def health(request: HttpRequest) -> HttpResponse:
    """For a load balancer."""
    return HttpResponse("ok", content_type="text/plain")


def address(end: Sequence[Any] | None) -> str:
    """One end of a connection as the ASGI scope has it: host and port, a socket's path, or None."""
    if end is None:
        return "a unix socket"
    host, port = end
    if port is None:
        return str(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bounded(text: str | None, default: float, highest: float) -> float:
    """A number from a query string, between 0 and `highest`; the default if it is none."""
    try:
        number = float(text or default)
    except ValueError:
        return default
    # In this order a "nan" becomes 0.
    return max(0.0, min(number, highest))
