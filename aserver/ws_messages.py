"""What an application says to a WebSocket, checked: messages and close codes."""

from typing import NoReturn

from .engines.ws import NORMAL
from .types import AppError, Message

# RFC 6455 section 7.4 and IANA's registry: what may be sent in a close frame. 1005, 1006 and 1015
# only ever stand for one that did not come.
_CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def payload(message: Message) -> str | bytes:
    """What websocket.send has: a text or bytes, possibly empty.

    Raises:
        AppError: Both, none, or something else.
    """
    data, text = message.get("bytes"), message.get("text")
    if text is None:
        if type(data) is bytes:
            return data
        if isinstance(data, bytes | bytearray | memoryview):
            return bytes(data)
        _refuse(data, "bytes", "byte string")
    if data is not None:
        raise AppError("websocket.send must have either 'bytes' or 'text', not both")
    if not isinstance(text, str):
        _refuse(text, "text", "str")
    return text


def _refuse(value: object, key: str, kind: str) -> NoReturn:
    if value is None:
        raise AppError("websocket.send must have either 'bytes' or 'text'")
    raise AppError(f"websocket.send must have a {kind} as {key!r}, not {type(value).__name__}")


def close_code(message: Message) -> tuple[int, str]:
    """What websocket.close has: a code that may be sent, 1000 by default, and a reason.

    Raises:
        AppError: The code is none, or stands for a close frame that did not come.
    """
    code, reason = message.get("code"), message.get("reason")
    if code is None:
        code = NORMAL
    if not isinstance(code, int) or isinstance(code, bool) or code not in _CODES:
        raise AppError(f"websocket.close must not have the code {code!r} (RFC 6455 section 7.4)")
    if reason is None:
        reason = ""
    elif not isinstance(reason, str):
        raise AppError(f"websocket.close must have a str as 'reason', not {type(reason).__name__}")
    try:
        reason.encode("utf-8")
    except UnicodeEncodeError:
        raise AppError("websocket.close has a reason with lone surrogates, no UTF-8") from None
    return int(code), reason


def subprotocol(message: Message) -> str | None:
    """The subprotocol that websocket.accept has, if any.

    Raises:
        AppError: It is no text.
    """
    name = message.get("subprotocol")
    if name is not None and not isinstance(name, str):
        raise AppError(f"websocket.accept must have a str as 'subprotocol', not {name!r}")
    return name or None
