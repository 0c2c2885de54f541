"""The opening handshake of WebSocket: what a client asks for, what it gets, and what is none."""

from typing import Any

import pytest
from wsproto.utilities import generate_accept_token

from aserver.engines.ws_deflate import DeflateLimits
from aserver.engines.ws_handshake import Handshake, accept_key
from aserver.types import AppError, Headers, ProtocolError, Request

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
LIMITS = DeflateLimits(12, 1024)
EXTENSIONS = b"sec-websocket-extensions"
PROTOCOL = b"sec-websocket-protocol"


def request(*extra: tuple[bytes, bytes], method: str = "GET", **instead: bytes | None) -> Request:
    """A handshake, with more fields, and others for key and version; None: without them."""
    fields = {"key": KEY, "version": b"13", **instead}
    headers: Headers = [(b"host", b"a")]
    for name, value in fields.items():
        if value is not None:
            headers.append((b"sec-websocket-" + name.encode(), value))
    return Request(method, b"/", "1.1", [*headers, *extra], upgrade=(b"websocket",))


def connect(*extra: tuple[bytes, bytes], version: bytes | None = b"13") -> Request:
    """The same over HTTP/2 (RFC 8441 section 5), which has no key."""
    headers: Headers = [(b"host", b"a")]
    if version is not None:
        headers.append((b"sec-websocket-version", version))
    return Request("CONNECT", b"/", "2", [*headers, *extra], None, upgrade=(b"websocket",))


def refusal(request: Request) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as caught:
        Handshake(request)
    return caught.value.status, caught.value.reason


# Rules of section 4.2.1


def test_example_of_the_rfc() -> None:
    handshake = Handshake(request((PROTOCOL, b"chat, superchat")))
    assert handshake.subprotocols == ["chat", "superchat"]
    head, deflate = handshake.accept("chat", [], LIMITS)
    assert deflate is None
    assert head.status == 101
    assert head.block == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n"
    )


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS"])
def test_only_a_get_is_a_handshake(method: str) -> None:
    status, reason = refusal(request(method=method))
    assert status == 400
    assert "GET" in reason


@pytest.mark.parametrize("length", [None, 1, 1000])
def test_handshake_has_no_body(length: int | None) -> None:
    with_body = request()
    with_body.content_length = length
    assert refusal(with_body) == (400, "a WebSocket handshake is a GET request without a body")


@pytest.mark.parametrize(
    "version", [b"", b"0", b"8", b"12", b"14", b"013", b"13, 8", b"13.0", b"x"]
)
def test_other_version_is_asked_to_upgrade(version: bytes) -> None:
    status, reason = refusal(request(version=version))
    assert status == 426
    assert "13" in reason


def test_version_is_said_once() -> None:
    assert refusal(request(version=None)) == (
        400,
        "no Sec-WebSocket-Version headers; there must be exactly one",
    )
    assert refusal(request((b"sec-websocket-version", b"13"))) == (
        400,
        "2 Sec-WebSocket-Version headers; there must be exactly one",
    )


def test_version_is_looked_at_first() -> None:
    """Who speaks another one may have other headers, too."""
    assert refusal(request(version=b"7", key=None))[0] == 426


def test_key_is_said_once() -> None:
    assert refusal(request(key=None)) == (
        400,
        "no Sec-WebSocket-Key headers; there must be exactly one",
    )
    assert refusal(request((b"sec-websocket-key", KEY)))[0] == 400


@pytest.mark.parametrize(
    "key",
    [
        b"",
        KEY[:-1],
        KEY[:-2],
        KEY + b"=",
        b"A" + KEY,
        KEY[:-2] + b"A=",
        KEY[:-3] + b"R==",  # bits that no byte has
        KEY[:-3] + b"_==",
        KEY.replace(b"I", b"-"),
        b" " + KEY[1:],
        KEY + b"\n",
        KEY + b", " + KEY,
        b"A" * 24,
        b"=" * 24,
    ],
)
def test_key_is_16_bytes_in_base64(key: bytes) -> None:
    assert refusal(request(key=key)) == (400, "Sec-WebSocket-Key is not 16 bytes in base64")


@pytest.mark.parametrize("last", b"AQgw")
def test_every_key_is_proved_to_be_read(last: int) -> None:
    key = b"+/09azAZaz09azAZaz09a" + bytes([last]) + b"=="
    assert accept_key(key) == generate_accept_token(key)
    head, _ = Handshake(request(key=key)).accept(None, [], None)
    assert b"Sec-WebSocket-Accept: " + generate_accept_token(key) in head.block


# Subprotocols


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], []),
        ([b"a"], ["a"]),
        ([b"b,a"], ["b", "a"]),
        ([b"a", b"b , c"], ["a", "b", "c"]),
        ([b"a\t,\t b"], ["a", "b"]),
        ([b""], []),
        ([b", a,,b ,"], ["a", "b"]),  # RFC 2616 section 2.1: elements may be empty
        ([b"v1.x-y_z!#$%&'*+^`|~", b"A", b"a"], ["v1.x-y_z!#$%&'*+^`|~", "A", "a"]),
        ([b"base64url.-_8"], ["base64url.-_8"]),
    ],
)
def test_subprotocols_are_in_the_clients_order(values: list[bytes], names: list[str]) -> None:
    handshake = Handshake(request(*((PROTOCOL, value) for value in values)))
    assert handshake.subprotocols == names


@pytest.mark.parametrize("value", [b"a b", b"a;b", b'"a"', b"a/b", b"+w==", b"a, (", b"a,\x0b,b"])
def test_subprotocols_that_are_no_list_of_tokens(value: bytes) -> None:
    assert refusal(request((PROTOCOL, value))) == (
        400,
        "Sec-WebSocket-Protocol is not a list of tokens",
    )


@pytest.mark.parametrize("values", [(b"a,a",), (b"a", b"b, a")])
def test_subprotocols_are_different(values: tuple[bytes, ...]) -> None:
    assert refusal(request(*((PROTOCOL, value) for value in values))) == (
        400,
        "Sec-WebSocket-Protocol has a name twice",
    )


# The response


def test_compression_is_agreed_on() -> None:
    offer = (EXTENSIONS, b"x-other, permessage-deflate; client_max_window_bits")
    head, deflate = Handshake(request(offer)).accept(None, [], LIMITS)
    assert deflate is not None
    assert head.block.count(b"Sec-WebSocket-Extensions: " + deflate.response + b"\r\n") == 1
    assert deflate.response.startswith(b"permessage-deflate;")


@pytest.mark.parametrize("value", [None, b"x-other", b"permessage-deflate; unknown"])
def test_no_compression_without_an_offer_that_is_agreed_to(value: bytes | None) -> None:
    fields = [] if value is None else [(EXTENSIONS, value)]
    head, deflate = Handshake(request(*fields)).accept(None, [], LIMITS)
    assert deflate is None
    assert EXTENSIONS not in head.block.lower()


def test_no_compression_when_it_is_off() -> None:
    offer = (EXTENSIONS, b"permessage-deflate")
    head, deflate = Handshake(request(offer)).accept(None, [], None)
    assert deflate is None
    assert EXTENSIONS not in head.block.lower()


def test_applications_headers() -> None:
    headers = [[b"x-a", b"1"], (b"Set-Cookie", b"a=b"), (b"set-cookie", b"c=d")]
    head, _ = Handshake(request()).accept(None, headers, None)
    assert head.block.endswith(b"\r\nx-a: 1\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n")


@pytest.mark.parametrize(
    "name",
    [
        *(b"sec-websocket-accept", b"sec-websocket-key", b"sec-websocket-version"),
        *(EXTENSIONS, PROTOCOL, b"Sec-WebSocket-Protocol", b"SEC-WEBSOCKET-ACCEPT"),
        *(b"content-length", b"Content-Length"),
    ],
)
def test_what_is_for_the_server_to_say(name: bytes) -> None:
    with pytest.raises(AppError, match=name.decode()):
        Handshake(request()).accept(None, [(b"x", b"y"), (name, b"1")], None)


@pytest.mark.parametrize(
    "headers",
    [
        *(5, [5], [b"ab"], [(b"a",)], [(b"a", b"b", b"c")]),
        *([("a", b"b")], [(b"a", "b")], [(b"a", None)]),
        *([(b"a b", b"c")], [(b"", b"c")], [(b"a", b"b\r\nc: d")], [(b"a", b"\x00")]),
    ],
)
def test_headers_that_are_none(headers: Any) -> None:
    with pytest.raises(AppError):
        Handshake(request()).accept(None, headers, None)


def test_acceptances_do_not_remember_each_other() -> None:
    """Heads are shared between equal responses; this one is not a response like others."""
    for key in (KEY, b"A" * 21 + b"A==", KEY):
        head, _ = Handshake(request(key=key)).accept(None, [(b"x", b"y")], None)
        assert head.status == 101
        assert head.block.count(b"101 Switching Protocols\r\n") == 1
        assert generate_accept_token(key) in head.block


# Over HTTP/2


def test_handshake_over_http2() -> None:
    """RFC 8441 section 5: the answer is a 200, with nothing to prove."""
    handshake = Handshake(connect((PROTOCOL, b"chat, superchat")))
    assert handshake.subprotocols == ["chat", "superchat"]
    head, deflate = handshake.accept("chat", [], LIMITS)
    assert deflate is None
    assert head.status == 200
    assert head.fields() == [(PROTOCOL, b"chat")]


def test_acceptance_of_nothing_over_http2() -> None:
    head, _ = Handshake(connect()).accept(None, [], LIMITS)
    assert (head.status, head.fields(), head.content_length) == (200, [], None)


def test_compression_over_http2() -> None:
    handshake = Handshake(connect((EXTENSIONS, b"permessage-deflate")))
    head, deflate = handshake.accept(None, [(b"X-A", b"1")], LIMITS)
    assert deflate is not None
    assert head.fields() == [(EXTENSIONS, deflate.response), (b"x-a", b"1")]


@pytest.mark.parametrize("length", [0, 1, 1000])
def test_handshake_over_http2_is_open(length: int) -> None:
    """One that has ended, or will, is no tunnel."""
    with_length = connect()
    with_length.content_length = length
    assert refusal(with_length) == (
        400,
        "a WebSocket handshake has neither a length nor an end",
    )


@pytest.mark.parametrize("key", [KEY, b"nonsense", b""])
def test_key_over_http2_means_nothing(key: bytes) -> None:
    """RFC 8441 section 5: it is not used there."""
    handshake = Handshake(connect((b"sec-websocket-key", key)))
    head, _ = handshake.accept(None, [], None)
    assert head.fields() == []


@pytest.mark.parametrize(("version", "status"), [(None, 400), (b"8", 426), (b"13, 8", 426)])
def test_version_over_http2(version: bytes | None, status: int) -> None:
    assert refusal(connect(version=version))[0] == status


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ((PROTOCOL, b"a b"), "Sec-WebSocket-Protocol is not a list of tokens"),
        ((PROTOCOL, b"a, a"), "Sec-WebSocket-Protocol has a name twice"),
        ((EXTENSIONS, b"a b"), "Sec-WebSocket-Extensions is not a list of extensions"),
    ],
)
def test_rules_are_the_same_over_http2(field: tuple[bytes, bytes], reason: str) -> None:
    assert refusal(connect(field)) == refusal(request(field)) == (400, reason)


@pytest.mark.parametrize("name", [b"Sec-WebSocket-Accept", b"sec-websocket-extensions"])
def test_what_is_for_the_server_to_say_over_http2(name: bytes) -> None:
    with pytest.raises(AppError, match="must not have the header"):
        Handshake(connect()).accept(None, [(name, b"1")], None)
