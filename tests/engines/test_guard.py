"""The guard's verdict on heads, with a parser that has no opinion."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

import pytest

from aserver.engines import guard
from aserver.engines.grammar import split_fields
from aserver.engines.guard import accept, is_indifferent
from aserver.limits import RequestLimits
from aserver.types import Headers, ProtocolError, Request
from tests.cases import each
from tests.fakes import LIMITS

HOST = (b"host", b"a")
CHUNKED = (b"transfer-encoding", b"chunked")


@dataclass
class Head:
    """A parsed head, the plainest where nothing else is said."""

    fields: Headers = field(default_factory=list)
    method: bytes = b"GET"
    target: bytes = b"/"
    version: str = "1.1"
    host: bool = True

    @property
    def line(self) -> bytes:
        return b"%b %b HTTP/%b" % (self.method, self.target, self.version.encode())

    @property
    def block(self) -> bytes:
        fields = [HOST] * self.host + self.fields
        return b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"

    def accept(self, limits: RequestLimits = LIMITS) -> Request:
        return accept(self.line, self.block, split_fields, limits)


def facts(request: Request) -> dict[str, Any]:
    """What was found out, as far as it is not the usual."""
    usual = Request("GET", b"/", "1.1", [])
    names = ("content_length", "keep_alive", "expects_continue", "upgrade", "accepts_trailers")
    found = {name: getattr(request, name) for name in names}
    return {name: value for name, value in found.items() if value != getattr(usual, name)}


def length(value: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", value)


def connection(value: bytes) -> tuple[bytes, bytes]:
    return (b"connection", value)


def coding(value: bytes) -> tuple[bytes, bytes]:
    return (b"transfer-encoding", value)


UPGRADE = (b"upgrade", b"WebSocket")
NOT_LAST = "Transfer-Encoding is not a list that ends in chunked, once"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (Head(), {}),
        (Head([(b"x", b"y")]), {}),
        (Head(version="1.0"), {"keep_alive": False}),
        (Head(version="1.0", host=False), {"keep_alive": False}),
        (Head([connection(b"keep-alive")], version="1.0"), {}),
        (Head([connection(b"x, Keep-Alive")], version="1.0"), {}),
        (Head([connection(b"close")]), {"keep_alive": False}),
        (Head([connection(b"x,\tCLOSE ,y")]), {"keep_alive": False}),
        (Head([connection(b"keep-alive"), connection(b"close")]), {"keep_alive": False}),
        (Head([connection(b"keep-alive, close")], version="1.0"), {"keep_alive": False}),
        (Head([connection(b"not-close")]), {}),
        (Head([connection(b"")]), {}),
        (Head([length(b"5")]), {"content_length": 5}),
        (Head([length(b"0")]), {}),
        (Head([length(b" 5\t")]), {"content_length": 5}),
        (Head([CHUNKED]), {"content_length": None}),
        (Head([(b"transfer-encoding", b"CHUNKED")]), {"content_length": None}),
        (Head([(b"expect", b"100-Continue"), length(b"5")]),
         {"content_length": 5, "expects_continue": True}),
        (Head([(b"expect", b"100-continue")], version="1.0"), {"keep_alive": False}),
        (Head([(b"expect", b"cake")], version="1.0"), {"keep_alive": False}),
        (Head([UPGRADE, connection(b"upgrade")]), {"upgrade": (b"websocket",)}),
        (Head([UPGRADE, connection(b"close, Upgrade")]),
         {"upgrade": (b"websocket",), "keep_alive": False}),
        (Head([UPGRADE]), {}),
        (Head([connection(b"upgrade")]), {}),
        (Head([UPGRADE, connection(b"upgrade, keep-alive")], version="1.0"), {}),
        (Head([UPGRADE, (b"upgrade", b"h2c"), connection(b"upgrade")]),
         {"upgrade": (b"websocket", b"h2c")}),
        (Head([(b"upgrade", b"H2C,\t WebSocket ,, a/1"), connection(b"upgrade")]),
         {"upgrade": (b"h2c", b"websocket", b"", b"a/1")}),
        (Head([(b"upgrade", b"h2c"), connection(b"upgraded")]), {}),
        (Head([(b"te", b"trailers")]), {"accepts_trailers": True}),
        (Head([(b"te", b"gzip;q=0.5, Trailers")]), {"accepts_trailers": True}),
        (Head([(b"te", b"gzip"), (b"te", b"trailers")]), {"accepts_trailers": True}),
        (Head([(b"te", b"trailers;q=1")]), {}),
        (Head([(b"te", b"trailers")], version="1.0"), {"keep_alive": False}),
    ],
)  # fmt: skip
def test_accepted(head: Head, expected: dict[str, Any]) -> None:
    assert facts(head.accept()) == expected


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (Head(version="2.0"), 505, "HTTP/2.0 is not spoken"),
        (Head(version="0.9"), 505, "HTTP/0.9 is not spoken"),
        (Head(version="1.2"), 505, "HTTP/1.2 is not spoken"),
        (Head(version="1.9"), 505, "HTTP/1.9 is not spoken"),
        (Head(host=False), 400, "no Host headers"),
        (Head([(b"x", b"y")], host=False), 400, "no Host headers"),
        (Head([connection(b"keep-alive")], host=False), 400, "no Host headers"),
        (Head([length(b"5")], host=False), 400, "no Host headers"),
        (Head([HOST]), 400, "2 Host headers"),
        (Head([(b"host", b"b"), HOST]), 400, "3 Host headers"),
        (Head([HOST], version="1.0"), 400, "2 Host headers"),
        (Head([length(b"5"), length(b"6")]), 400, "more than one Content-Length"),
        (Head([length(b"5"), length(b"5")]), 400, "more than one Content-Length"),
        (Head([length(b"5,5")]), 400, "more than one Content-Length"),
        (Head([length(b"5, 6")]), 400, "more than one Content-Length"),
        (Head([length(b"05")]), 400, "Content-Length is not a number"),
        (Head([length(b"00")]), 400, "Content-Length is not a number"),
        (Head([length(b"5 5")]), 400, "Content-Length is not a number"),
        (Head([length(b"")]), 400, "Content-Length is not a number"),
        (Head([length(b"+5")]), 400, "Content-Length is not a number"),
        (Head([length(b"-5")]), 400, "Content-Length is not a number"),
        (Head([length(b"0x5")]), 400, "Content-Length is not a number"),
        (Head([length(b"1_0")]), 400, "Content-Length is not a number"),
        (Head([length(b"\xb2")]), 400, "Content-Length is not a number"),
        (Head([length(b"1" * 19)]), 400, "Content-Length is not a number"),
        (Head([length(b"9" * 5000)]), 400, "Content-Length is not a number"),
        (Head([length(b"5"), CHUNKED]), 400, "both Content-Length and Transfer-Encoding"),
        (Head([CHUNKED, length(b"0")]), 400, "both Content-Length and Transfer-Encoding"),
        (Head([CHUNKED], version="1.0"), 400, "Transfer-Encoding in an HTTP/1.0 request"),
        (Head([CHUNKED, CHUNKED]), 400, NOT_LAST),
        (Head([CHUNKED, coding(b"identity")]), 400, NOT_LAST),
        (Head([coding(b"identity"), CHUNKED]), 501, "the only transfer coding"),
        (Head([coding(b"gzip")]), 501, "the only transfer coding"),
        (Head([coding(b"gzip, chunked")]), 501, "the only transfer coding"),
        (Head([coding(b"identity")]), 501, "the only transfer coding"),
        (Head([coding(b"xchunked")]), 501, "the only transfer coding"),
        (Head([coding(b"chunked, chunked")]), 400, NOT_LAST),
        (Head([coding(b"chunked, gzip")]), 400, NOT_LAST),
        (Head([coding(b"chunked,")]), 400, NOT_LAST),
        (Head([coding(b",chunked")]), 400, NOT_LAST),
        (Head([coding(b"")]), 400, NOT_LAST),
        (Head([coding(b'"chunked"')]), 400, NOT_LAST),
        (Head([coding(b"chunked;q=1")]), 400, NOT_LAST),
        (Head([coding(b"\xa0chunked")]), 400, NOT_LAST),
        (Head([(b"expect", b"cake")]), 417, "the only expectation"),
        (Head([(b"expect", b"")]), 417, "the only expectation"),
        (Head([(b"expect", b"100-continue"), (b"expect", b"x")]), 417, "the only expectation"),
    ],
)
def test_refused(head: Head, status: int, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        head.accept()
    assert caught.value.status == status
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("method", "expected"),
    [(b"GET", "GET"), (b"TRACE", "TRACE"), (b"PROPFIND", "PROPFIND"), (b"QUERY", "QUERY")],
)
def test_method(method: bytes, expected: str) -> None:
    assert Head(method=method).accept().method == expected


@pytest.mark.parametrize("target", [b"/", b"*", b"a:80", b"http://a/"])
def test_connect(target: bytes) -> None:
    with pytest.raises(ProtocolError, match="CONNECT is not offered") as caught:
        Head([length(b"5")], method=b"CONNECT", target=target).accept()
    assert caught.value.status == 501


@pytest.mark.parametrize("method", [b"get", b"Get", b"connect", b"GETS", b"PRI", b"x" * 1000])
def test_unknown_method(method: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        Head(method=method).accept()
    assert caught.value.status == 501
    assert caught.value.reason == f"the method {method[:32].decode()} is not known here"


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"/a?b", b"/a?b", b"a"),
        (b"//a/b", b"//a/b", b"a"),
        (b"/http://x/", b"/http://x/", b"a"),
        (b"http://x:80/y?z", b"/y?z", b"x:80"),
        (b"HTTPS://x/", b"/", b"x"),
        (b"http://x", b"/", b"x"),
        (b"http://x?y", b"/?y", b"x"),
    ],
)
def test_target(target: bytes, path: bytes, host: bytes) -> None:
    request = Head([(b"x", b"y")], target=target).accept()
    assert request.target == path
    assert request.headers == [(b"host", host), (b"x", b"y")]


def test_absolute_target_of_an_old_client() -> None:
    request = Head(target=b"http://x/", version="1.0", host=False).accept()
    assert request.headers == [(b"host", b"x")]


def test_asterisk() -> None:
    assert Head(method=b"OPTIONS", target=b"*").accept().target == b"*"
    with pytest.raises(ProtocolError, match="only for OPTIONS"):
        Head(target=b"*").accept()


@pytest.mark.parametrize(
    "target",
    [b"a", b"?a", b"a/b", b"ftp://x/", b"http:/x", b"https", b"**", b"*?", b"a:80", b"\\x"],
)
def test_target_of_no_form(target: bytes) -> None:
    with pytest.raises(ProtocolError, match="neither a path nor an absolute URL") as caught:
        Head(target=target).accept()
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "authority", [b"", b":80", b"u@x", b"u:p@x", b"x:y", b"x:123456", b"[::1", b"x,y", b"::1"]
)
def test_authority_of_a_target(authority: bytes) -> None:
    with pytest.raises(ProtocolError, match="the target's authority") as caught:
        Head(target=b"http://" + authority + b"/").accept()
    assert caught.value.status == 400


@pytest.mark.parametrize("target", [b"#", b"/#", b"/a#b", b"/a?b#c", b"http://x/#a", b"*#"])
def test_fragment(target: bytes) -> None:
    with pytest.raises(ProtocolError, match="has a fragment") as caught:
        Head(target=target).accept()
    assert caught.value.status == 400


@each("code", range(256))
def test_characters_in_targets(code: int) -> None:
    forms = (b"/%c", b"/a%cb", b"http://x/%c", b"/?%ca", b"/a?b%c", b"http://x?%c")
    for target in forms:
        head = Head(target=target % code)
        in_query = b"?" in target
        # Browsers send a backslash as it is, but take that of a path for a slash.
        if 33 <= code <= 126 and code not in (b"#" if in_query else b"#\\"):
            assert head.accept().target.endswith(head.target.removeprefix(b"http://x"))
        else:
            with pytest.raises(ProtocolError) as caught:
                head.accept()
            assert caught.value.status == 400


@pytest.mark.parametrize("target", [b"/%00", b"/a%00b?c", b"http://x/%00", b"/%2500%00"])
def test_nul_in_a_path(target: bytes) -> None:
    with pytest.raises(ProtocolError, match="the path contains a NUL") as caught:
        Head(target=target).accept()
    assert caught.value.status == 400


@pytest.mark.parametrize("target", [b"/?%00", b"/a?b=%00&c", b"/%2500", b"/%0", b"/%"])
def test_nul_elsewhere(target: bytes) -> None:
    assert Head(target=target).accept().target == target


# Hosts

HOSTS = [
    b"a",
    b"a.b",
    b"a-b_c~d",
    b"A:80",
    b"a:",
    b"127.0.0.1",
    b"[::1]",
    b"[::1]:80",
    b"%61",
    b"a;=b",
]
NO_HOSTS = [b"", b"a b", b"a,b", b"a/b", b"a?b", b"a#b", b"u@a", b":80", b"a:b", b"a:123456"]
NO_HOSTS += [b"a:1:2", b"::1", b"[::1", b"[x]", b"[]", b"[::1]a", b"\xe9", b"a\\b", b'"a"', b"<a>"]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("host", HOSTS)
def test_host(host: bytes, again: bool) -> None:
    head = Head([(b"host", host)], host=False)
    for _ in range(1 + again):
        assert head.accept().headers == [(b"host", host)]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("host", NO_HOSTS)
def test_no_host(host: bytes, version: str) -> None:
    for _ in range(2):
        with pytest.raises(ProtocolError, match="the Host header is not a host") as caught:
            Head([(b"host", host)], host=False, version=version).accept()
        assert caught.value.status == 400


@each("code", range(256))
def test_characters_in_hosts(code: int) -> None:
    try:
        Head([(b"host", b"a%ca" % code)], host=False).accept()
    except ProtocolError as error:
        refused = error.status
    else:
        refused = 0
    allowed = (
        b"!$%&'()*+-.;=_~" + bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123))
    )
    assert refused == (0 if code in allowed else 400)


def test_host_of_a_refused_request_may_be_known() -> None:
    """What is remembered is remembered for others: only what is right by itself."""
    for fields in ([length(b"x")], [HOST], [CHUNKED, length(b"5")]):
        with pytest.raises(ProtocolError):
            Head([(b"host", b"remembered"), *fields], host=False).accept()
        assert facts(Head([(b"host", b"remembered")], host=False).accept()) == {}


def test_memories_are_bounded() -> None:
    for number in range(3000):
        host, name = b"host%d" % number, b"name%d" % number
        head = Head([(b"host", host), (name, b"")], host=False)
        for _ in range(2):  # names are looked at where the host is known
            assert head.accept().headers == [(b"host", host), (name, b"")]
        assert name in guard._indifferent_names
        assert host in guard._known_authorities
    assert len(guard._known_authorities) <= 256
    assert len(guard._indifferent_names) <= 1024
    long = Head([(b"x" * 5000, b"")])
    for _ in range(2):
        assert long.accept().headers == [HOST, (b"x" * 5000, b"")]
    assert max(map(len, guard._indifferent_names)) <= 64


# Fields


@pytest.mark.parametrize("name", [b"x_y", b"_", b"content_length", b"transfer_encoding", b"_host"])
@pytest.mark.parametrize("others", [[], [length(b"5")], [connection(b"keep-alive")]])
def test_names_with_underscores_are_dropped(name: bytes, others: Headers) -> None:
    request = Head([(name, b"9"), *others, (b"x-y", b"a_b")]).accept()
    assert request.headers == [HOST, *others, (b"x-y", b"a_b")]
    assert request.content_length == (5 if length(b"5") in others else 0)


def test_host_with_an_underscore_is_none() -> None:
    with pytest.raises(ProtocolError, match="no Host headers"):
        Head([(b"_host", b"a")], host=False).accept()


def test_name_that_a_parser_should_not_have_let_pass() -> None:
    with pytest.raises(ProtocolError, match="not a token"):
        accept(b"GET / HTTP/1.1", b"Host: a\r\nX Y: z\r\n\r\n", split_fields, LIMITS)


@pytest.mark.parametrize("name", [b"x", b"accept", b"cookie", b"x-" + b"y" * 100])
def test_names_that_decide_nothing(name: bytes) -> None:
    for _ in range(2):
        assert is_indifferent(name)


@pytest.mark.parametrize("name", [b"host", b"content-length", b"connection", b"te", b"x_y"])
def test_names_that_decide(name: bytes) -> None:
    for _ in range(2):
        assert not is_indifferent(name)


@pytest.mark.parametrize("name", [b"", b"x ", b"a b", b"\xe4"])
def test_names_that_are_none(name: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ProtocolError, match="not a token"):
            is_indifferent(name)


def test_what_a_parser_dislikes_is_said_in_the_guards_words() -> None:
    def fussy(block: bytes) -> Headers:
        raise ProtocolError(400, "fussy")

    for head, reason in (
        (Head([length(b"x")]), "Content-Length is not a number, or not a possible one"),
        (Head([length(b"x")], method=b"X"), "the method X is not known here"),
        (Head([(b"x y", b"z")]), "a header's name is not a token"),
        (Head(), "fussy"),
    ):
        with pytest.raises(ProtocolError) as caught:
            accept(head.line, head.block, fussy, LIMITS)
        assert caught.value.reason == reason


# Sizes: to the byte, see `test_h1_limits`


def test_largest_length() -> None:
    limits = LIMITS._replace(body_size=inf)
    assert Head([length(b"9" * 18)]).accept(limits).content_length == 10**18 - 1
    with pytest.raises(ProtocolError, match="not a possible one"):
        Head([length(b"1" + b"0" * 18)]).accept(limits)


def test_body_size() -> None:
    limits = LIMITS._replace(body_size=5)
    assert Head([length(b"5")]).accept(limits).content_length == 5
    with pytest.raises(ProtocolError, match=r"larger than 5 bytes \(--max-body-size\)") as caught:
        Head([length(b"6")]).accept(limits)
    assert caught.value.status == 413


def test_line_size() -> None:
    limits = LIMITS._replace(request_line=14)
    assert Head().accept(limits).target == b"/"
    with pytest.raises(ProtocolError, match="--max-request-line") as caught:
        Head(target=b"/x").accept(limits)
    assert caught.value.status == 414


def test_repr() -> None:
    assert repr(Head(target=b"/a?b").accept()) == "<Request GET b'/a?b' HTTP/1.1>"


@pytest.mark.parametrize("end", ["#", "/\\", "?#"])
def test_long_targets_take_no_time(end: str) -> None:
    """With a pattern that can go back, this takes minutes."""
    limits = LIMITS._replace(request_line=inf)
    line = f"GET http://{'a' * 500_000}{end} HTTP/1.1".encode()
    with pytest.raises(ProtocolError, match="request target"):
        accept(line, b"Host: a\r\n\r\n", split_fields, limits)
