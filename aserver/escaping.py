"""Text from outside, made fit for a log: one line stays one line, and a terminal shows what it is.

Whatever is no visible character becomes `\\xNN`. In what stands between quotes, the quote and the
backslash do, too, so that what is written can be told from what was sent.
"""

import re
from collections.abc import Sequence

from .types import Address, Request

_VISIBLE = bytes(range(0x20, 0x7F))
_PLAIN = _VISIBLE.translate(None, b'"\\')
_TARGET = _VISIBLE.translate(None, b'"')
_TARGETS = _TARGET + b"\n"
_escape_control = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").sub

_LONGEST = 500  # characters in a message of the server's log


def quoted(value: bytes) -> str:
    """A header's value, as it may stand between double quotes."""
    if value.translate(None, _PLAIN):
        return "".join(chr(c) if c in _PLAIN else f"\\x{c:02x}" for c in value)
    return value.decode("ascii")


def quoted_target(target: bytes) -> str:
    """A request's target: its double quotes as a URL has them; a backslash is left alone."""
    if target.translate(None, _TARGET):
        target = target.replace(b'"', b"%22")
        return "".join(chr(c) if c in _TARGET else f"\\x{c:02x}" for c in target)
    return target.decode("ascii")


def quoted_targets(targets: Sequence[bytes]) -> list[str]:
    """The same for many, which is faster than one by one as long as all of them are plain."""
    joined = b"\n".join(targets)
    if joined.translate(None, _TARGETS) or joined.count(b"\n") != len(targets) - 1:
        return list(map(quoted_target, targets))
    return joined.decode("ascii").split("\n")


def printable(text: str) -> str:
    """Text without control characters, line ends included; what is too long is cut."""
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "..."
    return text if text.isprintable() else _escape_control(_as_hex, text)


def printable_lines(text: str) -> str:
    """The same for text of several lines, as a traceback is; nothing is cut."""
    if text.isprintable():
        return text
    return "\n".join(
        _escape_control(_as_hex, line).replace("\\x09", "\t") for line in text.split("\n")
    )


def _as_hex(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def peer_name(client: Address | None) -> str:
    """A client, as messages call it."""
    return f"{client[0]}:{client[1]}" if client else "a unix socket"


def request_name(request: Request, client: Address | None, kind: str = "") -> str:
    """A request, as messages call it; of some `kind`, or else by its method."""
    target = printable(request.target.decode("latin-1"))
    return f"{kind or request.method} {target} from {peer_name(client)}"
