"""The bytes of HTTP/1 responses: heads, interim responses, refusals. Pure functions."""

from ..seams import Defaults, Head
from ..types import Headers, ProtocolError
from .fields import DATE, SERVER, check_field, reason_phrase, trailer_line

# What a refusal of some status says besides: when to come back (RFC 9110 section 10.2.3), and what
# to speak (section 15.5.22, and RFC 6455 section 4.4).
_ADVICE = {
    426: b"sec-websocket-version: 13\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n",
    503: b"retry-after: 1\r\nconnection: close\r\n\r\n",
}


def unusual_pieces(
    head: Head, version: str, framing: bytes, keep_alive: bool, defaults: Defaults
) -> list[bytes]:
    """A response head, down to the empty line that ends it.

    It says what the usual one need not say: that the connection closes, or is kept although this is
    HTTP/1.0; or it leaves out what the application has said itself.

    Args:
        head: Status and fields, as HTTP/1.1 lines.
        version: The request's. It is echoed, as Daphne and Go do: old clients are happier with it.
        framing: The line that says how the body is framed, if `head` does not.
        keep_alive: Whether the connection is kept (RFC 9112 section 9.3).
    """
    block = head.block
    persistence = b"" if keep_alive else b"connection: close\r\n"
    if version == "1.0":
        block = b"HTTP/1.0" + block[8:]
        persistence = b"connection: keep-alive\r\n" if keep_alive else persistence
    return [block, framing, _missing_lines(head.flags, defaults), persistence, b"\r\n"]


def _missing_lines(flags: int, defaults: Defaults) -> bytes:
    """The default fields that the application has not given itself."""
    date = b"" if flags & DATE else defaults.date_line
    return date if flags & SERVER else date + defaults.server_line


def interim_response(status: int, headers: Headers) -> bytes:
    """An informational (1xx) response (RFC 9110 section 15.2)."""
    lines = [check_field(name, value)[0] for name, value in headers]
    return b"".join((_status_line(status), *lines, b"\r\n"))


def last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body, with trailer fields (RFC 9112 section 7.1.2).

    Raises:
        AppError: A field that must not go on the wire, or not there.
    """
    lines = [trailer_line(name, value) for name, value in trailers]
    return b"".join((b"0\r\n", *lines, b"\r\n"))


def refusal(error: ProtocolError, defaults: Defaults, *, with_body: bool = True) -> bytes:
    """The whole answer to a peer's mistake, with its reason for a person to read."""
    body = error.reason.encode("utf-8", "replace") + b"\n"
    return b"".join(
        (
            _status_line(error.status),
            defaults.default_lines,
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(body),
            _ADVICE.get(error.status, b"connection: close\r\n\r\n"),
            body if with_body else b"",
        )
    )


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii")
