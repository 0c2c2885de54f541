"""HTTP/1's grammar, on the bytes as they came (RFC 9112 sections 2.2, 3 and 5).

Parsers take more than they should, each something else: lines that end in LF alone, folded fields,
control characters. What they have made of such bytes cannot be seen any more when they are done. So
the bytes are held against the grammar first, and a parser only sees what is well-formed.
"""

import re

from ..limits import RequestLimits
from ..types import Headers, ProtocolError

# RFC 9110 section 5.6.2: token. Section 5.5: field-vchar, obs-text, SP and HTAB.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
is_token = re.compile(_TOKEN).fullmatch
are_field_lines = re.compile(rb"(?:%b:%b\r\n)*+\r\n" % (_TOKEN, _VALUE)).fullmatch

_controls_in = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").findall
_is_version = re.compile(rb"HTTP/\d\.\d").fullmatch

# 414 would say that the target is too long (RFC 9110 section 15.5.15), which has not even begun.
_LONGEST_METHOD = 64

VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}


def split_request_line(line: bytes) -> tuple[bytes, bytes, str]:
    """Method, target and version of a request line, given without its CRLF.

    Raises:
        ProtocolError: It is none, or its version is not spoken here.
    """
    parts = line.split(b" ")
    if len(parts) == 3 and parts[2] in VERSIONS and is_token(parts[0]) and parts[1]:
        return parts[0], parts[1], VERSIONS[parts[2]]
    if _controls_in(line):
        raise ProtocolError(400, _control_fault(line))
    if len(parts) == 3 and _is_version(parts[2]):
        version = parts[2].decode("ascii")
        if version not in ("HTTP/1.0", "HTTP/1.1"):
            raise ProtocolError(505, f"{version} is not spoken here, only HTTP/1.0 and HTTP/1.1")
        raise ProtocolError(400, "the method is not a token")
    raise ProtocolError(400, "the request line is not a method, a target and HTTP/1.1 or HTTP/1.0")


def check_field_lines(block: bytes, limits: RequestLimits) -> None:
    """Check the lines of a header or trailer section, with the empty line that ends it.

    Raises:
        ProtocolError: They break the grammar or a limit.
    """
    if len(block) - 2 > limits.headers_size:
        raise _too_large(limits)
    if len(block) > limits.header_size and _longest(block) > limits.header_size:
        raise _too_long(limits)
    if block.count(b"\r\n") - 1 > limits.header_count:
        raise _too_many(limits)
    if are_field_lines(block) is None:
        raise ProtocolError(400, _fault(block))


def check_unfinished(held: bytearray, scanned: int, limits: RequestLimits) -> int:
    """Check the beginning of a head of which there is no end yet; returns how far it was scanned.

    What breaks the grammar is refused at once, not when somebody's patience ends; and memory is
    bounded.

    Raises:
        ProtocolError: It cannot become a request.
    """
    line = held.find(b"\r\n")
    if line < 0:
        # A CR at the end may be half of the line's end.
        if len(held) - held.endswith(b"\r") > limits.request_line:
            raise line_too_long(held, limits)
        return _scan(held, scanned)
    if scanned <= line:
        if line > limits.request_line:
            raise line_too_long(held, limits)
        split_request_line(bytes(held[:line]))
    return check_unfinished_fields(held, line + 2, scanned, limits)


def check_unfinished_fields(
    held: bytearray, start: int, scanned: int, limits: RequestLimits
) -> int:
    """The same for field lines that begin at `start`."""
    if len(held) - start >= limits.headers_size + 2:
        raise _too_large(limits)
    begun = len(held) - (held.rfind(b"\n") + 1)
    if begun - held.endswith(b"\r") > limits.header_size:
        raise _too_long(limits)
    if held.count(b"\r\n", start) > limits.header_count:
        raise _too_many(limits)
    return _scan(held, scanned)


def _scan(held: bytearray, start: int) -> int:
    """Look for control characters that are no line ends; returns where to look next time."""
    end = len(held) - held.endswith(b"\r")
    if len(_controls_in(held, start, end)) != 2 * held.count(b"\r\n", start, end):
        raise ProtocolError(400, _control_fault(bytes(held[:end])))
    return end


def line_too_long(line: bytes | bytearray, limits: RequestLimits) -> ProtocolError:
    """The refusal of a request line, or of its beginning."""
    if b" " not in line[:_LONGEST_METHOD]:
        return ProtocolError(400, "the request does not begin with a method")
    return ProtocolError(
        414, f"the request line is longer than {limits.request_line} bytes (--max-request-line)"
    )


def _too_large(limits: RequestLimits) -> ProtocolError:
    return ProtocolError(
        431, f"the headers are larger than {limits.headers_size} bytes (--max-headers-size)"
    )


def _too_long(limits: RequestLimits) -> ProtocolError:
    return ProtocolError(
        431, f"a header is larger than {limits.header_size} bytes (--max-header-size)"
    )


def _too_many(limits: RequestLimits) -> ProtocolError:
    return ProtocolError(
        431, f"there are more than {limits.header_count} headers (--max-header-count)"
    )


def _longest(block: bytes) -> int:
    return max(map(len, block.split(b"\r\n")))


def _fault(block: bytes) -> str:
    """What is wrong with these lines, in words."""
    return _control_fault(block) or next(filter(None, map(_line_fault, block.split(b"\r\n"))))


def _control_fault(lines: bytes) -> str:
    """Which control character is in them that should not be, if any."""
    for line in lines.split(b"\r\n"):
        if b"\n" in line:
            return "a line ends in LF, not in CRLF"
        if b"\r" in line:
            return "a CR is not followed by LF"
        if _controls_in(line):
            return "there is a control character in the head"
    return ""


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
    for line in block[:-4].split(b"\r\n"):
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields
