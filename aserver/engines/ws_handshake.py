"""The opening handshake of WebSocket: what a client asks for, and gets.

Over HTTP/1.1 it is a GET that becomes a 101 (RFC 6455 section 4.2); over HTTP/2 a CONNECT that is
answered with a 200, without a key and its proof (RFC 8441 section 5).
"""

import re
from base64 import b64encode
from hashlib import sha1
from typing import NamedTuple

from ..types import AppError, HeaderPairs, Headers, ProtocolError, Request
from .fields import ResponseHead, as_pair, response_head
from .grammar import elements, is_token
from .ws_deflate import Deflate, DeflateLimits, negotiated

VERSION = b"13"

# What section 1.3 has every server append to the key.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Section 4.1: 16 bytes in base64. The last digit has four bits that are not zero.
_is_key = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==").fullmatch

# RFC 6455 section 9.1: extension *( ";" name [ "=" value ] ), with a value that is a token, or is
# one without its quotes. Elements of a list may be empty (RFC 2616 section 2.1, "#rule").
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb"\"((?:\\?[!#$%&'*+\-.^_`|~0-9A-Za-z])++)\""
_PARAMETER = rb"[ \t]*+;[ \t]*+(%b)(?:[ \t]*+=[ \t]*+(?:(%b)|%b))?+" % (_TOKEN, _TOKEN, _QUOTED)
_find_parameters = re.compile(_PARAMETER).findall
_match_extension = re.compile(
    rb"[ \t,]*+(%b)((?:%b)*+)[ \t]*+(?:,|\Z)" % (_TOKEN, re.sub(rb"\((?!\?)", b"(?:", _PARAMETER))
).match

_is_over = re.compile(rb"[ \t,]*+\Z").match

# More are not looked at: it is the first of one name that is agreed to.
_MOST_OFFERS = 16

# What a handshake's response has is for the server to say.
_RESERVED = {
    b"content-length",
    b"sec-websocket-accept",
    b"sec-websocket-extensions",
    b"sec-websocket-key",
    b"sec-websocket-protocol",
    b"sec-websocket-version",
}


class Offer(NamedTuple):
    """An extension that the client offers, with its parameters; those without a value have b""."""

    name: bytes
    parameters: list[tuple[bytes, bytes]]


class Handshake:
    """A client's opening handshake, checked.

    Attributes:
        subprotocols: In the order of the client's preference.

    Raises:
        ProtocolError: 400, or 426 for a version of WebSocket that is not spoken here.
    """

    __slots__ = ("_key", "_offers", "subprotocols")

    def __init__(self, request: Request) -> None:
        is_http2 = request.http_version == "2"
        if is_http2 and request.content_length is not None:
            raise ProtocolError(400, "a WebSocket handshake has neither a length nor an end")
        if not is_http2 and (request.method != "GET" or request.content_length != 0):
            raise ProtocolError(400, "a WebSocket handshake is a GET request without a body")
        fields: dict[bytes, list[bytes]] = {}
        for name, value in request.headers:
            if name.startswith(b"sec-websocket-"):
                fields.setdefault(name, []).append(value)
        _check_version(fields.get(b"sec-websocket-version", []))
        self._key = None if is_http2 else _checked_key(fields.get(b"sec-websocket-key", []))
        self.subprotocols = _subprotocols(fields.get(b"sec-websocket-protocol", []))
        self._offers = _offers(fields.get(b"sec-websocket-extensions", []))

    def accept(
        self, subprotocol: str | None, headers: HeaderPairs, limits: DeflateLimits | None
    ) -> tuple[ResponseHead, Deflate | None]:
        """The response's head, and the compression that it agrees to.

        Args:
            subprotocol: The application's choice of `subprotocols`, or None.
            headers: What else it wants to say.
            limits: Of a compression; None: none at all.

        Raises:
            AppError: It says what is not for it to say.
        """
        # So spelled for clients that compare letters; HTTP/2 has its own way with them.
        fields = []
        if self._key is not None:
            fields.append((b"Sec-WebSocket-Accept", accept_key(self._key)))
        if subprotocol is not None:
            fields.append((b"Sec-WebSocket-Protocol", subprotocol.encode("ascii")))
        deflate = None
        if limits is not None and self._offers:
            deflate = negotiated(self._offers, limits)
            if deflate is not None:
                fields.append((b"Sec-WebSocket-Extensions", deflate.response))
        head = response_head(200, [*fields, *_unreserved(headers)], "GET")
        return head if self._key is None else head.switching(), deflate


def accept_key(key: bytes) -> bytes:
    """The proof that the server has read the client's key (section 4.2.2, item 5.4)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def _unreserved(headers: HeaderPairs) -> Headers:
    try:
        pairs = [as_pair(pair) for pair in headers]
    except TypeError:
        raise AppError(f"headers must be pairs of byte strings, not {headers!r}") from None
    for pair in pairs:
        if pair[0].lower() in _RESERVED:
            raise AppError(f"websocket.accept must not have the header {pair[0].decode('latin-1')}")
    return pairs


def _check_version(values: list[bytes]) -> None:
    if len(values) != 1:
        raise ProtocolError(400, _not_one("Sec-WebSocket-Version", values))
    if values[0] != VERSION:  # section 4.4: the answer says which one is spoken
        raise ProtocolError(426, "the only version of WebSocket spoken here is 13 (RFC 6455)")


def _checked_key(values: list[bytes]) -> bytes:
    if len(values) != 1:
        raise ProtocolError(400, _not_one("Sec-WebSocket-Key", values))
    if _is_key(values[0]) is None:
        raise ProtocolError(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    return values[0]


def _not_one(name: str, values: list[bytes]) -> str:
    return f"{len(values) or 'no'} {name} headers; there must be exactly one"


def _subprotocols(values: list[bytes]) -> list[str]:
    """Section 4.1, item 10: tokens, all different."""
    names = [name for name in elements(values) if name]
    if not all(map(is_token, names)):
        raise ProtocolError(400, "Sec-WebSocket-Protocol is not a list of tokens")
    if len(set(names)) < len(names):
        raise ProtocolError(400, "Sec-WebSocket-Protocol has a name twice")
    return [name.decode("ascii") for name in names]


def _offers(values: list[bytes]) -> list[Offer]:
    """Section 9.1. Each header is a list by itself: no list begins in one and ends in another."""
    offers: list[Offer] = []
    for value in values:
        position = 0
        while len(offers) < _MOST_OFFERS and not _is_over(value, position):
            match = _match_extension(value, position)
            if match is None:
                raise ProtocolError(400, "Sec-WebSocket-Extensions is not a list of extensions")
            offers.append(Offer(match[1], _parameters(match[2])))
            position = match.end()
    return offers


def _parameters(text: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (name, token or quoted.replace(b"\\", b""))
        for name, token, quoted in _find_parameters(text)
    ]
