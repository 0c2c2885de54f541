"""Header sections of HTTP/2: what a request must be, rule by rule, and what a response says."""

from math import inf
from typing import Any

import pytest
from hpack import HeaderTuple

from aserver.engines import h2_heads
from aserver.engines.fields import response_head
from aserver.engines.h2_heads import ResponseFields, check_trailers, interim_fields
from aserver.types import Headers, ProtocolError, Request
from tests.engines.h2_requests import HOST, head, refusal, request
from tests.fakes import LIMITS, FakeDefaults


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2_heads, "_plain_names", set())


def facts(request: Request) -> dict[str, Any]:
    """What was found out, as far as it is not the usual."""
    usual = Request("GET", b"/", "2", [HOST])
    names = Request.__slots__
    found = {name: getattr(request, name) for name in names}
    return {name: value for name, value in found.items() if value != getattr(usual, name)}


def test_plainest_request() -> None:
    assert facts(request(head())) == {}
    assert repr(request(head(path=b"/a?b"))) == "<Request GET b'/a?b' HTTP/2>"


def test_fields_are_plain_pairs_in_their_order() -> None:
    """Whatever the wire makes them of."""
    fields = [(b"b", b"1"), (b"a", b""), (b"b", b"2"), (b"te", b"trailers"), (b"b", b"1")]
    found = request([HeaderTuple(*field) for field in head(*fields)]).headers
    assert found == [HOST, *fields]
    assert {type(field) for field in found} == {tuple}


def test_what_is_given_is_not_changed() -> None:
    fields = head(HOST, (b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"x_y", b"z"))
    before = fields.copy()
    request(fields)
    assert fields == before


# Pseudo-headers: sections 8.3 and 8.3.1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("method", "there is no :method, or it is not a token"),
        ("scheme", "there is no :scheme, or it is neither http nor https"),
        ("path", "there is no :path"),
        ("authority", "there is no :authority, and no Host in its place"),
    ],
)
def test_pseudo_header_that_is_missing(name: str, reason: str) -> None:
    assert refusal(head(**{name: None})) == (400, reason)


def test_no_fields_at_all() -> None:
    assert refusal([])[0] == 400
    assert refusal([HOST])[0] == 400


@pytest.mark.parametrize("name", [b":method", b":scheme", b":authority", b":path", b":protocol"])
@pytest.mark.parametrize("same", [False, True])
def test_pseudo_header_that_is_there_twice(name: bytes, same: bool) -> None:
    fields = head(method=b"CONNECT", protocol=b"websocket")
    value = dict(fields)[name] if same else b"x"
    expected = (400, f"{name.decode()} is there twice")
    assert refusal([(name, value), *fields], may_upgrade=True) == expected
    assert refusal([*fields, (name, value)], may_upgrade=True) == expected


@pytest.mark.parametrize(
    "name", [b":", b"::", b":status", b":Method", b":PATH", b":host", b":path ", b": path", b":x"]
)
def test_pseudo_header_that_no_request_has(name: bytes) -> None:
    assert refusal([(name, b"200"), *head()]) == (
        400,
        "there is a pseudo-header that no request has",
    )


@pytest.mark.parametrize("name", [b":method", b":path", b":authority", b":status", b":x", b":"])
def test_pseudo_header_behind_others(name: bytes) -> None:
    late = (400, "a pseudo-header is not in front of all other headers")
    fields = [field for field in head() if field[0] != name]
    assert refusal([*fields, (b"x", b"y"), (name, b"/")]) == late
    assert refusal([*head(), (b"x", b"y"), (name, b"/")]) == late


def test_pseudo_headers_in_any_order() -> None:
    assert facts(request([*reversed(head()), (b"x", b"y")])) == {"headers": [HOST, (b"x", b"y")]}


@pytest.mark.parametrize(
    ("method", "status"),
    [
        *((method, 0) for method in (b"HEAD", b"POST", b"PROPFIND", b"QUERY", b"PURGE", b"TRACE")),
        *((method, 501) for method in (b"get", b"Get", b"PRI", b"X", b"CONNECT", b"connect")),
        *((method, 400) for method in (b"", b"G T", b" GET", b"GET ", b"G/T", b"\xe4", b"GET\0")),
    ],
)
def test_method(method: bytes, status: int) -> None:
    if status:
        assert refusal(head(method=method))[0] == status
    else:
        assert facts(request(head(method=method))) == {"method": method.decode()}


@pytest.mark.parametrize("path", [b"/", b"//", b"/a/b?c=d", b"/?%00", b"/%C3%A4", b"/http://x/"])
def test_path(path: bytes) -> None:
    assert request(head(path=path)).target == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"", "there is no :path"),
        (b"a", "the request target is neither a path nor an absolute URL"),
        (b"?a", "the request target is neither a path nor an absolute URL"),
        (b"http://a/", "the request target is neither a path nor an absolute URL"),
        (b"a:80", "the request target is neither a path nor an absolute URL"),
        (b"*", "the request target is neither a path nor an absolute URL"),
        (b"**", "the request target is neither a path nor an absolute URL"),
        (b" /", "the request target is neither a path nor an absolute URL"),
        (b"/#a", "the request target has a fragment"),
        (b"*#", "the request target has a fragment"),
        (b"/ ", "the request target has characters that must be percent-encoded"),
        (b"/\\", "the request target has characters that must be percent-encoded"),
        (b"/\xe4", "the request target has characters that must be percent-encoded"),
        (b"/%00", "the path contains a NUL"),
        (b"/a%00?b", "the path contains a NUL"),
        (b"/\0", "there is a control character in the head"),
    ],
)
def test_path_that_is_none(path: bytes, reason: str) -> None:
    assert refusal(head(path=path)) == (400, reason)


def test_asterisk() -> None:
    assert request(head(method=b"OPTIONS", path=b"*")).target == b"*"
    assert refusal(head(method=b"OPTIONS", path=b"*?"))[0] == 400


@pytest.mark.parametrize("scheme", [b"http", b"https", b"HTTP", b"Https"])
def test_scheme(scheme: bytes) -> None:
    """RFC 3986 section 3.1: its letters' case does not matter."""
    assert facts(request(head(scheme=scheme))) == {}


@pytest.mark.parametrize("scheme", [b"", b"ftp", b"ws", b"wss", b"http:", b"http ", b"httpss"])
def test_scheme_that_is_not_served(scheme: bytes) -> None:
    assert refusal(head(scheme=scheme)) == (
        400,
        "there is no :scheme, or it is neither http nor https",
    )


@pytest.mark.parametrize("authority", [b"a", b"A.b:80", b"a:", b"[::1]:443", b"127.0.0.1"])
def test_authority_comes_first(authority: bytes) -> None:
    """In place of Host, as applications expect it."""
    fields = [(b"x", b"y"), (b"content-length", b"0")]
    assert request(head(*fields, authority=authority)).headers == [(b"host", authority), *fields]


@pytest.mark.parametrize(
    "authority", [b"", b":80", b"u@a", b"u:p@a", b"a/", b"a b", b"a,", b"a:x", b"[::1", b"a,b"]
)
def test_authority_that_is_none(authority: bytes) -> None:
    reason = "is not a host, or a host and a port"
    assert refusal(head(authority=authority)) == (400, f":authority {reason}")
    alone = head((b"host", authority), authority=None)
    assert refusal(alone) == (400, f"the Host header {reason}")


@pytest.mark.parametrize("host", [b"a.b", b"A.B", b"a.B"])
def test_host_that_agrees(host: bytes) -> None:
    """Section 8.3.1: it is compared as hosts are, and :authority is the one that counts."""
    found = request(head((b"x", b"y"), (b"host", host), authority=b"a.B")).headers
    assert found == [(b"host", b"a.B"), (b"x", b"y")]


@pytest.mark.parametrize("host", [b"b", b"", b"a:80", b"a:", b"a ", b"a\xe4", b"u@a"])
def test_host_that_does_not_agree(host: bytes) -> None:
    assert refusal(head((b"host", host)))[0] == 400


def test_host_alone() -> None:
    """Section 8.3.1: a request that was HTTP/1 may have no :authority."""
    found = request(head((b"x", b"y"), (b"host", b"b:1"), authority=None)).headers
    assert found == [(b"host", b"b:1"), (b"x", b"y")]


@pytest.mark.parametrize("second", [b"a", b"b", b"A"])
def test_hosts(second: bytes) -> None:
    assert refusal(head(HOST, (b"host", second), authority=None)) == (
        400,
        "2 Host headers; there must be exactly one",
    )
    assert refusal(head(HOST, (b"host", second))) == (400, "Host is not what :authority is")


# Extended CONNECT: RFC 8441 section 4

CONNECT = head((b"x", b"y"), method=b"CONNECT", protocol=b"websocket")


def test_extended_connect() -> None:
    found = request(CONNECT, ended=False, may_upgrade=True)
    assert facts(found) == {
        "method": "CONNECT",
        "headers": [HOST, (b"x", b"y")],
        "content_length": None,
        "upgrade": (b"websocket",),
    }


def test_protocol_is_known_in_capital_letters() -> None:
    fields = head(method=b"CONNECT", protocol=b"WebSocket")
    assert request(fields, ended=False, may_upgrade=True).upgrade == (b"websocket",)


def test_extended_connect_that_was_not_offered() -> None:
    assert refusal(CONNECT, ended=False) == (
        400,
        ":protocol is only for CONNECT, where that was offered",
    )


@pytest.mark.parametrize("method", [b"GET", b"POST", b"connect", b"X"])
@pytest.mark.parametrize("may_upgrade", [False, True])
def test_protocol_without_connect(method: bytes, may_upgrade: bool) -> None:
    fields = head(method=method, protocol=b"websocket")
    assert refusal(fields, may_upgrade=may_upgrade)[0] == 400


@pytest.mark.parametrize("may_upgrade", [False, True])
def test_connect_for_a_proxy(may_upgrade: bool) -> None:
    """Section 8.5: it has neither :scheme nor :path."""
    for fields in (head(method=b"CONNECT"), head(method=b"CONNECT", scheme=None, path=None)):
        assert refusal(fields, ended=False, may_upgrade=may_upgrade) == (
            501,
            "this server is no proxy: CONNECT is not offered",
        )


@pytest.mark.parametrize("name", ["scheme", "path", "authority"])
def test_extended_connect_is_a_whole_request(name: str) -> None:
    fields = head(method=b"CONNECT", protocol=b"websocket", **{name: None})
    assert refusal(fields, ended=False, may_upgrade=True)[0] == 400


def test_extended_connect_to_no_path() -> None:
    fields = head(method=b"CONNECT", protocol=b"websocket", path=b"*")
    assert refusal(fields, ended=False, may_upgrade=True)[0] == 400


@pytest.mark.parametrize("protocol", [b"", b"connect-udp", b"websocket/13", b"h2c", b"web socket"])
def test_protocol_that_nobody_speaks(protocol: bytes) -> None:
    """It is no request that an application could answer (RFC 9220 section 3 has this status)."""
    fields = head(method=b"CONNECT", protocol=protocol)
    assert refusal(fields, ended=False, may_upgrade=True)[0] == 501


# What belongs to HTTP/1: section 8.2.2


@pytest.mark.parametrize(
    "name", [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"]
)
@pytest.mark.parametrize("value", [b"", b"close", b"chunked", b"x"])
def test_connection_specific_fields(name: bytes, value: bytes) -> None:
    expected = (400, f"{name.decode()} is not allowed in HTTP/2")
    assert refusal(head((b"x", b"y"), (name, value))) == expected
    assert refusal(head((name, value)), ended=False) == expected


@pytest.mark.parametrize("value", [b"trailers", b"Trailers"])
def test_te(value: bytes) -> None:
    fields = [(b"te", value)]
    found = facts(request(head(*fields)))
    assert found == {"headers": [HOST, *fields], "accepts_trailers": True}


@pytest.mark.parametrize(
    "values",
    [
        *([b""], [b"gzip"], [b"trailers, gzip"], [b"gzip;q=0.5, trailers"], [b"trailers;q=1"]),
        *([b"trailers", b"gzip"], [b"gzip", b"trailers"], [b"chunked"]),
    ],
)
def test_te_of_another_kind(values: list[bytes]) -> None:
    assert refusal(head(*((b"te", value) for value in values))) == (
        400,
        "TE is not trailers, and nothing else is allowed in HTTP/2",
    )


# Cookies: section 8.2.3


@pytest.mark.parametrize(
    ("crumbs", "cookie"),
    [
        ([b"a=b"], b"a=b"),
        ([b"a=b; c=d"], b"a=b; c=d"),
        ([b"a=b", b"c=d"], b"a=b; c=d"),
        ([b"a=b", b"c=d; e=f", b"g"], b"a=b; c=d; e=f; g"),
        ([b"a=b;", b"c=d"], b"a=b;; c=d"),
        ([b"", b"a"], b"; a"),
    ],
)
def test_cookies_are_one_field(crumbs: list[bytes], cookie: bytes) -> None:
    """Where the first crumb was."""
    fields = [(b"x", b"1"), *((b"cookie", crumb) for crumb in crumbs), (b"y", b"2")]
    found = request(head(*fields)).headers
    assert found == [HOST, (b"x", b"1"), (b"cookie", cookie), (b"y", b"2")]


def test_cookies_between_others() -> None:
    fields = [(b"cookie", b"a"), (b"x", b"1"), (b"cookie", b"b"), (b"x", b"2"), (b"cookie", b"c")]
    found = request(head(*fields)).headers
    assert found == [HOST, (b"cookie", b"a; b; c"), (b"x", b"1"), (b"x", b"2")]


# Length: section 8.1.1


@pytest.mark.parametrize(
    ("lengths", "ended", "length"),
    [
        ([], True, 0),
        ([], False, None),
        ([b"0"], True, 0),
        ([b"0"], False, 0),
        ([b"5"], False, 5),
        ([b"9" * 10], False, 9_999_999_999),
    ],
)
def test_length(lengths: list[bytes], ended: bool, length: int | None) -> None:
    limits = LIMITS._replace(body_size=inf)
    fields = [(b"content-length", each) for each in lengths]
    found = request(head(*fields, method=b"POST"), ended=ended, limits=limits)
    assert found.content_length == length
    assert found.headers == [HOST, *fields]


@pytest.mark.parametrize("length", [b"1", b"5", b"9" * 18])
def test_length_without_a_body(length: bytes) -> None:
    assert refusal(head((b"content-length", length))) == (
        400,
        "there is a Content-Length, and no body",
    )


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ([b"5", b"5"], "more than one Content-Length"),
        ([b"5", b"6"], "more than one Content-Length"),
        ([b"5,5"], "more than one Content-Length"),
        *(([each], "Content-Length is not a number, or not a possible one")
          for each in (b"", b"+5", b"-5", b"05", b"0x5", b"5.0", b"x", b"5 5", b"1" * 19)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ended", [False, True])
def test_length_that_is_none(lengths: list[bytes], reason: str, ended: bool) -> None:
    fields = head(*((b"content-length", each) for each in lengths))
    assert refusal(fields, ended=ended) == (400, reason)


# Expectations


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_expectation(value: bytes) -> None:
    fields = [(b"expect", value)]
    found = facts(request(head(*fields), ended=False))
    expected = {"headers": [HOST, *fields], "content_length": None, "expects_continue": True}
    assert found == expected


@pytest.mark.parametrize("values", [[b""], [b"cake"], [b"100-continue", b"x"]])
def test_expectation_of_another_kind(values: list[bytes]) -> None:
    fields = head(*((b"expect", value) for value in values))
    assert refusal(fields, ended=False)[0] == 417


# Names: section 8.2.1, and `test_h2_heads_bytes` for each character


@pytest.mark.parametrize("name", [b"x_y", b"_", b"content_length", b"transfer_encoding", b"te_"])
def test_names_with_underscores_are_dropped(name: bytes) -> None:
    for _ in range(2):
        found = facts(request(head((name, b"9"), (b"x-y", b"a_b"))))
        assert found == {"headers": [HOST, (b"x-y", b"a_b")]}


def test_host_with_an_underscore_is_none() -> None:
    fields = head((b"_host", b"a"), authority=None)
    assert refusal(fields) == (400, "there is no :authority, and no Host in its place")


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", [b"", b"X", b"x-Y", b"a b", b" x", b"x ", b"x:", b"\xe4", b"x\0"])
def test_names_that_are_none(name: bytes, again: bool) -> None:
    """However often they are tried: only what is right is remembered."""
    for _ in range(1 + again):
        assert refusal(head((name, b"y"))) == (400, "a header's name is not a token in lower case")
        with pytest.raises(ProtocolError, match="not a token"):
            check_trailers([(name, b"y")], LIMITS)


def test_memory_is_bounded() -> None:
    for number in range(3000):
        name = b"name%d" % number
        assert request(head((name, b""))).headers == [HOST, (name, b"")]
    assert 0 < len(h2_heads._plain_names) <= 1024
    for size in (64, 65, 5000):
        assert request(head((b"x" * size, b""))).headers == [HOST, (b"x" * size, b"")]
    assert max(map(len, h2_heads._plain_names)) == 64


def test_memory_has_nothing_that_decides() -> None:
    decisive = [(b"te", b"trailers"), (b"expect", b"100-continue"), (b"content-length", b"1")]
    fields = [*decisive, HOST, (b"cookie", b"a"), (b"x_y", b"z"), (b"plain", b"")]
    for _ in range(2):
        request(head(*fields), ended=False)
        check_trailers(fields, LIMITS)
    assert h2_heads._plain_names == {b"plain"}


# Trailers


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"x", b"y")],
        [(b"x", b""), (b"x", b"")],
        # RFC 9110 section 6.5.1: not of any use there. Nobody is told.
        [(b"content-length", b"5"), (b"host", b"b"), (b"te", b"gzip"), (b"x_y", b"z")],
    ],
)
def test_trailers(fields: Headers) -> None:
    check_trailers(fields, LIMITS)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([(b":path", b"/")], "a pseudo-header is not in front of all other headers"),
        ([(b"x", b"y"), (b":status", b"200")], "a pseudo-header is not in front"),
        ([(b"X", b"y")], "a header's name is not a token in lower case"),
        ([(b"", b"y")], "a header's name is not a token in lower case"),
        ([(b"x", b"\r\n")], "there is a control character in the head"),
        ([(b"x", b"\0")], "there is a control character in the head"),
        ([(b"x", b" y")], "there is white space around a header's value"),
        ([(b"connection", b"close")], "connection is not allowed in HTTP/2"),
        ([(b"transfer-encoding", b"chunked")], "transfer-encoding is not allowed in HTTP/2"),
    ],
)
def test_trailers_that_are_none(fields: Headers, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_trailers(fields, LIMITS)
    assert caught.value.status == 400
    assert caught.value.reason.startswith(reason)


# Responses


def told(head: Headers, length: int | None = None, status: int = 200) -> Headers:
    return ResponseFields(FakeDefaults()).of(response_head(status, head, "GET"), length)


DATE, SERVER = (b"date", b"now"), (b"server", b"test")


@pytest.mark.parametrize(
    ("fields", "length", "expected"),
    [
        ([], None, [DATE, SERVER]),
        ([(b"X-A", b"B"), (b"x-a", b"")], None, [(b"x-a", b"B"), (b"x-a", b""), DATE, SERVER]),
        ([], 5, [(b"content-length", b"5"), DATE, SERVER]),
        ([], 0, [(b"content-length", b"0"), DATE, SERVER]),
        ([(b"Date", b"x")], None, [(b"date", b"x"), SERVER]),
        ([(b"SERVER", b"x")], None, [(b"server", b"x"), DATE]),
        ([(b"server", b"x"), (b"date", b"y")], 1,
         [(b"server", b"x"), (b"date", b"y"), (b"content-length", b"1")]),
        # Section 8.2.2: what is for HTTP/1 is not said.
        ([(b"Connection", b"close"), (b"keep-alive", b"5"), (b"transfer-encoding", b"chunked"),
          (b"upgrade", b"h2c"), (b"proxy-connection", b"x")], None, [DATE, SERVER]),
        # Section 8.2.1: no white space around a value.
        ([(b"x", b" \ty z\t ")], None, [(b"x", b"y z"), DATE, SERVER]),
    ],
)  # fmt: skip
def test_response(fields: Headers, length: int | None, expected: Headers) -> None:
    assert told(fields, length) == [(b":status", b"200"), *expected]


@pytest.mark.parametrize("status", [200, 204, 304, 404, 599, 999])
def test_status(status: int) -> None:
    assert told([], status=status)[0] == (b":status", b"%d" % status)


def test_heads_are_shared_and_not_changed() -> None:
    head = response_head(200, [(b"x", b"y")], "GET")
    fields = ResponseFields(FakeDefaults())
    first = fields.of(head, 5)
    assert fields.of(head, 6) == [*first[:2], (b"content-length", b"6"), *first[3:]]
    assert head.fields() == [(b"x", b"y")]
    assert fields.of(head, None) == [(b":status", b"200"), (b"x", b"y"), DATE, SERVER]


def test_answer_of_the_servers_own() -> None:
    fields = ResponseFields(FakeDefaults())
    assert fields.of_refusal(431, [(b"x", b"y")]) == [
        (b":status", b"431"), DATE, SERVER, (b"x", b"y"),
    ]  # fmt: skip


def test_date_is_that_of_the_tick() -> None:
    defaults = FakeDefaults()
    fields = ResponseFields(defaults)
    head = response_head(200, [(b"server", b"x")], "GET")
    before = fields.of(head, None)
    defaults.date_line = b"date: later\r\n"
    assert before[-1] == DATE
    assert fields.of(head, None)[-1] == (b"date", b"later")
    assert fields.of_refusal(400, []) == [(b":status", b"400"), (b"date", b"later"), SERVER]


def test_server_that_does_not_name_itself() -> None:
    defaults = FakeDefaults()
    defaults.server_line = b""
    fields = ResponseFields(defaults)
    assert fields.of_refusal(400, []) == [(b":status", b"400"), DATE]
    assert fields.of(response_head(200, [(b"date", b"x")], "GET"), None) == [
        (b":status", b"200"), (b"date", b"x"),
    ]  # fmt: skip


def test_interim_response() -> None:
    assert interim_fields(100, []) == [(b":status", b"100")]
    assert interim_fields(103, [(b"Link", b"<a>"), (b"link", b"<b>")]) == [
        (b":status", b"103"), (b"link", b"<a>"), (b"link", b"<b>"),
    ]  # fmt: skip
