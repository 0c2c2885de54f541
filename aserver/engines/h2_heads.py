"""Header sections of HTTP/2 (RFC 9113 section 8): a request's, judged, and a response's, told.

The meaning of fields is judged by the same functions as that of HTTP/1's (`aserver.engines.guard`);
here is what HTTP/2 spells in its own way. A mistake is that of one stream.
"""

from collections.abc import Sequence

from ..limits import RequestLimits
from ..seams import Head
from ..types import Field, Headers, ProtocolError, Request
from ..worker_seams import Defaults
from .fields import DATE, SERVER
from .grammar import control_in, is_token, split_fields, too_large, too_long, too_many
from .guard import (
    METHODS,
    body_too_large,
    check_host,
    check_path,
    is_authority,
    is_path,
    length_of,
    refuse_method,
    take_wishes,
    target_fault,
)

_PSEUDO = (b":method", b":scheme", b":authority", b":path", b":protocol")
# Section 8.2.2: what was between two neighbours in HTTP/1 is done by frames here.
_CONNECTION_SPECIFIC = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
}
_DECISIVE = {b"content-length", b"cookie", b"expect", b"host", b"te"} | _CONNECTION_SPECIFIC

# RFC 8441 section 5: all that a stream can become here.
_PROTOCOL = b"websocket"

_STATUSES = {status: b"%d" % status for status in range(100, 1000)}

# Names that decide nothing and need no second look. Bounded: they come from outside.
_plain_names: set[bytes] = set()
_MAX_NAMES = 1024
# How many fields there may be to one that is allowed, if most of them are crumbs of a cookie.
_CRUMBS = 4
_MAX_NAME_SIZE = 64


def request_of(
    fields: Sequence[Field], limits: RequestLimits, *, ended: bool, may_upgrade: bool
) -> Request:
    """Check a request's header section.

    Args:
        fields: All of it, the pseudo-header fields first.
        ended: Whether there is no body.
        may_upgrade: Whether extended CONNECT was offered (RFC 8441 section 3).

    Raises:
        ProtocolError: The request is refused.
    """
    _check_sizes(fields, limits)
    pseudo = _pseudo_fields(fields)
    values: dict[bytes, list[bytes]] = {}
    headers = []
    for field in fields[len(pseudo) :]:
        name, value = field
        _check_field(name, value)
        if name in _plain_names:
            headers.append((name, value))
        elif name in _DECISIVE:
            values.setdefault(name, []).append(value)
            headers.append((name, value))
        elif _is_plain(name):
            headers.append((name, value))
    request = _begun(pseudo, limits, may_upgrade=may_upgrade)
    request.headers = headers
    _check_specific(values)
    _take_host(request, pseudo.get(b":authority"), values.get(b"host", []))
    _take_length(request, values.get(b"content-length", []), limits, ended=ended)
    take_wishes(request, values.get(b"expect", []), values.get(b"te", []))
    if len(values.get(b"cookie", ())) > 1:
        request.headers = _joined_cookies(request.headers, values[b"cookie"])
    return request


def check_trailers(fields: Sequence[Field], limits: RequestLimits) -> None:
    """Check a trailer section, which is thrown away then: ASGI has none of requests.

    Raises:
        ProtocolError: It is refused.
    """
    _check_sizes(fields, limits)
    for name, value in fields:
        _check_field(name, value)
        if name in _CONNECTION_SPECIFIC:
            raise _specific(name)


def _check_sizes(fields: Sequence[Field], limits: RequestLimits) -> None:
    if len(fields) > limits.header_count:
        _check_count(fields, limits)
    sizes = [len(name) + len(value) for name, value in fields if name != b":path"]
    if sum(sizes) > limits.headers_size:
        raise too_large(limits)
    if sizes and max(sizes) > limits.header_size:
        raise too_long(limits)


def _check_count(fields: Sequence[Field], limits: RequestLimits) -> None:
    """Cookies in crumbs (section 8.2.3) are one header, though not any number of them."""
    # Host is one of them, by whichever name.
    count = sum(
        name != b"cookie" and (name[:1] != b":" or name == b":authority") for name, _ in fields
    )
    has_cookie = any(name == b"cookie" for name, _ in fields)
    if count + has_cookie > limits.header_count or len(fields) > _CRUMBS * limits.header_count:
        raise too_many(limits)


def _pseudo_fields(fields: Sequence[Field]) -> dict[bytes, bytes]:
    """Section 8.3: in front of all others, each once, none that is not known."""
    found: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] != b":":
            break
        if name not in _PSEUDO:
            raise ProtocolError(400, "there is a pseudo-header that no request has")
        if name in found:
            raise ProtocolError(400, f"{name.decode('ascii')} is there twice")
        if control_in(value):
            raise ProtocolError(400, "there is a control character in the head")
        found[name] = value
    return found


def _check_field(name: bytes, value: bytes) -> None:
    """Section 8.2.1."""
    if control_in(value):
        raise ProtocolError(400, "there is a control character in the head")
    if value and (value[0] in b" \t" or value[-1] in b" \t"):
        raise ProtocolError(400, "there is white space around a header's value")
    if name not in _plain_names and (is_token(name) is None or name != name.lower()):
        if name[:1] == b":":
            raise ProtocolError(400, "a pseudo-header is not in front of all other headers")
        raise ProtocolError(400, "a header's name is not a token in lower case")


def _is_plain(name: bytes) -> bool:
    """Remember a checked name that decides nothing; False: it must not get any further."""
    if b"_" in name:  # see `guard.accept`
        return False
    if len(name) <= _MAX_NAME_SIZE:
        if len(_plain_names) >= _MAX_NAMES:
            _plain_names.clear()
        _plain_names.add(name)
    return True


def _begun(pseudo: dict[bytes, bytes], limits: RequestLimits, *, may_upgrade: bool) -> Request:
    """Section 8.3.1, and RFC 8441 section 4."""
    method = pseudo.get(b":method", b"")
    if not is_token(method):
        raise ProtocolError(400, "there is no :method, or it is not a token")
    upgrade: tuple[bytes, ...] = ()
    if b":protocol" in pseudo:
        if method != b"CONNECT" or not may_upgrade:
            raise ProtocolError(400, ":protocol is only for CONNECT, where that was offered")
        if pseudo[b":protocol"].lower() != _PROTOCOL:
            raise ProtocolError(501, "the only :protocol that is spoken here is websocket")
        upgrade = (_PROTOCOL,)
    elif method not in METHODS:
        refuse_method(method)
    target = pseudo.get(b":path", b"")
    _check_target(method, target, limits)
    if pseudo.get(b":scheme", b"").lower() not in (b"http", b"https"):
        raise ProtocolError(400, "there is no :scheme, or it is neither http nor https")
    name = METHODS.get(method, "CONNECT")
    return Request(name, target, "2", [], upgrade=upgrade)


def _check_target(method: bytes, target: bytes, limits: RequestLimits) -> None:
    # As long as a request line may be that has it, for both versions to serve the same.
    if len(target) + len(method) + len(b"  HTTP/1.1") > limits.request_line:
        size = limits.request_line
        reason = f"the path is longer than a request line of {size} bytes allows"
        raise ProtocolError(414, reason + " (--max-request-line)")
    if is_path(target) is not None:
        check_path(target)
    elif not target:
        raise ProtocolError(400, "there is no :path")
    elif target != b"*" or method != b"OPTIONS":
        raise ProtocolError(400, target_fault(target))


def _check_specific(values: dict[bytes, list[bytes]]) -> None:
    for name in values:
        if name in _CONNECTION_SPECIFIC:
            raise _specific(name)
    if any(value.lower() != b"trailers" for value in values.get(b"te", [])):
        raise ProtocolError(400, "TE is not trailers, and nothing else is allowed in HTTP/2")


def _specific(name: bytes) -> ProtocolError:
    return ProtocolError(400, f"{name.decode('ascii')} is not allowed in HTTP/2")


def _take_host(request: Request, authority: bytes | None, hosts: list[bytes]) -> None:
    """Section 8.3.1: :authority takes the place of Host, with which it must agree."""
    if authority is None:
        if not hosts:
            raise ProtocolError(400, "there is no :authority, and no Host in its place")
        check_host(hosts, "1.1")
        authority = hosts[0]
    elif not is_authority(authority):
        raise ProtocolError(400, ":authority is not a host, or a host and a port")
    elif len(hosts) > 1 or (hosts and hosts[0].lower() != authority.lower()):
        raise ProtocolError(400, "Host is not what :authority is")
    if hosts:
        request.headers = [field for field in request.headers if field[0] != b"host"]
    request.headers.insert(0, (b"host", authority))


def _take_length(
    request: Request, lengths: list[bytes], limits: RequestLimits, *, ended: bool
) -> None:
    """Section 8.1.1: content-length is the sum of the DATA frames, if it is there."""
    length = length_of(lengths) if lengths else None
    if ended and length:
        raise ProtocolError(400, "there is a Content-Length, and no body")
    request.content_length = 0 if ended else length
    if length is not None and length > limits.body_size:
        raise body_too_large(limits)


def _joined_cookies(headers: Headers, cookies: list[bytes]) -> Headers:
    """Section 8.2.3: one field for whoever does not know HTTP/2."""
    joined: Headers = []
    for field in headers:
        if field[0] != b"cookie":
            joined.append(field)
        elif cookies:
            joined.append((b"cookie", b"; ".join(cookies)))
            cookies = []
    return joined


class ResponseFields:
    """Turns response heads into header sections. One connection's.

    What every response has is taken from the worker's prepared lines, and read again only when
    these are new.
    """

    __slots__ = ("_both", "_date", "_defaults", "_server")

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._date = b""
        self._both: Headers = []
        self._server: Headers = []

    def of(self, head: Head, length: int | None) -> Headers:
        """A response's; with a length that the application has not said itself."""
        fields = [(b":status", _STATUSES[head.status]), *head.fields()]
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        self._refresh()
        if not head.flags & (DATE | SERVER):
            fields += self._both
        elif not head.flags & SERVER:
            fields += self._server
        elif not head.flags & DATE:
            fields += split_fields(self._date)
        return fields

    def of_refusal(self, status: int, fields: Headers) -> Headers:
        """Those of an answer of the server's own."""
        self._refresh()
        return [(b":status", _STATUSES[status]), *self._both, *fields]

    def _refresh(self) -> None:
        defaults = self._defaults
        if self._date is not defaults.date_line:
            self._date = defaults.date_line
            self._server = split_fields(defaults.server_line)
            self._both = [*split_fields(self._date), *self._server]


def interim_fields(status: int, headers: Headers) -> Headers:
    """An informational response's (section 8.1)."""
    return [(b":status", _STATUSES[status]), *((name.lower(), value) for name, value in headers)]
