"""The fields that messages of ASGI's HTTP extensions bring: links of early hints, and trailers.

They are checked and collected here; when they are allowed is the cycle's business.
"""

from typing import Any

from .engines.fields import check_field, trailer_line
from .types import AppError, Headers, Message

# All messages of a response together. They are kept until the last of them.
_MAX_TRAILERS_SIZE = 65_536


def link_fields(message: Message) -> Headers:
    """The fields of an interim response, from an http.response.early_hint.

    Raises:
        AppError: A link is missing, no byte string, or must not go on the wire.
    """
    links: Any = message.get("links")
    try:
        fields = [(b"link", link) for link in links]
    except TypeError:
        raise AppError(f"'links' must be byte strings, not {links!r}") from None
    for name, link in fields:
        if type(link) is not bytes:
            raise AppError(f"'links' must be byte strings, not {link!r}")
        check_field(name, link)
    return fields


class Trailers:
    """The trailer fields of a response, as far as the application has sent them."""

    __slots__ = ("_size", "fields")

    def __init__(self) -> None:
        self.fields: Headers = []
        self._size = 0

    def take(self, message: Message) -> bool:
        """Take in an http.response.trailers; returns whether it was the last.

        Raises:
            AppError: A field is malformed, must not be in trailers, or they are too large.
        """
        headers: Any = message.get("headers", ())
        try:
            fields = [(name, value) for name, value in headers]
        except (TypeError, ValueError):
            raise AppError(f"trailers must be pairs of byte strings, not {headers!r}") from None
        size = self._size + sum(len(trailer_line(name, value)) for name, value in fields)
        if size > _MAX_TRAILERS_SIZE:
            raise AppError(f"the trailers are larger than {_MAX_TRAILERS_SIZE} bytes")
        self._size = size
        self.fields += fields
        return not message.get("more_trailers", False)
