"""What the application's HTTP messages bring, checked: bytes, links of early hints, trailers.

When they are allowed is the cycle's business.
"""

from typing import Any

from .engines.fields import ResponseHead, check_field, trailer_line
from .types import AppError, Headers, Message, Request

# All messages of a response together. They are kept until the last of them.
_MAX_TRAILERS_SIZE = 65_536


def as_bytes(body: object) -> bytes:
    """A `body` that is not plain bytes, as such.

    Raises:
        AppError: It is nothing of that kind.
    """
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise AppError(f"the body must be bytes, not {type(body).__name__}")


def wrong_length(missing: int) -> AppError:
    """The error of a body that does not have its content-length."""
    comparison = "longer" if missing < 0 else "shorter"
    return AppError(
        f"the response body is {abs(missing)} bytes {comparison} than its content-length"
    )


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
    """The trailer fields of a response, as far as the application has sent them.

    `sendable` says whether they go on the wire: the client must have asked for them (RFC 9110
    section 6.5.1), and a body whose end is known before leaves no room for them.
    """

    __slots__ = ("_size", "fields", "sendable")

    def __init__(self, request: Request, head: ResponseHead) -> None:
        room = head.content_length is None and not head.bodyless
        self.sendable = room and request.accepts_trailers
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
