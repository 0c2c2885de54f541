"""A WebSocket handshake that is denied, or is none; and the ways to spell it."""

import pytest

from aserver.engines.ws_handshake import Handshake
from aserver.types import ProtocolError
from tests.engines.test_h1_upgrade import ACCEPTED, FIELDS, HANDSHAKE, upgrade
from tests.engines.wire import DEFAULTS, Wire, get, plain
from tests.fakes import PARSERS


@pytest.mark.parametrize("status", [403, 401, 503])
def test_denial_is_a_response_and_the_connection_is_kept(wire: Wire, status: int) -> None:
    wire.feed(HANDSHAKE)
    wire.answer(b"no", status=status)
    assert wire.sent.startswith(b"HTTP/1.1 %d " % status)
    assert wire.calls == ["idle"]
    wire.feed(get("/next"))
    assert wire.current.request.target == b"/next"
    wire.answer(b"yes")
    assert wire.sent == plain(b"yes")
    wire.feed(HANDSHAKE)
    upgrade(wire)
    assert wire.sent == ACCEPTED


def test_request_behind_a_denied_handshake_is_answered(wire: Wire) -> None:
    wire.feed(HANDSHAKE + get("/next"))
    wire.answer(status=403)
    wire.answer(b"yes")
    assert wire.sent.endswith(plain(b"yes"))


def test_denial_in_pieces(wire: Wire) -> None:
    wire.feed(HANDSHAKE)
    wire.begin(401, body=b"a")
    wire.go_on(b"b", more=False)
    assert wire.sent.endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    assert wire.calls == ["idle"]


def test_other_version_is_told_which_is_spoken(wire: Wire) -> None:
    """RFC 9110 section 15.5.22, and RFC 6455 section 4.4."""
    wire.feed(HANDSHAKE.replace(b"Version: 13", b"Version: 8"))
    with pytest.raises(ProtocolError) as caught:
        Handshake(wire.current.request)
    wire.engine.refuse(caught.value)
    head, _, body = wire.sent.partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert first == "HTTP/1.1 426 Upgrade Required"
    assert sorted(fields) == [
        "connection: upgrade, close",
        f"content-length: {len(body)}",
        "content-type: text/plain; charset=utf-8",
        DEFAULTS[0],
        "sec-websocket-version: 13",
        DEFAULTS[1],
        "upgrade: websocket",
    ]
    assert body.endswith(b"13 (RFC 6455)\n")
    assert wire.calls == ["linger"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_http_cannot_be_upgraded(wire: Wire, version: str) -> None:
    """RFC 9110 section 7.8."""
    wire.feed(get("/chat", *FIELDS, version=version))
    assert (wire.current.request.upgrade == (b"websocket",)) is (version == "1.1")


def test_upgrade_that_connection_does_not_name_is_none(wire: Wire) -> None:
    wire.feed(get("/chat", *FIELDS).replace(b", Upgrade", b""))
    assert wire.current.request.upgrade == ()


def test_parsers_agree() -> None:
    """Of the same handshake in many spellings, the same is found."""
    spellings = [
        HANDSHAKE,
        HANDSHAKE.lower().replace(b"http/1.1", b"HTTP/1.1").replace(b"get", b"GET"),
        HANDSHAKE.replace(b": ", b":"),
        HANDSHAKE.replace(b": ", b": \t "),
        HANDSHAKE.replace(b"websocket", b"WebSocket, h2c"),
        HANDSHAKE.replace(b"\r\nHost", b"\r\nSec-WebSocket-Protocol: a, b\r\nHost"),
        HANDSHAKE.replace(b"\r\n\r\n", b'\r\nSec-WebSocket-Extensions: x; y="z"\r\n\r\n'),
        HANDSHAKE.replace(b"Sec-WebSocket-Key", b"Sec_WebSocket_Key"),
        HANDSHAKE.replace(b"Sec-WebSocket-Key", b"Sec-WebSocket-Key "),
        HANDSHAKE.replace(b"\r\nSec-WebSocket-Key", b"\r\n Sec-WebSocket-Key"),
    ]
    for data in spellings:
        found = []
        for parser in PARSERS:
            wire = Wire(parser)
            wire.feed(data)
            request = wire.cycles[0].request if wire.cycles else None
            found.append(
                (
                    request and (request.upgrade, request.headers, request.content_length),
                    [(error.status, error.reason) for error in wire.all_refusals],
                )
            )
        assert found[0] == found[1]
