"""What an application says to a WebSocket: every form that it may have, and none other."""

import array
from http import HTTPStatus
from typing import Any

import pytest

from aserver.types import AppError
from aserver.ws_messages import close_code, payload


class Text(str):
    """As lazily translated strings are, or template engines' safe ones."""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"text": "a"}, "a"),
        ({"bytes": b"a"}, b"a"),
        ({"text": ""}, ""),
        ({"bytes": b""}, b""),
        ({"text": "a", "bytes": None}, "a"),
        ({"text": None, "bytes": b"a"}, b"a"),
        ({"text": "", "bytes": None}, ""),
        ({"text": None, "bytes": b""}, b""),
        ({"text": "é \U0001f600"}, "é \U0001f600"),
        ({"bytes": bytearray(b"a")}, b"a"),
        ({"bytes": memoryview(b"abc")[1:]}, b"bc"),
        ({"text": Text("a")}, "a"),
        ({"text": "a", "unknown": 5}, "a"),
    ],
)
def test_payload(message: dict[str, Any], expected: str | bytes) -> None:
    data = payload({"type": "websocket.send", **message})
    assert data == expected
    assert isinstance(data, type(expected))


def test_bytes_that_may_change_are_copied() -> None:
    data = bytearray(b"before")
    sent = payload({"bytes": data})
    data[:] = b"after!"
    assert sent == b"before"


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({}, "must have either 'bytes' or 'text'$"),
        ({"text": None, "bytes": None}, "must have either 'bytes' or 'text'$"),
        ({"text": "a", "bytes": b"a"}, "not both"),
        ({"text": "", "bytes": b""}, "not both"),
        ({"text": b"a"}, "a str as 'text', not bytes"),
        ({"bytes": "a"}, "a byte string as 'bytes', not str"),
        ({"bytes": 5}, "not int"),
        ({"bytes": array.array("b", [1])}, "not array"),
        ({"text": 5}, "not int"),
        ({"text": ["a"]}, "not list"),
    ],
)
def test_payload_that_is_none(message: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AppError, match=complaint):
        payload({"type": "websocket.send", **message})


# RFC 6455 sections 7.4.1 and 7.4.2, and IANA's registry as of 2024, which ends with 1014. 1004 has
# no meaning; 1005, 1006 and 1015 must not be in a frame.
SENDABLE = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}


def test_every_code() -> None:
    for code in [*range(-10, 5100), 2**16, 2**31, 2**64]:
        if code in SENDABLE or 3000 <= code < 5000:
            assert close_code({"code": code}) == (code, "")
        else:
            with pytest.raises(AppError, match=rf"the code {code} \(RFC 6455"):
                close_code({"code": code})


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, (1000, "")),
        ({"code": None, "reason": None}, (1000, "")),
        ({"code": 4000, "reason": ""}, (4000, "")),
        ({"reason": "bye"}, (1000, "bye")),
        ({"code": 1001, "reason": "é" * 200}, (1001, "é" * 200)),
    ],
)
def test_close_code(message: dict[str, Any], expected: tuple[int, str]) -> None:
    assert close_code({"type": "websocket.close", **message}) == expected


def test_code_of_an_enum() -> None:
    class Code(int):
        pass

    code, _ = close_code({"code": Code(4001)})
    assert type(code) is int
    assert code == 4001


@pytest.mark.parametrize("code", [True, False, "1000", 1000.0, b"1000", HTTPStatus.OK, [], 0])
def test_code_that_is_none(code: object) -> None:
    with pytest.raises(AppError, match="must not have the code"):
        close_code({"code": code})


@pytest.mark.parametrize("reason", [b"bye", 5, ["bye"], False])
def test_reason_that_is_none(reason: object) -> None:
    with pytest.raises(AppError, match=f"'reason', not {type(reason).__name__}"):
        close_code({"reason": reason})
