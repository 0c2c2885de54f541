"""What a line of the access log has of a request, as text that is fit for it.

Functions of single values. Which of them a line needs is the business of its format.
"""

import re
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

from .escaping import quoted
from .types import Address


class Memo(dict[Any, str]):
    """What a function makes of its argument: the same things come again and again."""

    _MOST = 1024  # entries
    _LONGEST = 500  # characters

    def __init__(self, make: Callable[[Any], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> str:
        text = self._make(key)
        if len(text) <= self._LONGEST:
            if len(self) >= self._MOST:
                self.clear()
            self[key] = text
        return text


def peer(client: Address | None) -> str:
    return f"{client[0]}:{client[1]}" if client else "None"


def user_name(authorization: bytes) -> str:
    """Whoever the client says it is (RFC 7617); no space in it, for it stands between spaces."""
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return "-"
    try:
        name = a2b_base64(credentials).partition(b":")[0]
    except ValueError:
        return "-"
    return quoted(name).replace(" ", r"\x20") or "-"


def response_field(name: str) -> Callable[[bytes], str]:
    """Looks a field up in the lines of a response head."""
    search = re.compile(rb"\r\n%b: ([^\r]*)" % re.escape(name.encode()), re.IGNORECASE).search

    def find(block: bytes) -> str:
        match = search(block)
        return quoted(match[1]) if match else "-"

    return find
