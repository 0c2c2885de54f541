"""HTTP/2 frames as a client sends them, as wrong as one likes (RFC 9113 sections 4 and 6)."""

from collections.abc import Iterable

from aserver.engines.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from aserver.types import Field

WINDOW = 65_535  # section 6.9.2: everybody's at the beginning
MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_HEADER_LIST, CONNECT_PROTOCOL = 3, 4, 5, 6, 8
# Section 7.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
CALM = 11


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Any frame (section 4.1)."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
    return head + stream.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    """Four bytes."""
    return value.to_bytes(4, "big")


def _literal(text: bytes) -> bytes:
    """A string of RFC 7541 section 5.2, plain."""
    rest = len(text) - 127
    if rest < 0:
        return bytes((len(text),)) + text
    size = b"\x7f"
    while rest >= 128:
        size += bytes((rest & 127 | 128,))
        rest >>= 7
    return size + bytes((rest,)) + text


def block(fields: Iterable[Field]) -> bytes:
    """A header block of literals, which leaves no trace in the tables."""
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields)


def request_fields(method: str = "GET", path: str = "/", *fields: Field) -> list[Field]:
    """A request's header section."""
    pseudo = [
        (b":method", method.encode()),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", path.encode()),
    ]
    return [*pseudo, *fields]


def headers(
    stream: int, fields: Iterable[Field], *, ended: bool = True, whole: bool = True
) -> bytes:
    """A HEADERS frame; without `whole`, CONTINUATION is to follow."""
    flags = (END_STREAM if ended else 0) | (END_HEADERS if whole else 0)
    return frame(HEADERS, flags, stream, block(fields))


def get(stream: int, path: str = "/", *fields: Field) -> bytes:
    """A request without a body."""
    return headers(stream, request_fields("GET", path, *fields))


def post(stream: int, path: str = "/", *fields: Field) -> bytes:
    """A request whose body comes next."""
    return headers(stream, request_fields("POST", path, *fields), ended=False)


def length(size: int) -> Field:
    """The content-length field."""
    return (b"content-length", b"%d" % size)


def connect(stream: int, protocol: str = "websocket", *fields: Field) -> bytes:
    """An extended CONNECT (RFC 8441 section 4)."""
    fields = ((b":protocol", protocol.encode()), *fields)
    return headers(stream, request_fields("CONNECT", "/", *fields), ended=False)


def data(stream: int, payload: bytes = b"", *, ended: bool = False, padding: int = -1) -> bytes:
    """A DATA frame, with so many bytes of padding if that is not negative."""
    flags = END_STREAM if ended else 0
    if padding < 0:
        return frame(DATA, flags, stream, payload)
    return frame(DATA, flags | PADDED, stream, bytes((padding,)) + payload + bytes(padding))


def reset(stream: int, code: int = 8) -> bytes:
    """A RST_STREAM frame; CANCEL if nothing else is said."""
    return frame(RST_STREAM, 0, stream, number(code))


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(name.to_bytes(2, "big") + number(value) for name, value in pairs)
    return frame(SETTINGS, 0, 0, payload)


SETTINGS_ACK = frame(SETTINGS, ACK)


def window_update(stream: int, size: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, number(size))


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    """A PING frame."""
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last: int = 0, code: int = 0) -> bytes:
    """A GOAWAY frame."""
    return frame(GOAWAY, 0, 0, number(last) + number(code))


def priority_update(stream: int, value: bytes) -> bytes:
    """A PRIORITY_UPDATE frame (RFC 9218 section 7.1)."""
    return frame(PRIORITY_UPDATE, 0, 0, number(stream) + value)


def continuation(stream: int, payload: bytes, *, whole: bool = True) -> bytes:
    """A CONTINUATION frame."""
    return frame(CONTINUATION, END_HEADERS if whole else 0, stream, payload)
