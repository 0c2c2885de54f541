"""The limits of an HTTP/2 header section: to the byte, and named by their options."""

from math import inf

import pytest

from aserver.engines.h2_frames import END_STREAM, HEADERS, ErrorCode
from aserver.engines.h2_heads import check_trailers
from aserver.limits import RequestLimits
from aserver.types import Headers, ProtocolError
from tests.engines.h2_bytes import block, continuation, frame, headers
from tests.engines.h2_peer import STREAMS, Peer
from tests.engines.h2_requests import HOST, head, refusal, request
from tests.fakes import LIMITS

UNLIMITED = RequestLimits(inf, inf, inf, inf, inf, 65_536)


@pytest.mark.parametrize("method", [b"GET", b"PROPFIND"])
@pytest.mark.parametrize("size", [14, 100, 8192])
def test_path_is_as_long_as_in_a_request_line(method: bytes, size: int) -> None:
    limits = UNLIMITED._replace(request_line=size + len(method) - 3)
    path = b"/" * (size - len(b"GET  HTTP/1.1"))
    assert request(head(method=method, path=path), limits=limits).target == path
    assert refusal(head(method=method, path=path + b"x"), limits=limits) == (
        414,
        f"the path is longer than a request line of {limits.request_line} bytes allows"
        " (--max-request-line)",
    )


def test_asterisk_has_a_length() -> None:
    fields = head(method=b"OPTIONS", path=b"*")
    line = len(b"OPTIONS * HTTP/1.1")
    assert request(fields, limits=UNLIMITED._replace(request_line=line)).target == b"*"
    assert refusal(fields, limits=UNLIMITED._replace(request_line=line - 1))[0] == 414


@pytest.mark.parametrize("name", [b"x", b"cookie", b"x_y", b"x-long-name"])
def test_header_size(name: bytes) -> None:
    limits = UNLIMITED._replace(header_size=50)
    value = b"v" * (50 - len(name))
    assert request(head((name, value)), limits=limits).headers[0] == HOST
    assert refusal(head((name, value + b"v")), limits=limits) == (
        431,
        "a header is larger than 50 bytes (--max-header-size)",
    )


def test_size_of_an_authority() -> None:
    limits = UNLIMITED._replace(header_size=len(b":authority") + 10)
    host = b"a" * 10
    assert request(head(authority=host), limits=limits).headers == [(b"host", host)]
    assert refusal(head(authority=host + b"a"), limits=limits)[0] == 431


def test_path_has_a_limit_of_its_own() -> None:
    limits = UNLIMITED._replace(header_size=50, headers_size=100)
    assert len(request(head(path=b"/" * 5000), limits=limits).target) == 5000


def test_headers_size() -> None:
    fields = [(b"x-%d" % number, b"v" * number) for number in range(9)]
    plain = sum(len(name) + len(value) for name, value in head(*fields) if name != b":path")
    limits = UNLIMITED._replace(headers_size=plain)
    assert request(head(*fields), limits=limits).headers == [HOST, *fields]
    assert refusal(head(*fields, (b"y", b"")), limits=limits) == (
        431,
        f"the headers are larger than {plain} bytes (--max-headers-size)",
    )


@pytest.mark.parametrize("count", [2, 10, 100])
@pytest.mark.parametrize("names", [b"x", b"x-%d", b"x_%d"])
def test_header_count(count: int, names: bytes) -> None:
    """As in HTTP/1, where Host is one of them."""
    limits = UNLIMITED._replace(header_count=count)
    fields = [(names.replace(b"%d", b"%d" % number), b"") for number in range(count)]
    assert request(head(*fields[1:]), limits=limits).headers[0] == HOST
    assert request(head(HOST, *fields[1:], authority=None), limits=limits).headers[0] == HOST
    expected = (431, f"there are more than {count} headers (--max-header-count)")
    assert refusal(head(*fields), limits=limits) == expected
    assert refusal(head(HOST, *fields, authority=None), limits=limits) == expected


@pytest.mark.parametrize("count", [2, 10, 100])
def test_crumbs_of_a_cookie_are_one_header(count: int) -> None:
    """Section 8.2.3: who cuts it says no more than others; but there is an end of that, too."""
    limits = UNLIMITED._replace(header_count=count)
    plain = [(b"x", b"")] * (count - 2)
    crumbs = [(b"cookie", b"a")] * (4 * count - len(plain) - len(head()))
    found = request(head(*plain, *crumbs), limits=limits)
    assert len(found.headers) == count
    assert refusal(head(*plain, (b"cookie", b"a"), (b"y", b"")), limits=limits)[0] == 431
    assert refusal(head(*plain, *crumbs, (b"cookie", b"a")), limits=limits)[0] == 431


def test_body_size() -> None:
    limits = UNLIMITED._replace(body_size=5)
    found = request(head((b"content-length", b"5")), limits=limits, ended=False)
    assert found.content_length == 5
    assert refusal(head((b"content-length", b"6")), limits=limits, ended=False) == (
        413,
        "the request body is larger than 5 bytes (--max-body-size)",
    )


def test_no_limits() -> None:
    fields: Headers = [(b"x", b"y" * 100_000)] * 500
    found = request(head(*fields, path=b"/" * 100_000), limits=UNLIMITED)
    assert found.headers == [HOST, *fields]


def test_limits_are_looked_at_first() -> None:
    """What is too much costs no look into it."""
    limits = LIMITS._replace(headers_size=100)
    assert refusal([(b"X\0", b"\n" * 101)], limits=limits)[0] == 431
    assert refusal([(b":x", b"")] * 1000)[0] == 431


def test_what_is_within_all_limits_is_within_the_list_that_was_told() -> None:
    """SETTINGS_MAX_HEADER_LIST_SIZE counts the path, too; to exceed it ends the connection."""
    limits = LIMITS._replace(request_line=5000, headers_size=9000, header_count=50)
    fields: Headers = [(b"x-%02d" % number, b"y" * 175) for number in range(49)]
    path = b"/" * (5000 - len(b"GET  HTTP/1.1"))
    peer = Peer(STREAMS, limits)
    assert request(head(*fields, path=path), limits=limits).target == path
    peer.open(1, headers(1, head(*fields, path=path)))
    assert [call.request.target for call in peer.made] == [path]
    assert not peer.sink.refused


@pytest.mark.parametrize("first", [b"", b"\x20", b"\x20\x20", b"\x3f"])
def test_table_that_changes_behind_a_short_frame(first: bytes) -> None:
    """A header section is one, in however many frames it comes (RFC 9113 section 4.3)."""
    peer = Peer()
    section = first + b"\x01" * first.endswith(b"\x3f") + b"\x20" * 1000 + block(head())
    rest = section[len(first) :]
    peer.open(1, frame(HEADERS, END_STREAM, 1, first), continuation(1, rest))
    assert not peer.made
    peer.read()
    assert [code for _, code in peer.goaways] == [ErrorCode.COMPRESSION_ERROR]


# Trailers: the same, without pseudo-headers


def trailer_refusal(fields: Headers, limits: RequestLimits) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as caught:
        check_trailers(fields, limits)
    return caught.value.status, caught.value.reason


def test_trailers_within_limits() -> None:
    fields = [(b"x", b"y"), (b"zz", b"")]
    limits = UNLIMITED._replace(header_count=2, header_size=2, headers_size=4)
    check_trailers(fields, limits)
    for name, option in (
        ("header_count", "--max-header-count"),
        ("header_size", "--max-header-size"),
        ("headers_size", "--max-headers-size"),
    ):
        less = limits._replace(**{name: getattr(limits, name) - 1})
        status, reason = trailer_refusal(fields, less)
        assert status == 431
        assert option in reason
