"""The guides for those who come from another server: no option is forgotten, none is invented.

Which options the others have stands in peers.toml, what becomes of them in options.toml.
"""

import asyncio
import importlib.util
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aserver.config import DECLARATIONS
from aserver.options import build_parser, load
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.processes import ROOT
from tests.test_docs import codes, table, tables

GUIDES = ROOT / "docs" / "migration"
PEERS: dict[str, Any] = tomllib.loads((GUIDES / "peers.toml").read_text(encoding="utf-8"))
ROWS: dict[str, Any] = tomllib.loads((GUIDES / "options.toml").read_text(encoding="utf-8"))
OUR_FLAGS = set(build_parser()._option_string_actions)
# Of tools that the guides name beside the servers.
GRANIANS_FLAGS = {"--host", "--uds", "--uds-permissions", "--ssl-certificate", "--ssl-ca"}
GRANIANS_FLAGS |= {"--url-path-prefix", "--backpressure"}
# What the prose says of our defaults in words.
DEFAULTS_IN_WORDS = {
    "up to half a minute for requests": ("graceful_timeout", 30),
    "may have 16 MiB, not 1 MiB": ("websocket_max_message_size", 16 << 20),
    "WebSockets are not closed after a day": ("websocket_timeout", 0),
}

_LONG_FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_COMMAND = re.compile(r"(?:^    |`|`web: |command=\S*/)(aserver [^`\n#]*)", re.MULTILINE)
_OURS = re.compile(r"\b(aserver(?:\.[a-z_]+)*)\.([A-Z]\w*[a-z]\w*|serve|run)\b")


def guide(name: str) -> str:
    return (GUIDES / f"{name}.md").read_text(encoding="utf-8")


def prose(name: str) -> str:
    """On one line, so that a sentence can be found in it."""
    return " ".join(guide(name).split())


def flags_of(peer: str) -> set[str]:
    return {flag for each in PEERS[peer]["options"].values() for flag in each["flags"].split()}


# The table that the guides are made from


@pytest.mark.parametrize("peer", PEERS)
def test_every_option_of_the_others_has_its_row(peer: str) -> None:
    assert PEERS[peer]["options"]
    assert ROWS[peer].keys() == PEERS[peer]["options"].keys()


@pytest.mark.parametrize("peer", PEERS)
def test_each_row_says_one_thing_and_says_it(peer: str) -> None:
    for option, row in ROWS[peer].items():
        assert row.keys() <= {"ours", "unneeded", "missing", "note"}, option
        assert len(row.keys() & {"ours", "unneeded", "missing"}) == 1, option
        assert "ours" in row or "note" not in row, option
        assert all(row.values()), option
        for name in row.get("ours", []):
            assert name in DECLARATIONS or name in OUR_FLAGS, name


def test_guides_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/migration", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("peer", PEERS)
def test_a_guide_has_every_option_and_our_defaults(peer: str) -> None:
    (rows,) = (rows for rows in tables(guide(peer)) if rows[0][2:4] == ["aserver", "default"])
    assert len(rows) - 1 == len(PEERS[peer]["options"])
    assert PEERS[peer]["release"] in rows[0][0]
    for _, _, ours, default, _ in rows[1:]:
        if ours in ("not needed", "not there"):
            continue
        for flag, shown in zip(codes(ours), default.split("<br>"), strict=True):
            assert (codes(shown) or [""])[0] == default_of(flag)


def default_of(flag: str) -> str:
    """As the table has it; of what takes no value, or configures nothing, empty."""
    declarations = [
        each
        for each in DECLARATIONS.values()
        if flag in each.option.flags or flag == each.option.metavar
    ]
    if not declarations or not declarations[0].option.flags:
        return ""
    (declaration,) = declarations
    if isinstance(declaration.default, bool):
        return "on" if declaration.default else "off"
    return "" if declaration.default is None else declaration.show(declaration.default)


# What the prose says


@pytest.mark.parametrize("page", [*PEERS, "index"])
def test_flags_exist_here_or_there(page: str) -> None:
    theirs = GRANIANS_FLAGS if page == "index" else flags_of(page) | flags_of("gunicorn")
    assert set(_LONG_FLAG.findall(guide(page))) <= OUR_FLAGS | theirs


@pytest.mark.parametrize("page", [*PEERS, "index"])
def test_commands_are_understood(page: str) -> None:
    commands = [command for command in _COMMAND.findall(guide(page)) if "..." not in command]
    assert commands
    for command in commands:
        command = command.replace("$PORT", "8000").replace("%(process_num)d", "0")
        assert load(shlex.split(command)[1:], {}).config.process.app, command


@pytest.mark.parametrize("page", [*PEERS, "index"])
def test_names_of_ours_exist(page: str) -> None:
    for module, name in _OURS.findall(guide(page)):
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        assert spec.origin is not None
        assert re.search(rf"\b{name}\b", Path(spec.origin).read_text(encoding="utf-8")), name


def test_keywords_of_ours_exist() -> None:
    rows = dict(table(guide("daphne"), "Daphne", "aserver"))
    assert len(rows) > 10
    for theirs in ("`endpoints`", "`websocket_handshake_timeout`"):
        assert set(codes(rows[theirs])) <= DECLARATIONS.keys()
    (proxies,) = (ours for theirs, ours in rows.items() if "proxy_forwarded" in theirs)
    assert set(codes(proxies)) <= DECLARATIONS.keys()


@pytest.mark.parametrize("words", DEFAULTS_IN_WORDS)
def test_defaults_in_words(words: str) -> None:
    name, default = DEFAULTS_IN_WORDS[words]
    assert words in prose("daphne")
    assert DECLARATIONS[name].default == default


@pytest.mark.parametrize("page", PEERS)
def test_rows_are_as_long_as_their_head(page: str) -> None:
    for head, *rows in tables(guide(page)):
        for row in rows:
            assert len(row) == len(head), row


# What the guide from Daphne says of requests, by the first cell of its rows


# What the application raises, and answers with, by paths.
RAISED: dict[str, BaseException] = {
    "/raises": RuntimeError("as the test wants it"),
    "/cancelled": asyncio.CancelledError("as the test wants it"),
}
HEADS: dict[str, tuple[int, list[tuple[bytes, bytes]]]] = {
    "/line": (200, [(b"x", b"a\r\nb: c")]),
    "/hop": (200, [(b"upgrade", b"x"), (b"keep-alive", b"x"), (b"x-behind", b"1")]),
    "/none": (204, [(b"content-length", b"0"), (b"x-behind", b"1")]),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    assert scope["type"] == "http"
    if scope["path"] in RAISED:
        raise RAISED[scope["path"]]
    facts = [scope[key] for key in ("method", "path", "headers", "client", "server", "root_path")]
    if scope["path"] == "/returns":
        return
    body = f"{facts} asgi={scope['asgi']}".encode()
    status, headers = HEADS.get(scope["path"], (200, [(b"X-tEst", b"1")]))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if status == 204 else body})


GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
REQUESTS = {
    "none, or two, `Host` headers are taken": (b"GET / HTTP/1.1\r\n", b" 400 Bad Request"),
    "an empty `Host`, and one that is no host, is taken": (
        b"GET / HTTP/1.1\r\nHost:\r\n",
        b" 400 Bad Request",
    ),
    "a path with `%00` is handed on": (b"GET /a%00b HTTP/1.1\r\nHost: h\r\n", b" 400 "),
    "a fragment, and a `\\` in the path, is handed on": (
        b"GET /a\\b HTTP/1.1\r\nHost: h\r\n",
        b" 400 ",
    ),
    "`GET page` and `GET *` are handed on": (b"GET page HTTP/1.1\r\nHost: h\r\n", b" 400 "),
    "any method, also `get` and `FOO`": (b"get / HTTP/1.1\r\nHost: h\r\n", b" 501 "),
    "`GET http://h/p` has the path `http://h/p`": (
        b"GET http://h/p HTTP/1.1\r\nHost: other\r\n",
        b"['GET', '/p', [(b'host', b'h')",
    ),
    "a malformed `multipart/form-data` is answered 400 by the server": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data\r\nContent-Length: 0\r\n",
        b" 200 OK",
    ),
    "an unknown `Expect` is ignored": (GET + b"Expect: more\r\n", b" 417 "),
    "a folded header is unfolded": (GET + b"A: b\r\n c\r\n", b" 400 "),
    "the byte 0x85 in a header's value is refused": (GET + b"A: \xc3\x85\r\n", b" 200 OK"),
    "of control characters in a header's value only NUL, 0x0B, 0x0C and 0x1C to 0x1E are refused": (
        GET + b"A: \x1b[2J\r\n",
        b" 400 ",
    ),
    "headers are grouped by name": (
        GET + b"A: 1\r\nB: 2\r\nA: 3\r\n",
        b"(b'a', b'1'), (b'b', b'2'), (b'a', b'3')",
    ),
    '`asgi` is `{"version": "3.0"}`': (GET, b"asgi={'version': '3.0', 'spec_version':"),
    "`client` and `server` are lists": (GET, b"('127.0.0.1', "),
    "`Daphne-Root-Path` is taken out, and becomes the `root_path`, from anybody": (
        GET + b"Daphne-Root-Path: /x\r\n",
        b"(b'daphne-root-path', b'/x')",
    ),
    "no `Date`": (GET, b"\r\ndate: "),
    "`Server: daphne`": (GET, b"\r\nserver: aserver\r\n"),
    "names of headers as `X-Test`": (GET, b"\r\nX-tEst: 1\r\n"),
    "a response of one message is chunked": (GET, b"\r\ncontent-length: "),
    'error pages are HTML, and end in "Daphne"': (
        b"GET /raises HTTP/1.1\r\nHost: h\r\n",
        b"\r\ncontent-type: text/plain",
    ),
    "an application that returns without a response leaves the client waiting": (
        b"GET /returns HTTP/1.1\r\nHost: h\r\n",
        b" 500 ",
    ),
    "a `CancelledError` that it raises leaves the client waiting": (
        b"GET /cancelled HTTP/1.1\r\nHost: h\r\n",
        b" 500 ",
    ),
    "a line break in a header's value of the application becomes a space; "
    "other control characters are sent": (b"GET /line HTTP/1.1\r\nHost: h\r\n", b" 500 "),
    "`Connection`, `Keep-Alive` and `Upgrade` of the application are sent": (
        b"GET /hop HTTP/1.1\r\nHost: h\r\n",
        b" 200 OK\r\nx-behind: 1\r\ncontent-length: ",
    ),
    "`Content-Length` with 204 is sent": (
        b"GET /none HTTP/1.1\r\nHost: h\r\n",
        b" 204 No Content\r\nx-behind: 1\r\ndate: ",
    ),
    "a handshake in HTTP/1.0: 101": (
        b"GET / HTTP/1.0\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"HTTP/1.0 200 OK",
    ),
    "a malformed `Origin`: 400": (
        GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: nonsense\r\n",
        b" 101 ",
    ),
    "version 8 and 13 of the protocol": (
        GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b" 426 ",
    ),
    "a handshake by POST: 405; without `Connection: Upgrade`: 400": (
        GET + b"Upgrade: websocket\r\n",
        b" 200 OK",
    ),
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serve(application) as server:
        yield server.port


@pytest.mark.parametrize("row", REQUESTS)
def test_rows_from_daphne_hold(row: str, port: int) -> None:
    differences = {
        cells[0] for rows in tables(guide("daphne")) if rows[0][0] == "Daphne" for cells in rows[1:]
    }
    assert row in differences
    request, expected = REQUESTS[row]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            request + b"Connection: close\r\n" * (b"Upgrade\r\n" not in request) + b"\r\n"
        )
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert expected in answer
