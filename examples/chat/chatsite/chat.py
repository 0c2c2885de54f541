"""The chat's pages. What happens in a room comes by WebSocket: see consumers.py."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from chatsite.frames import LONGEST_TEXT
from chatsite.models import Message
from chatsite.people import LONGEST_NAME, NameForm, person_of
from chatsite.rooms import LONGEST_ROOM, room_named

ROOMS = ("lounge", "tea", "help")  # always on the list, also when nobody has said anything


def lobby(request: HttpRequest) -> HttpResponse:
    """The rooms; `?room=Tea time` leads to the one that is meant."""
    if wanted := request.GET.get("room"):
        if room := room_named(wanted):
            return redirect("room", room)
        messages.error(request, "A room's name has letters from a to z, or digits.")
    return render(request, "chatsite/lobby.html", context(request))


def room(request: HttpRequest, room: str) -> HttpResponse:
    """A room, or first the question for a name."""
    here = {"room": room, "longest": LONGEST_TEXT}
    return render(request, "chatsite/room.html", context(request, room) | here)


@require_POST
def choose_name(request: HttpRequest) -> HttpResponse:
    form = NameForm(request.POST)
    if form.is_valid():
        form.save(request.session)
    for error in form.errors.get("name", []):
        messages.error(request, error)
    there = request.POST.get("next", "")
    # Only to our own pages, or anybody could use the form to lead people elsewhere.
    own = url_has_allowed_host_and_scheme(there, {request.get_host()}, request.is_secure())
    return redirect(there if own else "lobby")


def context(request: HttpRequest, *more_rooms: str) -> dict[str, Any]:
    return {
        "person": person_of(request.user, request.session),
        "rooms": list(dict.fromkeys((*ROOMS, *more_rooms, *Message.lively_rooms()))),
        "longest_name": LONGEST_NAME,
        "longest_room": LONGEST_ROOM,
    }
