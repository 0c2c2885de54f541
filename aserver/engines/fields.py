"""The response head: checked once, for every writer and every protocol version.

Applications repeat the same header fields over and over. A field that was checked is remembered
with its HTTP/1.1 line, so that checking it again is one look-up. The memory is bounded in number
and size.
"""

import re
from http import HTTPStatus
from typing import NamedTuple

from ..types import AppError, HeaderPairs

# RFC 9110 section 5.6.2: token. RFC 9110 section 5.5: no CR, LF, NUL in a value; other control
# characters but HTAB are refused with them (RFC 9112 section 11.1: response splitting).
_is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search

_MAX_REMEMBERED = 1024
_MAX_REMEMBERED_SIZE = 256


class Field(NamedTuple):
    """A checked field: its HTTP/1.1 line, what it is to the server, and its number."""

    line: bytes
    special: int
    number: int = 0


# Kinds of special fields; CLOSE, DATE and SERVER also make up `ResponseHead.flags`.
DROPPED, CLOSE, DATE, SERVER, LENGTH = 1, 2, 4, 8, 16

# Connection-specific fields are the server's business (RFC 9110 section 7.6.1; the ASGI
# specification asks to ignore `transfer-encoding`). `connection: close` is understood as a wish.
_SPECIAL = {
    b"connection": DROPPED,
    b"content-length": LENGTH,
    b"date": DATE,
    b"keep-alive": DROPPED,
    b"proxy-connection": DROPPED,
    b"server": SERVER,
    b"transfer-encoding": DROPPED,
    b"upgrade": DROPPED,
}

_remembered: dict[tuple[bytes, bytes], Field] = {}
_recall = _remembered.get


def check_field(name: object, value: object) -> Field:
    """Check a field that is not remembered. Raises AppError for what must not go on the wire."""
    if type(name) is not bytes:
        raise AppError(f"Header name {name!r} expected to be `bytes`, but got `{type(name)}`")
    if type(value) is not bytes:
        raise AppError(f"Header value {value!r} expected to be `bytes`, but got `{type(value)}`")
    if not _is_token(name):
        raise AppError(f"Header name {name!r} is not a token (RFC 9110 section 5.6.2)")
    if _has_control(value):
        raise AppError(f"Header value of {name!r} contains a control character: {value!r}")
    field = _classify(name, value)
    if len(field.line) <= _MAX_REMEMBERED_SIZE and len(_remembered) < _MAX_REMEMBERED:
        _remembered[(name, value)] = field
    return field


def _classify(name: bytes, value: bytes) -> Field:
    special = _SPECIAL.get(name.lower(), 0)
    line = b"%b: %b\r\n" % (name, value)
    if special is DROPPED:
        return Field(b"", CLOSE if b"close" in value.lower() else DROPPED)
    if special is LENGTH:
        if not value.isdigit():
            raise AppError(f"content-length is not a number: {value!r}")
        return Field(line, LENGTH, int(value))
    return Field(line, special)


class ResponseHead:
    """A response's status and fields, checked, with what the framing needs to know about them.

    `block` are the application's fields as HTTP/1.1 lines; `bodyless` says that no body may follow;
    `content_length` is None if the application gave none; `flags` has CLOSE if it wants the
    connection closed, DATE and SERVER if it gave these fields itself.

    Raises:
        AppError: The status is no final status code, or a field must not go on the wire.
    """

    __slots__ = ("block", "bodyless", "content_length", "flags", "status")

    def __init__(self, status: int, headers: HeaderPairs, method: str = "GET") -> None:
        if type(status) is not int or not 200 <= status <= 999:
            status = _final_status(status)
        self.status = status
        # RFC 9112 section 6.3(1); 1xx never comes here.
        self.bodyless = method == "HEAD" or status == 204 or status == 304
        self.content_length: int | None = None
        self.flags = 0
        lines = []
        try:
            for pair in headers:
                field = _recall(pair if type(pair) is tuple else tuple(pair))  # type: ignore[arg-type]
                line, special, number = field or check_field(*pair)
                if not special:
                    lines.append(line)
                elif special is not LENGTH:
                    self.flags |= special
                    lines.append(line)
                elif self._note_length(number):
                    lines.append(line)
        except TypeError:
            raise AppError(f"headers must be pairs of byte strings, not {headers!r}") from None
        self.block = b"".join(lines)

    def _note_length(self, length: int) -> bool:
        """Take in a content-length; returns whether its line is written."""
        if self.status == 204:  # RFC 9110 section 8.6: none in a 204
            return False
        known = self.content_length
        if known is not None and known != length:
            raise AppError(f"two content-length headers, {known} and {length}")
        self.content_length = length
        return known is None


def _final_status(status: object) -> int:
    """A status that is no plain int from 200 to 999: an IntEnum will do, anything else will not."""
    if isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 999:
        return int(status)
    raise AppError(f"status must be an integer from 200 to 999, not {status!r}")


def reason_phrase(status: int) -> str:
    """The registered reason phrase. Some clients take an empty one for an error, so never empty."""
    return _REASONS.get(status, "Unknown")


_REASONS = {int(status): status.phrase for status in HTTPStatus}
