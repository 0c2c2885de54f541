"""The guard: what a parsed HTTP/1 request head must be before anybody acts on it.

One place for both parsers, so that their verdicts are equal. What the parsers let through and RFC
9110, RFC 9112 or common sense refuse ends here as a ProtocolError with the status and the reason.
"""

import re

from ..types import Headers, ProtocolError, Request

# Only these fields decide how a message is framed and where it goes.
_DECISIVE = {
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"transfer-encoding",
    b"upgrade",
}

METHODS = {
    name.encode("ascii"): name
    for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
}
# Fewer bytes than 64 bits can count, however signed: no two programs on the way differ about it.
_MAX_LENGTH_DIGITS = 18
# RFC 9112 section 3.2.1: origin-form, the usual one; of visible ASCII and nothing else.
is_path = re.compile(rb"/[!-~]*").fullmatch
_is_visible = re.compile(rb"[!-~]+").fullmatch
_is_absolute = re.compile(rb"https?://([^/?#]+)", re.IGNORECASE).match


def accept(method: bytes, target: bytes, version: str, headers: Headers) -> Request:
    """Check a request head and work out its framing.

    Args:
        headers: Names in lower case, in the order received.

    Raises:
        ProtocolError: The head is refused.
    """
    if version != "1.1" and version != "1.0":
        raise ProtocolError(505, f"HTTP/{version} is not spoken here, only HTTP/1.0 and HTTP/1.1")
    request = Request(METHODS.get(method) or _other_method(method), target, version, headers)
    hosts = decisive = 0
    for field in headers:
        if field[0] in _DECISIVE:
            decisive += 1
            if field[0] == b"host":
                hosts += 1
    if hosts != 1 or decisive != 1 or version == "1.0":
        _frame(request, hosts)
    if is_path(target) is None:
        _check_target_form(request)
    return request


def _other_method(method: bytes) -> str:
    name = method.decode("ascii").upper()
    if name == "CONNECT":  # whatever its target: its body, if any, is no HTTP
        raise ProtocolError(501, "this server is no proxy: CONNECT is not offered")
    return name


def _frame(request: Request, hosts: int) -> None:
    """Length, persistence, expectation, upgrade (RFC 9112 6, 9.3; RFC 9110 10.1.1, 7.8)."""
    request.keep_alive = request.http_version == "1.1"
    coded = False
    length: bytes | None = None
    options: set[bytes] = set()
    upgrade = b""
    for name, value in request.headers:
        if name == b"content-length":
            if length not in (None, value):
                raise ProtocolError(400, "two Content-Length headers that differ")
            if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
                raise ProtocolError(400, "Content-Length is not a number, or not a possible one")
            length = value
        elif name == b"transfer-encoding":
            if coded or value.lower() != b"chunked":
                raise ProtocolError(
                    501, "the only transfer coding understood here is chunked, once"
                )
            coded = True
        elif name == b"connection":
            options.update(option.strip() for option in value.lower().split(b","))
        elif name == b"expect":
            _check_expectation(request, value)
        elif name == b"upgrade":
            upgrade = value.lower()
    if hosts > 1 or (not hosts and request.http_version == "1.1"):
        # RFC 9112 section 3.2
        raise ProtocolError(400, f"{hosts or 'no'} Host headers; there must be exactly one")
    if coded:
        if length is not None:
            raise ProtocolError(400, "both Content-Length and Transfer-Encoding")
        if request.http_version == "1.0":
            raise ProtocolError(400, "Transfer-Encoding in an HTTP/1.0 request")
        request.content_length = None
    elif length is not None:
        request.content_length = int(length)
    if b"close" in options:
        request.keep_alive = False
    elif b"keep-alive" in options:
        request.keep_alive = True
    if upgrade and b"upgrade" in options and request.http_version == "1.1":
        request.upgrade = upgrade


def _check_expectation(request: Request, value: bytes) -> None:
    if request.http_version == "1.0":
        return  # RFC 9110 section 10.1.1: ignored in HTTP/1.0
    if value.lower() != b"100-continue":
        raise ProtocolError(417, "the only expectation understood here is 100-continue")
    request.expects_continue = True


def _check_target_form(request: Request) -> None:
    """A target that is no path: absolute-form, or `*` with OPTIONS (RFC 9112 section 3.2)."""
    if _is_visible(request.target) is None:
        raise ProtocolError(400, "the request target has characters that must be percent-encoded")
    if request.target == b"*":
        if request.method != "OPTIONS":
            raise ProtocolError(400, "the target * is only for OPTIONS")
        return
    absolute = _is_absolute(request.target)
    if absolute is None:
        raise ProtocolError(400, "the request target is neither a path nor an absolute URL")
    # RFC 9112 section 3.2.2: the authority of an absolute target replaces Host.
    others = [field for field in request.headers if field[0] != b"host"]
    request.headers = [(b"host", absolute[1]), *others]
    rest = request.target[absolute.end() :]
    request.target = rest if rest.startswith(b"/") else b"/" + rest
