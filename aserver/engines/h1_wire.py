"""The bytes of HTTP/1 responses: heads, interim responses, refusals. Pure functions."""

from ..seams import Head
from ..types import Headers, ProtocolError
from ..worker_seams import Defaults
from .fields import DATE, SERVER, check_field, reason_phrase, refusal, trailer_line


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


def refusal_response(error: ProtocolError, defaults: Defaults, *, with_body: bool = True) -> bytes:
    """The whole answer to a peer's mistake, behind which the connection closes."""
    fields, body = refusal(error)
    lines = [b"%b: %b\r\n" % field for field in fields]
    if error.status == 426:  # RFC 9110 section 15.5.22: what to switch to
        lines.append(b"upgrade: websocket\r\nconnection: upgrade, close\r\n\r\n")
    else:
        lines.append(b"connection: close\r\n\r\n")
    if with_body:
        lines.append(body)
    return b"".join((_status_line(error.status), defaults.default_lines, *lines))


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii")
