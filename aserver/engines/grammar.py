"""HTTP/1's grammar, on the bytes as they came (RFC 9112 sections 2.2, 3 and 5).

Parsers take more than they should, each something else: lines that end in LF alone, folded fields,
control characters. What they have made of such bytes cannot be seen any more when they are done. So
the bytes are looked at before a parser sees them, and the fields are counted afterwards. That each
line has a token and a colon, both parsers see to, and `check_field_lines` says it of them.
"""

import re
from collections.abc import Iterable
from math import inf

from ..limits import RequestLimits
from ..seams import Parser
from ..types import Headers, ProtocolError

# RFC 9110 section 5.6.2: token. Section 5.5: field-vchar, obs-text, SP and HTAB.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
is_token = re.compile(TOKEN).fullmatch
_are_fields = re.compile(rb"(?:%b:%b\r\n)*+\r\n" % (TOKEN, _VALUE)).fullmatch
_NOT_CONTROLS = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))

_controls = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_controls_in = _controls.findall
control_in = _controls.search
_is_request_line = re.compile(rb"(%b) ([^\x00-\x20\x7f]++) (HTTP/1\.[01])" % TOKEN).fullmatch
_is_version = re.compile(rb"HTTP/\d\.\d").fullmatch

# 414 would say that the target is too long (RFC 9110 section 15.5.15), which has not even begun.
_LONGEST_METHOD = 64

VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}


def split_request_line(line: bytes) -> tuple[bytes, bytes, str]:
    """Method, target and version of a request line, given without its CRLF.

    Raises:
        ProtocolError: It is none, or its version is not spoken here.
    """
    match = _is_request_line(line)
    if match is not None:
        method, target, version = match.groups()
        return method, target, VERSIONS[version]
    parts = line.split(b" ")
    if control_in(line):
        raise ProtocolError(400, _control_fault(line))
    if len(parts) == 3 and _is_version(parts[2]):
        if parts[2] not in VERSIONS:
            spoken = "is not spoken here, only HTTP/1.0 and HTTP/1.1"
            raise ProtocolError(505, f"{parts[2].decode('ascii')} {spoken}")
        if not is_token(parts[0]):
            raise ProtocolError(400, "the method is not a token")
    raise ProtocolError(400, "the request line is not a method, a target and HTTP/1.1 or HTTP/1.0")


def read_fields(block: bytes, parse: Parser, limits: RequestLimits) -> Headers:
    """Check the lines of a header section, and have them parsed.

    It is the same check as `check_field_lines`, at a third of the cost: of the bytes before, and of
    the fields after, but for their names, which are left to the guard.

    Args:
        block: The lines, with the empty one that ends them.

    Raises:
        ProtocolError: They break the grammar or a limit.
    """
    lines = block.count(b"\r\n")
    if (
        len(block) - 2 > limits.headers_size
        or (len(block) > limits.header_size and _longest(block) > limits.header_size)
        or lines - 1 > limits.header_count
        # There must be no CR and no LF but those that end lines, and nothing else of their kind.
        or len(block.translate(None, _NOT_CONTROLS)) != 2 * lines
    ):
        raise _first_fault(block, limits)
    headers = parse(block)
    # Whoever folds lines, skips them, or makes one field of two, has fewer.
    if len(headers) != lines - 1:
        raise ProtocolError(400, "there is not one header a line")
    return headers


def check_field_lines(block: bytes, limits: RequestLimits) -> None:
    """Check the lines of a header or trailer section, with the empty line that ends it.

    Raises:
        ProtocolError: They break the grammar or a limit.
    """
    if (
        len(block) - 2 > limits.headers_size
        or (len(block) > limits.header_size and _longest(block) > limits.header_size)
        or block.count(b"\r\n") - 1 > limits.header_count
        or _are_fields(block) is None
    ):
        raise _first_fault(block, limits)


def check_unfinished(held: bytearray, scanned: int, limits: RequestLimits) -> int:
    """Check the beginning of a head of which there is no end yet; returns how far it was scanned.

    A request line that is none, and control characters, are refused at once, not when somebody's
    patience ends; what else is wrong with a line, when the head is complete. Memory is bounded.

    Raises:
        ProtocolError: It cannot become a request.
    """
    line = held.find(b"\r\n")
    if line < 0:
        # A CR at the end may be half of the line's end.
        if len(held) - held.endswith(b"\r") > limits.request_line:
            raise line_too_long(held, limits)
        end = len(held) - held.endswith(b"\r")
        if _has_stray(held, scanned, end):
            raise ProtocolError(400, _control_fault(bytes(held)))
        return end
    if scanned <= line:
        if line > limits.request_line:
            raise line_too_long(held, limits)
        split_request_line(bytes(held[:line]))
    return check_unfinished_fields(held, line + 2, scanned, limits)


def check_unfinished_fields(
    held: bytearray, start: int, scanned: int, limits: RequestLimits
) -> int:
    """The same for field lines that begin at `start`."""
    end = len(held) - held.endswith(b"\r")
    begun = (held.rfind(b"\n", start, max(start, scanned)) + 1) or start
    if (
        len(held) - start >= limits.headers_size + 2
        or (end - begun > limits.header_size and _longest(held[begun:end]) > limits.header_size)
        # (All lines are counted only when one has ended, not with each byte of it.)
        or (held.find(b"\n", scanned) >= 0 and held.count(b"\r\n", start) > limits.header_count)
        or _has_stray(held, scanned, end)
    ):
        raise _first_fault(bytes(held[start:]), limits)
    return end


def _has_stray(held: bytearray, start: int, end: int) -> bool:
    """Whether there are control characters that are no line ends."""
    return len(_controls_in(held, start, end)) != 2 * held.count(b"\r\n", start, end)


def line_too_long(line: bytes | bytearray, limits: RequestLimits) -> ProtocolError:
    """The refusal of a request line, or of its beginning."""
    line = bytes(line[: int(limits.request_line)])
    if control_in(line):
        return ProtocolError(400, _control_fault(line))
    if b" " not in line[:_LONGEST_METHOD]:
        return ProtocolError(400, "the request does not begin with a method")
    return ProtocolError(
        414, f"the request line is longer than {limits.request_line} bytes (--max-request-line)"
    )


def too_large(limits: RequestLimits) -> ProtocolError:
    return ProtocolError(
        431, f"the headers are larger than {limits.headers_size} bytes (--max-headers-size)"
    )


def too_long(limits: RequestLimits) -> ProtocolError:
    return ProtocolError(
        431, f"a header is larger than {limits.header_size} bytes (--max-header-size)"
    )


def too_many(limits: RequestLimits) -> ProtocolError:
    return ProtocolError(
        431, f"there are more than {limits.header_count} headers (--max-header-count)"
    )


def _longest(block: bytes | bytearray) -> int:
    return max(map(len, block.split(b"\r\n")))


def _first_fault(block: bytes, limits: RequestLimits) -> ProtocolError:
    """What is wrong first with these lines, be there an end of them or not.

    It is the same however their bytes were cut, and however many of them have come.
    """
    lines = block.removesuffix(b"\r").split(b"\r\n")
    whole = lines[-2:] == [b"", b""]
    overflow = limits.headers_size + 1 if len(block) > limits.headers_size + 1 + whole else inf
    start = 0
    for number, line in enumerate(lines):
        end = start + len(line)
        stray = control_in(line)
        ended = line and end + 2 <= len(block)
        faults = (
            overflow,
            start + limits.header_size if len(line) > limits.header_size else inf,
            end + 1 if number >= limits.header_count and ended else inf,
            start + stray.start() if stray else inf,
        )
        first = min(faults)
        if first <= end + 1:
            control = ProtocolError(400, _control_fault(line))
            errors = (too_large(limits), too_long(limits), too_many(limits), control)
            return errors[faults.index(first)]
        start = end + 2
    return ProtocolError(400, next(filter(None, map(_line_fault, lines))))


def _control_fault(line: bytes) -> str:
    """What the first control character in a line is, which should have none."""
    found = control_in(line)
    if found and found[0] == b"\n":
        return "a line ends in LF, not in CRLF"
    if found and found[0] == b"\r":
        return "a CR is not followed by LF"
    return "there is a control character in the head"


def _line_fault(line: bytes) -> str:
    """What is wrong with a line without control characters, if anything."""
    if line.startswith((b" ", b"\t")):
        return "a header is folded over two lines"
    name, colon, _ = line.partition(b":")
    if line and not colon:
        return "a header has no colon"
    return "" if not line or is_token(name) else _name_fault(name)


def _name_fault(name: bytes) -> str:
    if not name:
        return "a header has no name"
    if name.endswith((b" ", b"\t")):
        return "there is white space between a header's name and its colon"
    return "a header's name is not a token"


def split_fields(block: bytes) -> Headers:
    """The fields of well-formed lines: names in lower case, values without the space around."""
    fields = []
    for line in filter(None, block.split(b"\r\n")):
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def elements(values: Iterable[bytes]) -> list[bytes]:
    """The elements of a list-based field (RFC 9110 section 5.6.1), the empty ones, too."""
    return [element.strip(b" \t") for value in values for element in value.split(b",")]
