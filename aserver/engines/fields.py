"""The response head: checked once, for every writer and every protocol version.

Applications give the same heads over and over, or heads that differ in one field. Heads and fields
that were checked are remembered, so that checking them again is one look-up. Both memories are
bounded in number and in size.
"""

from collections.abc import Sequence
from copy import copy
from http import HTTPStatus
from typing import Any

from ..types import AppError, HeaderPairs, Headers, ProtocolError
from .grammar import control_in, is_token, split_fields

Pairs = tuple[tuple[bytes, bytes], ...]

_MAX_FIELDS = 1024
_MAX_FIELD_SIZE = 256
_MAX_HEADS = 256
_MAX_HEAD_SIZE = 2048

# What the server has to know of a field; DATE, SERVER and CLOSE make up `ResponseHead.flags`.
DROPPED, CLOSE, DATE, SERVER, LENGTH, PRIVATE = 1, 2, 4, 8, 16, 32

# Connection-specific fields are the server's business (RFC 9110 section 7.6.1; the ASGI
# specification asks to ignore `transfer-encoding`). `connection: close` is understood as a wish.
_SPECIAL = {
    b"connection": DROPPED,
    b"content-length": LENGTH,
    b"date": DATE,
    b"keep-alive": DROPPED,
    b"proxy-connection": DROPPED,
    b"sec-websocket-accept": PRIVATE,  # for one client only: not to be remembered
    b"server": SERVER,
    b"set-cookie": PRIVATE,
    b"transfer-encoding": DROPPED,
    b"upgrade": DROPPED,
}

# Fields that say nothing to the server, with their lines.
_fields: dict[tuple[bytes, bytes], bytes] = {}
_recall_field = _fields.get


def check_field(name: bytes, value: bytes) -> tuple[bytes, int]:
    """Check a field that is not remembered; returns its line and what it is to the server.

    Raises:
        AppError: It must not go on the wire.
    """
    line = b"%b: %b\r\n" % (name, value)
    special = _SPECIAL.get(name.lower(), 0)
    if special == LENGTH:
        if not value.isdigit() or len(value) > 19:
            raise AppError(f"content-length is not a number: {value!r}")
        # Without leading zeros, which could be taken for another base.
        return b"%b: %d\r\n" % (name, int(value)), LENGTH
    if not is_token(name):
        raise AppError(f"Header name {name!r} is not a token (RFC 9110 section 5.6.2)")
    if control_in(value):  # RFC 9112 section 11.1: response splitting
        raise AppError(f"Header value of {name!r} contains a control character: {value!r}")
    if special == DROPPED:
        return b"", CLOSE if b"close" in value.lower() else DROPPED
    if not special and len(line) <= _MAX_FIELD_SIZE:
        if len(_fields) >= _MAX_FIELDS:
            _fields.clear()
        _fields[(name, value)] = line
    return line, special


def trailer_line(name: bytes, value: bytes) -> bytes:
    """Check a trailer field; returns its line.

    Raises:
        AppError: It must not go on the wire, or not behind the body (RFC 9110 section 6.5.1).
    """
    line, special = check_field(*as_pair((name, value)))
    if special not in (0, PRIVATE):
        raise AppError(f"{name!r} is not allowed in trailers")
    return line


_heads: dict[tuple[Any, ...], "ResponseHead"] = {}  # by status, whether it is to HEAD, and fields


def response_head(status: int, headers: HeaderPairs, method: str) -> "ResponseHead":
    """The checked head of a response to a `method` request.

    Raises:
        AppError: The status is no final status code, or a field must not go on the wire.
    """
    if type(status) is not int:
        status = _final_status(status)
    try:
        fields = tuple(headers)
    except TypeError:
        raise AppError(f"headers must be pairs of byte strings, not {headers!r}") from None
    try:
        head = _heads.get((status, method == "HEAD", fields))
    except TypeError:  # pairs that are lists
        fields = _as_pairs(fields)
        head = _heads.get((status, method == "HEAD", fields))
    if head is None:
        # Only what cannot change may be a key: tuples of byte strings.
        fields = _as_pairs(fields)
        head = ResponseHead(status, fields, method)
        if len(head.block) <= _MAX_HEAD_SIZE and not head.flags & PRIVATE:
            if len(_heads) >= _MAX_HEADS:
                _heads.clear()
            _heads[(status, method == "HEAD", fields)] = head
    return head


class ResponseHead:
    """A response's status and fields, checked, with what the framing needs to know about them.

    It is shared between equal responses, so it must not be changed. `block` is the status line and
    the application's fields as HTTP/1.1 lines; `bodyless` says that no body may follow;
    `content_length` is None if the application gave none; `flags` has CLOSE if it wants the
    connection closed, DATE and SERVER if it gave these fields itself.

    Raises:
        AppError: The status is no final status code, or a field must not go on the wire.
    """

    __slots__ = ("_fields", "block", "bodyless", "content_length", "flags", "status")

    def __init__(self, status: int, headers: Pairs, method: str) -> None:
        self.status = status = _final_status(status)
        # RFC 9112 section 6.3(1); 1xx never comes here.
        self.bodyless = method == "HEAD" or status == 204 or status == 304
        self.content_length: int | None = None
        self.flags = 0
        self._fields: Headers | None = None  # of the block, once somebody has asked for them
        lines = [f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii")]
        lines += [_recall_field(pair) or self._take(*pair) for pair in headers]
        self.block = b"".join(lines)

    def _take(self, name: bytes, value: bytes) -> bytes:
        """Take in a field that is not remembered; returns its line."""
        line, special = check_field(name, value)
        if special == LENGTH:
            return self._take_length(line, value)
        self.flags |= special
        return line

    def _take_length(self, line: bytes, value: bytes) -> bytes:
        if self.status == 204:  # RFC 9110 section 8.6: none in a 204
            return b""
        length, known = int(value), self.content_length
        if known is not None and known != length:
            raise AppError(f"two content-length headers, {known} and {length}")
        self.content_length = length
        return line if known is None else b""

    def fields(self) -> Headers:
        """The application's fields, names in lower case. Not to be changed."""
        if self._fields is None:
            self._fields = split_fields(self.block[self.block.index(b"\r\n") :])
        return self._fields

    def switching(self) -> "ResponseHead":
        """The same head, that of a 200, for a 101 (RFC 9110 section 15.2.2)."""
        head = copy(self)
        head.status = 101
        head.block = b"HTTP/1.1 101 Switching Protocols" + self.block[self.block.index(b"\r\n") :]
        return head

    def with_length(self, length: int) -> "ResponseHead":
        """The same head with a content-length, if it has none and may have one."""
        # RFC 9110 section 8.6: none in a 204, and in a 304 only that of the 200.
        if self.content_length is not None or self.status in (204, 304):
            return self
        head = copy(self)
        head.content_length = length
        head.block += b"content-length: %d\r\n" % length
        head._fields = None
        return head


# What a refusal of some status says besides: what to speak (RFC 6455 section 4.4), and when to come
# back (RFC 9110 section 10.2.3).
_ADVICE = {426: (b"sec-websocket-version", b"13"), 503: (b"retry-after", b"1")}


def refusal(error: ProtocolError) -> tuple[Headers, bytes]:
    """Fields and body of the answer to a peer's mistake, with its reason for a person to read."""
    body = error.reason.encode("utf-8", "replace") + b"\n"
    fields = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        *error.headers,
    ]
    if error.status in _ADVICE:
        fields.append(_ADVICE[error.status])
    return fields, body


def _as_pairs(headers: HeaderPairs) -> Pairs:
    """Any iterable of pairs, as ASGI allows, as tuples of byte strings."""
    return tuple(as_pair(pair) for pair in headers)


def as_pair(pair: Sequence[bytes]) -> tuple[bytes, bytes]:
    """A field as an application may give it: any sequence of two byte strings, or AppError."""
    try:
        name, value = pair
    except (TypeError, ValueError):
        raise AppError(f"a header must be a pair of byte strings, not {pair!r}") from None
    if type(name) is not bytes:
        raise AppError(f"Header name {name!r} expected to be `bytes`, but got `{type(name)}`")
    if type(value) is not bytes:
        raise AppError(f"Header value {value!r} expected to be `bytes`, but got `{type(value)}`")
    return name, value


def _final_status(status: object) -> int:
    """A status from 200 to 999, as a plain int: an IntEnum will do, anything else will not."""
    if isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 999:
        return int(status)
    raise AppError(f"status must be an integer from 200 to 999, not {status!r}")


def reason_phrase(status: int) -> str:
    """The registered reason phrase. Some clients take an empty one for an error, so never empty."""
    return _REASONS.get(status, "Unknown")


# Python's names for some are those of an older RFC, or of a newer one, by its version.
_REASONS = {int(status): status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
