"""What a room may be called: one pattern for the URLs of pages and of WebSockets."""

from django.urls import register_converter
from django.utils.text import slugify

LONGEST_ROOM = 32


class RoomConverter:
    """Makes `<room:name>` work in paths. A group of a channel layer may have any such name, too."""

    regex = f"[a-z0-9][a-z0-9_-]{{0,{LONGEST_ROOM - 1}}}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(RoomConverter, "room")


def room_named(text: str) -> str:
    """The room that somebody means by a text: "Tea time!" is tea-time; "" if it is none."""
    return slugify(text)[:LONGEST_ROOM].strip("-_")
