"""The environment of WSGI requests: what PEP 3333 says of it, whatever the scope is."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aserver.wsgi_environ import Environ, mend


def nothing() -> tuple[bytes, bool]:
    return b"", False


def mended(
    environ: Environ | None = None,
    pieces: Iterator[tuple[bytes, bool]] | None = None,
    **scope: Any,
) -> Environ:
    """The environment of a request with such a scope."""
    plain = {"root_path": "", "path": "/", "headers": [], "server": ("127.0.0.1", 8000)}
    found = {"asgi.scope": plain | scope, "wsgi.url_scheme": "http", **(environ or {})}
    mend(found, nothing if pieces is None else lambda: next(pieces))
    return found


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path", "expected"),
    [
        ("", "/", b"/", ("", "/")),
        ("/app", "/app/facts", b"/app/facts", ("/app", "/facts")),
        ("/app/", "/app/facts", b"/app/facts", ("/app", "/facts")),
        ("/app", "/app", b"/app", ("/app", "")),
        ("/fac", "/facts", b"/facts", ("/fac", "/facts")),
        ("/é", "/é/facts", b"/%C3%A9/facts", ("/\u00c3\u00a9", "/facts")),
        # What is no UTF-8 is a question mark in a box to ASGI.
        ("", "/caf\ufffd", b"/caf%E9", ("", "/caf\u00e9")),
        ("/é", "/é/\ufffd//facts", b"/%C3%A9/%E9%2F/facts", ("/\u00c3\u00a9", "/\u00e9//facts")),
        ("/\ufffd", "/\ufffd/facts", b"/%E9/facts", ("/\u00ef\u00bf\u00bd", "/\u00e9/facts")),
        ("", "/\ufffd", b"/%EF%BF%BD", ("", "/\u00ef\u00bf\u00bd")),
        # A prefix that a proxy took off.
        ("/é", "/é/caf\ufffd", b"/caf%E9", ("/\u00c3\u00a9", "/caf\u00e9")),
        # A middleware has changed it.
        ("", "/other/\ufffd", b"/caf%E9/a", ("", "/other/\u00ef\u00bf\u00bd")),
        ("", "/\ufffd", None, ("", "/\u00ef\u00bf\u00bd")),
    ],
)
def test_paths(
    root_path: str, path: str, raw_path: bytes | None, expected: tuple[str, str]
) -> None:
    found = mended(root_path=root_path, path=path, raw_path=raw_path)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == expected


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [([], None), ([b"a=1; b=2"], "of a2wsgi"), ([b"a=1", b"b=\xe9", b"c=3"], "a=1; b=\u00e9; c=3")],
)
def test_cookies(cookies: list[bytes], expected: str | None) -> None:
    """RFC 6265 section 5.4 wants one field, and HTTP/2 sends many."""
    before = {"HTTP_COOKIE": "of a2wsgi"} if cookies else {}
    headers = [(b"x-a", b"1"), *((b"cookie", each) for each in cookies)]
    assert mended(before, headers=headers).get("HTTP_COOKIE") == expected


@pytest.mark.parametrize(
    ("server", "host", "scheme", "expected"),
    [
        (None, "a.test", "http", ("a.test", "80")),
        (("/run/s", None), "a.test", "https", ("a.test", "443")),
        (None, "[::1]:81", "http", ("::1", "81")),
        (None, "x:y", "https", ("localhost", "443")),
        (None, None, "http", ("localhost", "80")),
    ],
)
def test_a_server_without_an_address_is_what_its_client_calls_it(
    server: Any, host: str | None, scheme: str, expected: tuple[str, str]
) -> None:
    environ = {"wsgi.url_scheme": scheme} | ({} if host is None else {"HTTP_HOST": host})
    found = mended(environ, server=server)
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == expected
    own = {"SERVER_NAME": "of a2wsgi", "REMOTE_ADDR": "192.0.2.1"}
    assert mended(own)["SERVER_NAME"] == "of a2wsgi"
    assert mended(own)["REMOTE_ADDR"] == "192.0.2.1"
    assert mended()["REMOTE_ADDR"] == ""


def test_a_field_that_names_a_proxy_is_not_there() -> None:
    assert "HTTP_PROXY" not in mended({"HTTP_PROXY": "http://evil"})


def test_a_body_is_read_as_it_comes() -> None:
    pieces = iter([(b"one\ntw", True), (b"", True), (b"o\nthree", False)])
    body = mended(pieces=pieces)["wsgi.input"]
    assert body.readline() == b"one\n"
    assert next(pieces) == (b"", True), "the line was there: nothing more is waited for"
    assert body.readline() == b"two\n"
    assert [body.read(2), body.read(), body.read(), body.readline()] == [b"th", b"ree", b"", b""]


@pytest.mark.parametrize("size", [1, 100, 200_000])
def test_files_are_read_in_large_pieces_and_all_else_as_it_comes(size: int, tmp_path: Path) -> None:
    wrap = mended()["wsgi.file_wrapper"]
    (tmp_path / "file").write_bytes(bytes(300_000))
    with (tmp_path / "file").open("rb") as file:
        assert len(next(iter(wrap(file, size)))) == max(size, 65_536)
    assert len(next(iter(wrap(io.BytesIO(bytes(300_000)), size)))) == size
