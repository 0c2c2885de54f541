"""The h11 parser, the strict reference: field lines to fields. Parsing only."""

import h11

from ..types import Headers, ProtocolError
from .grammar import split_fields

# What these say is for the guard to judge; h11 would do so first, and make one length of two.
_FOR_THE_GUARD = {b"content-length", b"host", b"transfer-encoding"}


def parse(block: bytes) -> Headers:
    """The fields of a head."""
    lines = block.splitlines(keepends=True)
    kept = {
        position: field
        for position, field in enumerate(split_fields(block))
        if field[0] in _FOR_THE_GUARD and b":" in lines[position]
    }
    others = b"".join(line for position, line in enumerate(lines) if position not in kept)
    # A fresh connection for each: only h11's reading of a head is used. HTTP/1.0 needs no Host.
    conn = h11.Connection(h11.SERVER, max_incomplete_event_size=len(block) + 64)
    conn.receive_data(b"GET / HTTP/1.0\r\n" + others)
    try:
        request = conn.next_event()
    except h11.RemoteProtocolError as error:
        raise ProtocolError(400, "a header is not valid") from error
    assert isinstance(request, h11.Request)
    headers = list(request.headers)
    for position, field in kept.items():
        headers.insert(position, field)
    return headers
