"""The guard's verdict on parsed heads, without any parser."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from aserver.engines.guard import accept
from aserver.types import Headers, ProtocolError, Request

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

    def accept(self) -> Request:
        return accept(self.method, self.target, self.version, [HOST] * self.host + self.fields)


def facts(request: Request) -> dict[str, Any]:
    """What was found out, as far as it is not the usual."""
    usual = Request("GET", b"/", "1.1", [])
    names = ("content_length", "keep_alive", "expects_continue", "upgrade")
    found = {name: getattr(request, name) for name in names}
    return {name: value for name, value in found.items() if value != getattr(usual, name)}


def length(value: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", value)


def connection(value: bytes) -> tuple[bytes, bytes]:
    return (b"connection", value)


UPGRADE = (b"upgrade", b"WebSocket")


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
        (Head([length(b"0005")]), {"content_length": 5}),
        (Head([length(b"9" * 18)]), {"content_length": 10**18 - 1}),
        (Head([length(b"5"), length(b"5")]), {"content_length": 5}),
        (Head([CHUNKED]), {"content_length": None}),
        (Head([(b"transfer-encoding", b"CHUNKED")]), {"content_length": None}),
        (Head([(b"expect", b"100-Continue"), length(b"5")]),
         {"content_length": 5, "expects_continue": True}),
        (Head([(b"expect", b"100-continue")], version="1.0"), {"keep_alive": False}),
        (Head([(b"expect", b"cake")], version="1.0"), {"keep_alive": False}),
        (Head([UPGRADE, connection(b"upgrade")]), {"upgrade": b"websocket"}),
        (Head([UPGRADE, connection(b"close, Upgrade")]),
         {"upgrade": b"websocket", "keep_alive": False}),
        (Head([UPGRADE]), {}),
        (Head([connection(b"upgrade")]), {}),
        (Head([UPGRADE, connection(b"upgrade, keep-alive")], version="1.0"), {}),
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
        (Head([length(b"5"), length(b"6")]), 400, "two Content-Length headers that differ"),
        (Head([length(b"5"), length(b"05")]), 400, "two Content-Length headers that differ"),
        (Head([length(b"")]), 400, "Content-Length is not a number"),
        (Head([length(b"+5")]), 400, "Content-Length is not a number"),
        (Head([length(b"-5")]), 400, "Content-Length is not a number"),
        (Head([length(b"5 ")]), 400, "Content-Length is not a number"),
        (Head([length(b"5,5")]), 400, "Content-Length is not a number"),
        (Head([length(b"0x5")]), 400, "Content-Length is not a number"),
        (Head([length(b"1_0")]), 400, "Content-Length is not a number"),
        (Head([length(b"\xb2")]), 400, "Content-Length is not a number"),
        (Head([length(b"1" * 19)]), 400, "Content-Length is not a number"),
        (Head([length(b"9" * 5000)]), 400, "Content-Length is not a number"),
        (Head([length(b"5"), CHUNKED]), 400, "both Content-Length and Transfer-Encoding"),
        (Head([CHUNKED, length(b"0")]), 400, "both Content-Length and Transfer-Encoding"),
        (Head([CHUNKED], version="1.0"), 400, "Transfer-Encoding in an HTTP/1.0 request"),
        (Head([CHUNKED, CHUNKED]), 501, "the only transfer coding"),
        (Head([(b"transfer-encoding", b"gzip")]), 501, "the only transfer coding"),
        (Head([(b"transfer-encoding", b"gzip, chunked")]), 501, "the only transfer coding"),
        (Head([(b"transfer-encoding", b"chunked, chunked")]), 501, "the only transfer coding"),
        (Head([(b"transfer-encoding", b"\x0bchunked")]), 501, "the only transfer coding"),
        (Head([(b"transfer-encoding", b"")]), 501, "the only transfer coding"),
        (Head([CHUNKED, (b"transfer-encoding", b"identity")]), 501, "the only transfer coding"),
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
    [(b"GET", "GET"), (b"TRACE", "TRACE"), (b"PROPFIND", "PROPFIND"), (b"get", "GET")],
)
def test_method(method: bytes, expected: str) -> None:
    assert Head(method=method).accept().method == expected


@pytest.mark.parametrize("target", [b"/", b"*", b"a:80", b"http://a/"])
@pytest.mark.parametrize("method", [b"CONNECT", b"connect"])
def test_connect(method: bytes, target: bytes) -> None:
    with pytest.raises(ProtocolError, match="CONNECT is not offered") as caught:
        Head([length(b"5")], method=method, target=target).accept()
    assert caught.value.status == 501


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
    [b"a", b"?a", b"#", b"a/b", b"ftp://x/", b"http:/x", b"http:///x", b"http://", b"https", b"**"],
)
def test_target_of_no_form(target: bytes) -> None:
    with pytest.raises(ProtocolError, match="neither a path nor an absolute URL") as caught:
        Head(target=target).accept()
    assert caught.value.status == 400


@pytest.mark.parametrize("code", [*range(32), *range(127, 256)])
def test_characters_in_targets(code: int) -> None:
    for target in (
        b"/" + bytes([code]),
        b"/?" + bytes([code]) + b"a",
        b"http://x/" + bytes([code]),
    ):
        with pytest.raises(ProtocolError, match="must be percent-encoded") as caught:
            Head(target=target).accept()
        assert caught.value.status == 400


def test_repr() -> None:
    assert repr(Head(target=b"/a?b").accept()) == "<Request GET b'/a?b' HTTP/1.1>"
