"""Requests of HTTP as Daphne's applications see them: the scope, the body's events, refusals.

Every case of its tests is here, with both parsers; where aserver differs on purpose, the test says
what it does, and docs/migration/daphne.md why.
"""

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.testing import serve
from tests.daphne.recorder import FEW, Recorder, ask, read_answer
from tests.processes import DEADLINE

REQUIRED = {"type", "asgi", "http_version", "method", "path", "raw_path", "query_string", "headers"}
OPTIONAL = {"scheme", "root_path", "client", "server"}
# Daphne's own six are these and 0x85, which is half of a letter in UTF-8.
CONTROLS = [0x0B, 0x0C, 0x1C, 0x1D, 0x1E]
EVERYBODY = "0.0.0.0/0,::/0"


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(recorder: Recorder, request: pytest.FixtureRequest) -> Iterator[serve]:
    with serve(recorder, http=request.param) as server:
        yield server


@pytest.fixture
def proxied(recorder: Recorder, request: pytest.FixtureRequest) -> Iterator[serve]:
    """One that believes in proxies, with the options of the test."""
    options: dict[str, Any] = getattr(request, "param", {})
    with serve(recorder, proxy_headers=True, **options) as server:
        yield server


def texts(size: int) -> st.SearchStrategy[str]:
    """Any text that there is in UTF-8."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=size)


def headers_of(count: int) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    """Fields that mean nothing to a server, with all that may be in their values."""
    tokens = "!#$%&'*+-.^`|~0123456789ABCXYZabcxyz"  # the underscore is another matter
    names = st.text(tokens, max_size=20).map(lambda name: b"x-" + name.encode())
    values = st.lists(st.sampled_from([9, *range(32, 127), *range(128, 256)]), max_size=100)
    return st.lists(
        st.tuples(names, values.map(lambda value: bytes(value).strip(b" \t"))), max_size=count
    )


# The scope


def test_the_simplest_request(server: serve, recorder: Recorder) -> None:
    ask(server)
    call = recorder.next()
    scope = call.scope
    assert scope.keys() >= REQUIRED
    assert scope.keys() - REQUIRED - OPTIONAL == {"extensions"}, "on purpose"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}, "the latter on purpose"
    assert (scope["type"], scope["http_version"]) == ("http", "1.1")
    assert (scope["method"], scope["scheme"]) == ("GET", "http")
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/", b"/", "")
    assert scope["query_string"] == b""
    assert scope["headers"] == [(b"host", b"h")], "no other is added"
    assert call.received == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


def test_addresses(server: serve, recorder: Recorder) -> None:
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        read_answer(sock)
        own = sock.getsockname()
    scope = recorder.next().scope
    assert scope["client"] == own
    assert scope["server"] == ("127.0.0.1", server.port)


@FEW
@given(path=texts(50), query=st.lists(st.tuples(texts(10), texts(10)), max_size=5))
def test_any_path_and_query(server: serve, recorder: Recorder, path: str, query: Any) -> None:
    raw_path, raw_query = quote(f"/{path}"), urlencode(query)
    answer = ask(server, f"{raw_path}?{raw_query}" if query else raw_path)
    assert answer.body == b"hello"
    scope = recorder.next().scope
    assert scope["path"] == f"/{path}"
    assert scope["raw_path"] == raw_path.encode()
    assert scope["query_string"] == raw_query.encode()


@FEW
@given(headers=headers_of(50))
def test_any_headers(server: serve, recorder: Recorder, headers: list[tuple[bytes, bytes]]) -> None:
    assert ask(server, headers=headers).status == 200
    expected = [(name.lower(), value) for name, value in headers]
    assert recorder.next().headers == expected, "in the order of all, not only that of each name"


@FEW
@given(
    method=st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "PROPFIND"]),
    body=st.binary(min_size=1, max_size=1500),
    headers=headers_of(10),
)
def test_any_body(
    server: serve, recorder: Recorder, method: str, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    assert ask(server, headers=headers, method=method, body=body).status == 200
    call = recorder.next()
    assert call.scope["method"] == method
    assert call.headers[-1] == (b"content-length", b"%d" % len(body))
    *requests, last = call.received
    assert b"".join(each["body"] for each in requests) == body
    assert [each["more_body"] for each in requests] == [True] * (len(requests) - 1) + [False]
    assert last == {"type": "http.disconnect"}


def test_a_body_that_comes_in_pieces(server: serve, recorder: Recorder) -> None:
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"6\r\nthe be", b"\r\n7\r\nginning\r\n0\r\n", b"\r\n"):
            sock.sendall(piece)
        assert read_answer(sock).body == b"hello"
    *requests, last = recorder.next().received
    assert b"".join(each["body"] for each in requests) == b"the beginning"
    assert not requests[-1]["more_body"]
    assert last == {"type": "http.disconnect"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "MKCOL"])
def test_methods(server: serve, recorder: Recorder, method: str) -> None:
    assert ask(server, "/path", method=method).status == 200
    scope = recorder.next().scope
    assert (scope["method"], scope["path"]) == (method, "/path")


@pytest.mark.parametrize("method", ["CONNECT", "FOO", "get"])
def test_methods_that_are_not_served(server: serve, method: str) -> None:
    """On purpose."""
    assert ask(server, "/path", method=method).status == 501


def test_an_escaped_slash(server: serve, recorder: Recorder) -> None:
    ask(server, "/foo%2Fbar?a=%2F")
    scope = recorder.next().scope
    assert (scope["path"], scope["raw_path"]) == ("/foo/bar", b"/foo%2Fbar")
    assert scope["query_string"] == b"a=%2F"


def test_space_around_a_value_is_not_part_of_it(server: serve, recorder: Recorder) -> None:
    ask(server, headers=[(b"MYCUSTOMHEADER", b"   foobar   ")])
    assert recorder.next().headers == [(b"mycustomheader", b"foobar")]


def test_an_underscore_could_be_another_header(server: serve, recorder: Recorder) -> None:
    ask(server, headers=[(b"X_Forwarded_For", b"1.2.3.4"), (b"X-Other", b"1")])
    assert recorder.next().headers == [(b"x-other", b"1")]


def test_a_header_that_comes_twice(server: serve, recorder: Recorder) -> None:
    headers = [(b"a", b"2"), (b"b", b"1"), (b"a", b"1"), (b"a", b"2")]
    ask(server, headers=headers)
    assert recorder.next().headers == headers


def test_a_hundred_large_headers(server: serve, recorder: Recorder) -> None:
    headers = [(b"x-%d" % number, b"v" * 8190) for number in range(100)]
    answer = ask(server, headers=headers[:99])
    assert answer.status == 431, "on purpose; and it says which limit"
    assert b"65536" in answer.body
    with serve(recorder, max_header_count=101, max_headers_size=1 << 20) as larger:
        assert ask(larger, headers=headers).status == 200
    assert recorder.next().headers == headers


# Who is in front


FOR = (b"X-Forwarded-For", b"10.1.2.3")
PORT = (b"X-Forwarded-Port", b"80")
PROTO = (b"X-Forwarded-Proto", b"https")


def test_proxies_are_not_believed(server: serve, recorder: Recorder) -> None:
    ask(server, headers=[FOR, PORT, PROTO])
    scope = recorder.next().scope
    assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("headers", "client", "scheme"),
    [
        ([], None, "http"),
        ([FOR], ("10.1.2.3", 0), "http"),
        ([FOR, PORT], ("10.1.2.3", 80), "http"),
        ([FOR, (b"X-Forwarded-Port", b"x")], ("10.1.2.3", 0), "http"),
        ([FOR, PORT, PROTO], ("10.1.2.3", 80), "https"),
        ([(b"X-Forwarded-For", b"1043::a321:1"), PORT], ("1043::a321:1", 80), "http"),
        ([(b"X-Forwarded-For", b"[1043::a321:1]:99")], ("1043::a321:1", 99), "http"),
        ([PORT], None, "http"),
        ([PROTO], None, "https"),  # on purpose
        # On purpose: the last that is no proxy of ours is who called it; the first is hearsay.
        ([(b"X-Forwarded-For", b"10.9.9.9, 10.1.2.3")], ("10.1.2.3", 0), "http"),
    ],
)
def test_proxies_that_are_believed(
    proxied: serve,
    recorder: Recorder,
    headers: list[tuple[bytes, bytes]],
    client: tuple[str, int] | None,
    scheme: str,
) -> None:
    ask(proxied, headers=headers)
    scope = recorder.next().scope
    assert scope["scheme"] == scheme
    if client is None:
        assert scope["client"][0] == "127.0.0.1"
    else:
        assert scope["client"] == client


@pytest.mark.parametrize(
    ("proxied", "client"),
    [
        ({"forwarded_allow_ips": EVERYBODY}, ("10.1.2.3", 80)),  # as Daphne does
        ({"forwarded_allow_ips": "*"}, ("10.1.2.4", 80)),  # on purpose: whoever it is, it said that
    ],
    indirect=["proxied"],
)
def test_of_several_proxies(proxied: serve, recorder: Recorder, client: tuple[str, int]) -> None:
    ask(proxied, headers=[(b"X-Forwarded-For", b"10.1.2.3, 10.1.2.4"), PORT])
    assert recorder.next().scope["client"] == client


@pytest.mark.parametrize(
    "proxied",
    [{"proxy_headers_host": "X-Real-IP", "proxy_headers_port": "X-Real-Port"}],
    indirect=True,
)
def test_headers_of_other_names(proxied: serve, recorder: Recorder) -> None:
    ask(proxied, headers=[FOR, (b"X-Real-IP", b"10.3.2.1"), (b"X-Real-Port", b"81"), PROTO])
    scope = recorder.next().scope
    assert scope["client"] == ("10.3.2.1", 81)
    assert scope["scheme"] == "https"


ROOT_PATH = (b"Daphne-Root-Path", b"/foo%20bar")
TRUSTED = {"proxy_headers_trust": ("for", "root-path")}


def test_the_root_path_of_anybody_is_a_header(server: serve, recorder: Recorder) -> None:
    """On purpose."""
    ask(server, "/page", headers=[ROOT_PATH])
    call = recorder.next()
    assert call.scope["root_path"] == ""
    assert call.headers == [(b"daphne-root-path", b"/foo%20bar")]


@pytest.mark.parametrize("proxied", [TRUSTED], indirect=True)
def test_the_root_path_of_a_proxy(proxied: serve, recorder: Recorder) -> None:
    ask(proxied, "/page", headers=[ROOT_PATH, (b"x-other", b"1")])
    call = recorder.next()
    assert (call.scope["root_path"], call.scope["path"]) == ("/foo bar", "/page")
    assert call.headers == [(b"x-other", b"1")]


@pytest.mark.parametrize("proxied", [TRUSTED | {"forwarded_allow_ips": "unix"}], indirect=True)
def test_the_root_path_of_no_proxy(proxied: serve, recorder: Recorder) -> None:
    ask(proxied, headers=[ROOT_PATH])
    assert recorder.next().scope["root_path"] == ""


# What is no request


def refusal(server: serve, request: bytes) -> bytes:
    """The first line of the answer to these bytes."""
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(request)
        return sock.recv(65536).partition(b"\r\n")[0]


@pytest.mark.parametrize("target", [b"/\xc3\xa5", b"/?\xc3\xa5", b"/ ", b"/?a b"])
def test_targets_that_are_not_escaped(server: serve, target: bytes) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target
    assert refusal(server, request) == b"HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize("name", [b"foo bar", b"foo\x00", b"foo\xff", b"foo\x01", b"foo ", b""])
def test_names_that_are_none(server: serve, name: bytes) -> None:
    request = b"GET / HTTP/1.1\r\nHost: h\r\n%b: 1\r\n\r\n" % name
    assert refusal(server, request) == b"HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_in_values(server: serve, control: int) -> None:
    request = b"GET / HTTP/1.1\r\nHost: h\r\nA: before%cafter\r\n\r\n" % control
    assert refusal(server, request).startswith(b"HTTP/1.1 400")


def test_what_is_a_control_character_to_daphne_is_half_a_letter(
    server: serve, recorder: Recorder
) -> None:
    """On purpose."""
    ask(server, headers=[(b"x-name", "Å".encode())])
    assert recorder.next().headers == [(b"x-name", b"\xc3\x85")]


def test_no_host(server: serve, recorder: Recorder) -> None:
    """400 on purpose; as Daphne's tests leave it out, a client of HTTP/1.0 may."""
    assert refusal(server, b"GET / HTTP/1.1\r\n\r\n") == b"HTTP/1.1 400 Bad Request"
    assert refusal(server, b"GET / HTTP/1.0\r\n\r\n") == b"HTTP/1.0 200 OK"
    assert recorder.next().scope["http_version"] == "1.0"
