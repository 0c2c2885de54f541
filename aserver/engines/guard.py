"""The guard: what a request head must be before anybody acts on it.

One place for both parsers, so that their verdicts are equal: the bytes are looked at before a
parser sees them, and what its fields mean is judged here, never by itself. What RFC 9110, RFC 9112
or common sense refuse ends as a ProtocolError with the status and the reason.
"""

import re
from typing import NoReturn

from ..limits import RequestLimits
from ..seams import Parser
from ..types import ProtocolError, Request
from .grammar import (
    check_field_lines,
    elements,
    is_token,
    line_too_long,
    read_fields,
    split_fields,
    split_request_line,
)

# Only these fields decide how a message is framed, where it goes, and what may be sent back.
_DECISIVE = {
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}
# What most clients say although it goes without saying.
_USUAL = (b"connection", b"keep-alive")

# The methods of IANA's registry; but for CONNECT, which is for proxies, and PRI, which is for
# nobody. And PURGE, which caches are told.
_METHODS = (
    "GET HEAD POST PUT PATCH DELETE OPTIONS TRACE QUERY PURGE "
    "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR "
    "MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH "
    "UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL"
)
METHODS = {name.encode("ascii"): name for name in _METHODS.split()}
# Fewer bytes than 64 bits can count, however signed: no two programs on the way differ about it.
_MAX_LENGTH_DIGITS = 18
# RFC 9110 section 8.6 allows leading zeros; they are what other bases begin with, and nobody's.
_is_length = re.compile(rb"0|[1-9][0-9]*").fullmatch
# RFC 9112 section 3.2.1: origin-form, the usual one. Of visible ASCII, less the fragment's sign,
# and in the path, the backslash, which some take for a slash. Browsers send it as it is in a query.
_PATH = rb"[!\"$->@-\[\]-~]*+(?:\?[!\"$-~]*+)?"
is_path = re.compile(rb"/" + _PATH).fullmatch
_is_absolute = re.compile(rb"https?://([^/?#]*+)(" + _PATH + rb")", re.IGNORECASE).fullmatch
# RFC 3986 section 3.2.2, without the comma: a list of hosts is what two Host headers become.
is_authority = re.compile(
    rb"(?:[A-Za-z0-9\-._~%!$&'()*+;=]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5})?"
).fullmatch

# Those that need no second look. Both are bounded: what is in them comes from outside.
_known_authorities: set[bytes] = set()
_MAX_AUTHORITIES = 256
_MAX_AUTHORITY_SIZE = 255
_indifferent_names: set[bytes] = set()
_MAX_NAMES = 1024
_MAX_NAME_SIZE = 64


def accept(line: bytes, block: bytes, parse: Parser, limits: RequestLimits) -> Request:
    """Check a request head, have it parsed, and work out its framing.

    Args:
        line: The request line, without its CRLF.
        block: All lines behind it, with the empty one that ends the head.

    Raises:
        ProtocolError: The head is refused.
    """
    if len(line) > limits.request_line:
        raise line_too_long(line, limits)
    method, target, version = split_request_line(line)
    try:
        headers = read_fields(block, parse, limits)
    except ProtocolError:
        # The same words for all parsers: what they dislike about well-formed lines is the meaning.
        check_field_lines(block, limits)
        name = METHODS.get(method) or refuse_method(method)
        _judge(Request(name, target, version, split_fields(block)))
        raise
    request = Request(METHODS.get(method) or refuse_method(method), target, version, headers)
    if not _is_ordinary(request):
        # Behind CGI and WSGI conventions they could not be told from those with hyphens, which a
        # proxy may have set. nginx and Daphne drop them, too.
        request.headers = [field for field in headers if b"_" not in field[0]]
        _judge(request)
    if is_path(target) is None:
        _check_target_form(request)
    elif b"%00" in target:
        check_path(target)
    if request.content_length and request.content_length > limits.body_size:
        raise body_too_large(limits)
    return request


def body_too_large(limits: RequestLimits) -> ProtocolError:
    """The refusal of a body by its announced or its real size."""
    return ProtocolError(
        413, f"the request body is larger than {limits.body_size} bytes (--max-body-size)"
    )


def refuse_method(method: bytes) -> NoReturn:
    name = method.decode("ascii")
    if name == "CONNECT":  # whatever its target: its body, if any, is no HTTP
        raise ProtocolError(501, "this server is no proxy: CONNECT is not offered")
    raise ProtocolError(501, f"the method {name[:32]} is not known here")


def _is_ordinary(request: Request) -> bool:
    """Whether its only field that decides anything is a Host that is known."""
    hosts = 0
    for field in request.headers:
        if field[0] not in _indifferent_names and not is_indifferent(field[0]):
            if field[0] == b"host" and field[1] in _known_authorities:
                hosts += 1
            elif field != _USUAL:
                return False
    return hosts == 1 and request.http_version == "1.1"


def is_indifferent(name: bytes) -> bool:
    """Whether a field of this name decides nothing. Remembers those of which that is so.

    Raises:
        ProtocolError: It is no name at all, should a parser ever let that pass.
    """
    if name in _indifferent_names:
        return True
    if name in _DECISIVE or b"_" in name:
        return False
    if not is_token(name):
        raise ProtocolError(400, "a header's name is not a token")
    if len(name) <= _MAX_NAME_SIZE:
        if len(_indifferent_names) >= _MAX_NAMES:
            _indifferent_names.clear()
        _indifferent_names.add(name)
    return True


def _judge(request: Request) -> None:
    """What the decisive fields mean (RFC 9112 sections 3.2, 6, 9.3; RFC 9110 7.8, 10.1)."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        if name in _DECISIVE:
            values.setdefault(name, []).append(value)
    check_host(values.get(b"host", []), request.http_version)
    _take_framing(request, values.get(b"content-length", []), values.get(b"transfer-encoding", []))
    options = _names(values.get(b"connection", []))
    request.keep_alive = request.http_version == "1.1"
    if b"close" in options:
        request.keep_alive = False
    elif b"keep-alive" in options:
        request.keep_alive = True
    if request.http_version == "1.0":
        return  # RFC 9110 sections 7.8 and 10.1.1: an old client's Upgrade and Expect are ignored
    if b"upgrade" in options:
        request.upgrade = tuple(_names(values.get(b"upgrade", [])))
    take_wishes(request, values.get(b"expect", []), values.get(b"te", []))


def take_wishes(request: Request, expectations: list[bytes], codings: list[bytes]) -> None:
    """What the client expects of the answer (RFC 9110 sections 10.1.1 and 10.1.4)."""
    for value in expectations:
        if value.lower() != b"100-continue":
            raise ProtocolError(417, "the only expectation understood here is 100-continue")
        request.expects_continue = True
    request.accepts_trailers = b"trailers" in _names(codings)


def _names(values: list[bytes]) -> list[bytes]:
    """The elements of fields whose letters' case does not matter."""
    return [element.lower() for element in elements(values)]


def check_host(hosts: list[bytes], version: str) -> None:
    """RFC 9112 section 3.2: one, except that HTTP/1.0 needs none; and a sane one."""
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise ProtocolError(400, f"{len(hosts) or 'no'} Host headers; there must be exactly one")
    for host in hosts:
        if is_authority(host) is None:
            raise ProtocolError(400, "the Host header is not a host, or a host and a port")
        if len(host) <= _MAX_AUTHORITY_SIZE:
            if len(_known_authorities) >= _MAX_AUTHORITIES:
                _known_authorities.clear()
            _known_authorities.add(host)


def _take_framing(request: Request, lengths: list[bytes], codings: list[bytes]) -> None:
    """The length of the body (RFC 9112 section 6.3), if nobody can read it otherwise."""
    if codings:
        if lengths:
            raise ProtocolError(400, "both Content-Length and Transfer-Encoding")
        if request.http_version == "1.0":
            raise ProtocolError(400, "Transfer-Encoding in an HTTP/1.0 request")
        _check_codings(codings)
        request.content_length = None
    elif lengths:
        request.content_length = length_of(lengths)


def length_of(lengths: list[bytes]) -> int:
    """The number that the Content-Length fields are, at least one."""
    # RFC 9110 section 8.6 lets equal ones pass for one; only attackers send them.
    if len(lengths) > 1 or b"," in lengths[0]:
        raise ProtocolError(400, "more than one Content-Length")
    if _is_length(lengths[0]) is None or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise ProtocolError(400, "Content-Length is not a number, or not a possible one")
    return int(lengths[0])


def _check_codings(codings: list[bytes]) -> None:
    """RFC 9112 sections 6.1 and 6.3: chunked, once and last; we know no other."""
    names = _names(codings)
    if names == [b"chunked"] and len(codings) == 1:
        return
    if b"chunked" in names[:-1] or not all(map(is_token, names)):
        raise ProtocolError(400, "Transfer-Encoding is not a list that ends in chunked, once")
    raise ProtocolError(501, "the only transfer coding understood here is chunked")


def _check_target_form(request: Request) -> None:
    """A target that is no path: absolute-form, or `*` with OPTIONS (RFC 9112 section 3.2)."""
    if request.target == b"*":
        if request.method != "OPTIONS":
            raise ProtocolError(400, "the target * is only for OPTIONS")
        return
    absolute = _is_absolute(request.target)
    if absolute is None:
        raise ProtocolError(400, target_fault(request.target))
    if is_authority(absolute[1]) is None:
        raise ProtocolError(400, "the target's authority is not a host, or a host and a port")
    # RFC 9112 section 3.2.2: the authority of an absolute target replaces Host.
    others = [field for field in request.headers if field[0] != b"host"]
    request.headers = [(b"host", absolute[1]), *others]
    request.target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    check_path(request.target)


def check_path(target: bytes) -> None:
    """A NUL ends a file's name for some, and not for others."""
    if b"%00" in target.partition(b"?")[0]:
        raise ProtocolError(400, "the path contains a NUL")


def target_fault(target: bytes) -> str:
    if b"#" in target:
        return "the request target has a fragment"
    if target.startswith(b"/"):
        return "the request target has characters that must be percent-encoded"
    return "the request target is neither a path nor an absolute URL"
