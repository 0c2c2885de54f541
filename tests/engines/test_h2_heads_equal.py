"""The same request in HTTP/1 and in HTTP/2 is the same request, or the same mistake."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from aserver.engines.guard import accept
from aserver.limits import RequestLimits
from aserver.types import Field, Headers, ProtocolError, Request
from tests.engines.h2_requests import head, request
from tests.fakes import LIMITS, PARSERS

_FACTS = (
    *("method", "target", "headers", "content_length", "keep_alive", "expects_continue"),
    *("upgrade", "accepts_trailers"),
)
CHUNKED = (b"transfer-encoding", b"chunked")


class Refused(NamedTuple):
    """A mistake, as it is answered."""

    status: int
    reason: str


Verdict = dict[str, Any] | Refused


@dataclass
class Both:
    """A request in both spellings; `length` None: there is a body of unknown length."""

    method: bytes = b"GET"
    target: bytes = b"/"
    host: bytes = b"a"
    fields: tuple[Field, ...] = ()
    has_body: bool = False

    @property
    def has_length(self) -> bool:
        return any(name == b"content-length" for name, _ in self.fields)

    def in_http1(self, parser: str, limits: RequestLimits) -> Request:
        lines = [(b"Host", self.host), *self.fields]
        if self.has_body and not self.has_length:
            lines.append(CHUNKED)
        block = b"".join(b"%b: %b\r\n" % (name.title(), value) for name, value in lines)
        line = b"%b %b HTTP/1.1" % (self.method, self.target)
        found = accept(line, block + b"\r\n", PARSERS[parser], limits)
        found.headers = [field for field in found.headers if field != CHUNKED]
        return found

    def in_http2(self, limits: RequestLimits) -> Request:
        fields = head(*self.fields, method=self.method, path=self.target, authority=self.host)
        ended = not self.has_body
        return request(fields, limits=limits, ended=ended)


def verdicts(both: Both, parser: str, limits: RequestLimits = LIMITS) -> tuple[Verdict, Verdict]:
    """What becomes of it in HTTP/1, and in HTTP/2."""
    return (
        verdict(partial(both.in_http1, parser, limits)),
        verdict(partial(both.in_http2, limits)),
    )


def verdict(spelled: Callable[[], Request]) -> Verdict:
    """All that was found out, or the refusal."""
    try:
        found = spelled()
    except ProtocolError as error:
        return Refused(error.status, error.reason)
    return {name: getattr(found, name) for name in _FACTS}


VALUES = st.binary(max_size=20).map(
    lambda value: bytes(byte for byte in value if byte == 9 or 32 <= byte != 127).strip(b" \t")
)
NAMES = st.sampled_from([b"x", b"accept", b"x-a", b"user-agent", b"x_y", b"content_length", b"_"])
FIELDS = st.one_of(
    st.tuples(NAMES, VALUES),
    st.tuples(NAMES, VALUES),
    st.just((b"te", b"trailers")),
    st.just((b"expect", b"100-continue")),
    st.tuples(st.just(b"content-length"), st.sampled_from([b"0", b"1", b"77"])),
)


def is_sound(fields: list[Field]) -> bool:
    """Whether what may be said once is said once."""
    return sum(name == b"content-length" for name, _ in fields) < 2


@st.composite
def requests(draw: st.DrawFn) -> Both:
    """A request that is right in both."""
    fields = draw(st.lists(FIELDS, max_size=6).filter(is_sound))
    cookies = draw(st.lists(st.tuples(st.just(b"cookie"), VALUES), max_size=1))
    lengths = {value for name, value in fields if name == b"content-length"}
    return Both(
        draw(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"QUERY", b"OPTIONS"])),
        b"/" + draw(st.text("ab/?%20&=~!\"'", max_size=12)).encode(),
        draw(st.sampled_from([b"a", b"A.b:80", b"[::1]", b"127.0.0.1:8000", b"a%20b"])),
        (*fields, *cookies),
        has_body=draw(st.booleans()) if not lengths else lengths != {b"0"},
    )


@settings(max_examples=400)
@given(requests(), st.sampled_from([*PARSERS]))
def test_requests_are_equal(both: Both, parser: str) -> None:
    http1, http2 = verdicts(both, parser)
    assert http1 == http2
    assert isinstance(http2, dict) or b"%00" in both.target


def test_version_is_not() -> None:
    assert Both().in_http1("h11", LIMITS).http_version == "1.1"
    assert Both().in_http2(LIMITS).http_version == "2"


def field(name: bytes, value: bytes) -> Both:
    return Both(b"POST", fields=((b"x", b"y"), (name, value)), has_body=True)


@pytest.mark.parametrize(
    "both",
    [
        *(Both(method) for method in (b"get", b"X", b"CONNECT", b"PRI", b"X" * 50)),
        *(Both(target=target) for target in (b"a", b"/#", b"*#", b"/\\", b"/\xe4", b"/%00", b"**")),
        *(Both(host=host) for host in (b"", b"a b", b"u@a", b"a/b", b"a,b", b"a:x", b"[::1")),
        *(field(b"content-length", length)
          for length in (b"", b"+1", b"01", b"x", b"1,1", b"9" * 19, b"9" * 18)),
        Both(fields=((b"content-length", b"5"), (b"content-length", b"5")), has_body=True),
        *(field(b"expect", value) for value in (b"", b"cake", b"100-continue, x")),
        Both(fields=((b"expect", b"100-continue"), (b"expect", b"x"))),
        Both(fields=((b"x y", b"z"),)),
        *(Both(fields=((b"x", value),)) for value in (b"\0", b"a\x01b", b"\x7f")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("parser", [*PARSERS])
def test_mistakes_are_equal(both: Both, parser: str) -> None:
    http1, http2 = verdicts(both, parser)
    assert isinstance(http1, Refused)
    assert isinstance(http2, Refused)
    assert http1.status == http2.status
    said = http2.reason.removesuffix(" in lower case").replace(":authority", "the Host header")
    assert http1.reason == said


@pytest.mark.parametrize("parser", [*PARSERS])
def test_absolute_urls_are_for_proxies(parser: str) -> None:
    """RFC 9113 section 8.3.1 has no such :path; RFC 9112 section 3.2.2 has such a target."""
    http1, http2 = verdicts(Both(target=b"http://a/b"), parser)
    assert isinstance(http1, dict)
    assert isinstance(http2, Refused)


BYTES = st.binary(min_size=1, max_size=4)
DAMAGED = st.one_of(
    st.builds(Both, method=BYTES.map(lambda data: data.translate(None, b" \r\n"))),
    st.builds(Both, target=BYTES.map(lambda data: b"/" + data.translate(None, b" \r\n"))),
    st.builds(Both, host=BYTES.map(lambda data: data.translate(None, b"\r\n").strip(b" \t"))),
    st.builds(field, st.just(b"content-length"), BYTES.map(lambda data: data.strip(b" \t\r\n"))),
    st.builds(field, st.just(b"expect"), BYTES.map(lambda data: data.strip(b" \t\r\n"))),
    st.builds(field, st.just(b"x"), BYTES.map(lambda data: data.strip(b" \t\r\n"))),
)


@settings(max_examples=400)
@given(DAMAGED, st.sampled_from([*PARSERS]))
def test_random_bytes_are_judged_alike(both: Both, parser: str) -> None:
    http1, http2 = verdicts(both, parser)
    if isinstance(http2, dict):
        event("accepted")
        assert http1 == http2
    else:
        assert isinstance(http1, Refused)
        assert isinstance(http2, Refused)
        assert http1.status == http2.status


@pytest.mark.parametrize("parser", [*PARSERS])
@pytest.mark.parametrize(
    ("name", "around"), [("request_line", 18), ("header_count", 3), ("body_size", 20)]
)
def test_limits_are_equal(name: str, around: int, parser: str) -> None:
    """Those of sizes are not: there are no colons, and no lines."""
    unlimited = RequestLimits(inf, inf, inf, inf, inf, 1)
    both = Both(b"POST", b"/abc", fields=((b"content-length", b"20"), (b"x", b"y")), has_body=True)
    for limit in range(around - 2, around + 3):
        http1, http2 = verdicts(both, parser, unlimited._replace(**{name: limit}))
        if isinstance(http1, dict):
            assert http1 == http2
        else:
            assert isinstance(http2, Refused), f"{name} {limit}"
            assert http1.status == http2.status


def test_websocket_handshakes_are_equal() -> None:
    """But for what belongs to the version (RFC 8441 section 5)."""
    fields: Headers = [(b"sec-websocket-version", b"13"), (b"origin", b"https://a")]
    block = b"Host: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
    block += b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"
    http1 = accept(b"GET /chat HTTP/1.1", block, PARSERS["h11"], LIMITS)
    connect = head(*fields, method=b"CONNECT", path=b"/chat", protocol=b"WebSocket")
    http2 = request(connect, ended=False, may_upgrade=True)
    assert http1.upgrade == http2.upgrade == (b"websocket",)
    assert http1.target == http2.target == b"/chat"
    specific = (b"connection", b"upgrade")
    assert [field for field in http1.headers if field[0] not in specific] == http2.headers
