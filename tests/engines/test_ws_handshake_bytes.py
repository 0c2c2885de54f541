"""Every byte at every place of every Sec-WebSocket header: an answer, and no accident."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.ws_deflate import DeflateLimits
from aserver.engines.ws_handshake import Handshake
from aserver.types import ProtocolError, Request
from tests.engines.wire import Wire, get
from tests.fakes import PARSERS

GOOD = {
    "Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": b"13",
    "Sec-WebSocket-Protocol": b"chat, v2.x",
    "Sec-WebSocket-Extensions": b'permessage-deflate; client_max_window_bits="10", x; y=z',
}
LIMITS = DeflateLimits(12, 0)


def request(name: str, value: bytes) -> Request:
    headers = [(each.lower().encode(), good) for each, good in {**GOOD, name: value}.items()]
    return Request("GET", b"/", "1.1", headers, upgrade=(b"websocket",))


def handshake(request: Request) -> Handshake | int:
    """What comes of it: nothing but these two."""
    try:
        found = Handshake(request)
    except ProtocolError as error:
        return error.status if error.reason.isascii() else 500
    head, _ = found.accept(None, [], LIMITS)
    assert head.block.isascii()
    for name in found.subprotocols:
        head, _ = found.accept(name, [], LIMITS)
        assert head.block.count(b"\r\n") == head.block.count(b"\n") == head.block.count(b"\r")
        assert b"Sec-WebSocket-Protocol: " + name.encode("ascii") + b"\r\n" in head.block
    return found


def places(value: bytes) -> list[int]:
    """The ends, and what is around each separator."""
    separators = [i for i, byte in enumerate(value) if byte in b'",;= .']
    return sorted(
        {0, 1, len(value) // 2, len(value) - 1, len(value), *separators}
        & set(range(len(value) + 1))
    )


@pytest.mark.parametrize("name", GOOD)
def test_each_byte_at_each_place(name: str) -> None:
    good = GOOD[name]
    results = {handshake(request(name, good)).__class__}
    for byte in range(256):
        for place in places(good):
            for width in (0, 1):  # instead of another, or between two
                value = good[:place] + bytes([byte]) + good[place + width :]
                result = handshake(request(name, value))
                results.add(result.__class__)
                if isinstance(result, int):
                    assert result == (426 if name.endswith("Version") else 400)
                else:
                    assert byte == 9 or 32 <= byte <= 126, value
    assert results == {Handshake, int}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", [b"\x00", b" \x0b", b"\xff" * 100, "ü".encode()])
def test_nothing_but_such_bytes(name: str, value: bytes) -> None:
    assert handshake(request(name, value)) == (426 if name.endswith("Version") else 400)


@pytest.mark.parametrize(
    "name", [*GOOD, "Sec-WebSocket-Accept", "Sec-WebSocket-X", "Sec-WebSocket-"]
)
def test_each_byte_on_the_wire(name: str) -> None:
    """Both parsers take, and refuse, the same; and what they let through is an answer too."""
    good = GOOD.get(name, b"abc")
    for byte in range(256):
        for place in (0, 1, len(good) - 1, len(good)):
            value = good[:place] + bytes([byte]) + good[place:]
            fields = [f"{each}: {text.decode()}" for each, text in GOOD.items() if each != name]
            head = get("/", "Connection: Upgrade", "Upgrade: websocket", *fields)
            data = head[:-2] + name.encode() + b": " + value + b"\r\n\r\n"
            outcomes = []
            for parser in PARSERS:
                wire = Wire(parser)
                wire.feed(data)
                if wire.all_refusals:
                    (error,) = wire.all_refusals
                    outcomes.append(error.status)
                    assert wire.statuses == [error.status]
                    continue
                (cycle,) = wire.cycles
                result = handshake(cycle.request)
                outcomes.append(result if isinstance(result, int) else 101)
            assert outcomes[0] == outcomes[1], value
            assert outcomes[0] in (101, 400, 426)


@settings(max_examples=300)
@given(st.sampled_from([*GOOD]), st.binary(max_size=40))
def test_any_value(name: str, value: bytes) -> None:
    handshake(request(name, value))


@settings(max_examples=300)
@given(st.text('xy=;," \t1\\()', max_size=30))
def test_any_list_of_extensions(value: str) -> None:
    handshake(request("Sec-WebSocket-Extensions", value.encode()))
