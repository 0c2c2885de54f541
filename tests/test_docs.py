"""The documentation says what the code does: what can be compared is compared, what can run is run.

A block of code below `<!-- file: NAME -->` is the file NAME of its page's examples. A table below
another comment, or with a known head, is compared with the code that it speaks of.
"""

import ast
import importlib
import json
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

import aserver
from aserver import proxy_options, seams, worker_seams
from aserver.access_format import ATOMS, FORMATS, JSON, compile_format
from aserver.addresses import places
from aserver.cli import EXIT_CODES
from aserver.config import DECLARATIONS, Config
from aserver.engines.guard import METHODS
from aserver.forwarding import Forwarding
from aserver.options import build_parser, load
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.processes import PYTHON, ROOT, Aserver, Process
from tests.test_budget import CASES
from tests.test_layering import LAYERS, PACKAGE

DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.rglob("*.md")),
]
# It has the command line of the benchmark, which is none of ours.
BENCHMARKS = DOCS / "reference" / "benchmarks.md"
# These speak of the flags of other servers; tests/test_docs_migration.py has an eye on them.
MIGRATION = DOCS / "migration"
OUR_FLAGS = set(build_parser()._option_string_actions)
FLAGS_OF_OTHERS = {"--check", "--name", "--now"}  # scripts/reference, docker, systemctl
FLAGS_OF_OTHERS |= {"--cacert", "--cert", "--http1", "--http2-prior-knowledge", "--key"}  # curl
FLAGS_OF_OTHERS |= {"--insecure", "--noreload", "--nostatic", "--nothreading"}  # Django's runserver
FLAGS_OF_OTHERS |= {"--settings", "--skip-checks"}
FLAGS_OF_OTHERS |= {"--chdir", "--max-requests", "--max-requests-jitter", "--preload"}  # gunicorn
FLAGS_OF_OTHERS |= {"--reload", "--reuse-port", "--timeout", "--user", "--worker-tmp-dir"}
# And Daphne's.
FLAGS_OF_OTHERS |= {"--noasgi", "--http_timeout", "--websocket_handshake_timeout"}

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LONG_FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_CODE = re.compile(r"`([^`]+)`")
_COMMAND = re.compile(r"^    aserver ([^:\n].*)$", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(*parts: str) -> str:
    return DOCS.joinpath(*parts).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return _FENCED.sub("", text)


def tables(text: str) -> Iterator[list[list[str]]]:
    """The rows of each table, the head first."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [line.strip("|").split(" | ") for line in block.replace("\\|", "¦").splitlines()]
        cells = [[cell.strip().replace("¦", "|") for cell in row] for row in rows]
        yield [cells[0], *cells[2:]]


def table(text: str, *head: str) -> list[list[str]]:
    """The rows below this head."""
    (found,) = (rows[1:] for rows in tables(text) if rows[0] == list(head))
    return found


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level, up to the next."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def codes(text: str) -> list[str]:
    return _CODE.findall(text)


def files_of(page: Path) -> dict[str, str]:
    return dict(_FILE.findall(page.read_text(encoding="utf-8")))


def write_files(page: Path, directory: Path) -> None:
    for file, content in files_of(page).items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        content = response.read()
    assert isinstance(content, bytes)
    return content


# Pages, links, blocks


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """The anchors that headings get on the usual hosts."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_contents() -> None:
    linked = {
        (DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall(text_of("index.md"))
    }
    assert set(DOCS.rglob("*.md")) - {INDEX} <= linked


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_of_python_compile(page: Path) -> None:
    for language, code in _FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            compile(code, name(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


# The command line and its options


def test_settings_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/reference", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def coming_flags() -> set[str]:
    return set(
        _LONG_FLAG.findall(section(text_of("reference", "command-line.md"), "Not there yet"))
    )


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page != BENCHMARKS and page.parent != MIGRATION],
    ids=name,
)
def test_flags_exist(page: Path) -> None:
    mentioned = set(_LONG_FLAG.findall(page.read_text(encoding="utf-8")))
    if page.name == "command-line.md":
        mentioned -= coming_flags()
    assert mentioned <= OUR_FLAGS | FLAGS_OF_OTHERS


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != MIGRATION], ids=name)
def test_commands_are_understood(page: Path) -> None:
    for command in _COMMAND.findall(page.read_text(encoding="utf-8")):
        if not command.startswith(("-c ", "[options]", "error:")):
            config = load(shlex.split(command.partition(" | ")[0], comments=True), {}).config
            assert places(config.bind, config.tls), command


def test_flags_that_are_not_there_yet() -> None:
    coming = coming_flags()
    assert coming
    assert not coming & OUR_FLAGS


def test_every_flag_is_in_the_reference() -> None:
    reference = text_of("reference", "settings.md") + text_of("reference", "command-line.md")
    described = {code.split()[0] for code in codes(reference)}
    assert described >= OUR_FLAGS


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "reference" / "command-line.md"])
def test_exit_codes(page: Path) -> None:
    rows = table(page.read_text(encoding="utf-8"), "code", "meaning")
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES


def test_examples_of_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(DOCS / "howto" / "configuration.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = load(["-c", "aserver.toml", "--graceful-timeout", "5"], {})
    assert settings.config.process.app == "mysite.asgi:application"
    assert settings.config.bind.unix_socket_mode == 0o660
    assert settings.config.limits.graceful_timeout == 5
    assert runpy.run_path("configured.py")["config"].limits.keep_alive == 90


# Tables

# The options that are limits: those of some sections, and times anywhere.
LIMITING = [
    each
    for each in DECLARATIONS.values()
    if each.section in ("limits", "http2", "websocket") or each.option.unit == "seconds"
]


def test_default_deadlines() -> None:
    rows = table(text_of("topics", "limits.md"), "what is waited for", "option", "default", "then")
    by_flag = {each.option.long: each.default for each in LIMITING if each.option.unit == "seconds"}
    described = {codes(option)[-1]: default for _, option, default, _ in rows}
    assert described == {
        flag: f"{default:g} s" if default else "none" for flag, default in by_flag.items()
    }


def test_every_limit_is_described() -> None:
    page = text_of("topics", "limits.md")
    flags = {each.option.long for each in LIMITING}
    assert flags <= {code.split()[0] for code in codes(page)}


def test_default_sizes() -> None:
    page = text_of("topics", "limits.md")
    rows = table(page, "size of", "option", "default", "then")
    rows += table(page, "size of a WebSocket's", "option", "default", "then")
    by_flag = {f"--{name.replace('_', '-')}": each.default for name, each in DECLARATIONS.items()}
    for _, option, default, _ in rows:
        assert by_flag[codes(option)[0]] == int(default.replace(" ", "")), option


def test_fixed_numbers() -> None:
    rows = table(text_of("topics", "limits.md"), "name", "in", "value", "what")
    assert rows
    for constant, file, value, _ in rows:
        module = file.strip("`").removesuffix(".py").replace("/", ".")
        found = getattr(importlib.import_module(f"aserver.{module}"), constant.strip("`"))
        assert found == float(value), constant


def test_who_is_the_client_behind_proxies() -> None:
    page = text_of("howto", "proxies.md")
    head = ("the list, from a peer at 10.0.0.1", "`--forwarded-allow-ips`", "the client")
    rows = table(page, *head)
    assert len(rows) > 5
    for (said,), (trusted,), client in ((codes(row[0]), codes(row[1]), row[2]) for row in rows):
        config = Config.of(proxy_headers=True, forwarded_allow_ips=trusted)
        peer = ("10.0.0.1", 1)
        headers = [(b"x-forwarded-for", said.encode())]
        scope: dict[str, Any] = {"type": "http", "client": peer, "headers": headers}
        amend = Forwarding(config.proxy).of(peer)
        assert amend is not None
        amend(scope)
        assert scope["client"][0] == client.partition(":")[0], said
    assert ", ".join(Config().proxy.forwarded_allow_ips) == trusted


def test_what_is_believed_of_proxies() -> None:
    rows = table(text_of("howto", "proxies.md"), "header", "becomes", "believed")
    fields = {_field_of(codes(header)[0]): believed for header, _, believed in rows}
    assert fields.keys() == set(proxy_options.FIELDS)
    trusted = {field for field, believed in fields.items() if believed == "yes"}
    assert trusted == set(Config().proxy.proxy_headers_trust)
    for field in fields.keys() - trusted:
        assert codes(fields[field]) == [f"--proxy-headers-trust {field}"]


def _field_of(header: str) -> str:
    return header.lower().removeprefix("x-forwarded-").removeprefix("daphne-")


def test_access_log_formats() -> None:
    page = text_of("reference", "access-log.md")
    names = {row[0].strip("`"): row[1].strip("`") for row in table(page, "name", "line")}
    assert names.pop("json")
    assert names == FORMATS
    (atoms,) = (rows[1:] for rows in tables(page) if rows[0] == ["atom", ""])
    described = {atom for row in atoms for atom in re.findall(r"%\((\w+)\)s", row[0])}
    assert described == ATOMS.keys()
    line = re.search(r"^    ({.*})$", page, re.MULTILINE)
    assert line is not None
    assert list(json.loads(line[1])) == list(JSON)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_of_access_log_formats(page: Path) -> None:
    given = re.findall(r"--access-log-format '(.*?)'", page.read_text(encoding="utf-8"))
    for each in given:
        compile_format(each)


@pytest.mark.parametrize("file", ["logging.toml", "logging.ini"])
def test_configurations_of_logging(file: str, tmp_path: Path) -> None:
    write_files(DOCS / "howto" / "logging.md", tmp_path)
    code = (
        "import logging, sys; from aserver.config import Log; from aserver import logs; "
        "logs.set_up_logging(Log(log_config=sys.argv[1])); logs.server_log.info('Hello')"
    )
    subprocess.run([*PYTHON, "-c", code, file], cwd=tmp_path, check=True)
    assert "aserver.server INFO Hello" in (tmp_path / "mysite.log").read_text()


def scopes(*requests: str, **options: Any) -> list[Scope]:
    """The scopes that an application with a lifespan gets of these requests."""
    seen = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
        else:
            seen.append(scope)
            await nothing(scope, receive, send)

    with serve(application, **options) as server:
        for request in requests:
            exchange(server.port, request)
    return seen


def test_scope() -> None:
    get = AROUND["request line"].format
    old, new = scopes(get("GET / HTTP/1.0"), get("GET / HTTP/1.1\r\nTE: trailers\r\nA_B: c"))
    (usual,) = scopes(get("GET / HTTP/1.1"))
    page = text_of("reference", "asgi.md")
    rows = table(section(page, "The HTTP scope"), "key", "value")
    assert {key.strip("`") for key, _ in rows} == usual.keys()
    assert ast.literal_eval(codes(dict(rows)["`asgi`"])[0]) == usual["asgi"]
    assert new["headers"] == [(b"te", b"trailers"), (b"host", b"example.com")]

    versions = ("HTTP/2", "HTTP/1.1", "HTTP/1.0")
    extensions = table(section(page, "Extensions"), "extension", *versions, "")
    by_support = [{row[0].strip("`"): row[column] for row in extensions} for column in (2, 3)]
    for scope, described, working in (
        (usual, by_support[0], {"yes"}),
        (new, by_support[0], {"yes", "with `TE: trailers`"}),
        (old, by_support[1], {"yes"}),
    ):
        assert scope["extensions"].keys() == {
            name for name, support in described.items() if support in working
        }


def test_scope_behind_a_proxy_header() -> None:
    get = AROUND["request line"].format("GET / HTTP/1.1")
    header = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    (scope,) = scopes(header + get, bind=(), proxy_protocol_bind="127.0.0.1:0")
    page = section(text_of("reference", "asgi.md"), "Extensions")
    rows = table(page.partition("### `proxy_protocol`")[2], "key", "")
    extension = scope["extensions"]["proxy_protocol"]
    assert {key.strip("`") for key, _ in rows} == extension.keys()
    assert (scope["client"], extension["tlvs"]) == (("192.0.2.1", 1), ())


def test_scope_of_websockets() -> None:
    http, websocket = scopes(AROUND["request line"].format("GET / HTTP/1.1"), handshake("X: y"))
    page = text_of("reference", "asgi.md")
    rows = dict(table(section(page, "The WebSocket scope"), "key", "value"))
    described = {key.strip("`"): value for key, value in rows.items()}
    assert described.pop("method") == "absent"
    assert websocket.keys() == (http.keys() - {"method"}) | described.keys()
    # With TLS there is one more, see `tests.test_docs_tls`, and behind a PROXY header another.
    elsewhere = {"tls", "proxy_protocol"}
    assert websocket["extensions"].keys() == set(codes(described.pop("extensions"))) - elsewhere
    assert websocket["subprotocols"] == []
    del described["subprotocols"]
    for key, value in described.items():
        assert websocket[key] == ast.literal_eval(codes(value)[0]), key


def test_public_names() -> None:
    page = text_of("reference", "api.md")
    assert all(f"`{public}" in page or f"class {public}" in page for public in aserver.__all__)
    (methods, *_) = tables(section(page, "`aserver`"))
    members = [re.sub(r"await |\(\)", "", code) for row in methods for code in codes(row[0])]
    server = aserver.Server(nothing)
    assert "start" in members
    assert all(hasattr(type(server), each) or hasattr(server, each) for each in members)


def test_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    required = {
        "To run": project["project"]["dependencies"],
        "For WSGI applications (`wsgi`)": extras["wsgi"],
        "For the worker class (`gunicorn`)": extras["gunicorn"],
        "For the demo site (`example`)": extras["example"],
        "To develop (`dev`)": extras["dev"],
        "To build": project["build-system"]["requires"],
    }
    page = text_of("project", "dependencies.md")
    for heading, requirements in required.items():
        names = {re.match(r"[\w-]+", each)[0] for each in requirements} - {"aserver"}  # type: ignore[index]
        rows = table(section(page, heading), "package", "why")
        assert {package.strip("`") for package, _ in rows} == names


# The architecture


def test_files() -> None:
    rows = table(text_of("topics", "architecture.md"), "file", "owns")
    described = {file for row in rows for file in codes(row[0])}
    assert described == {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not path.name.startswith("__")
    }


def test_layers() -> None:
    page = text_of("topics", "architecture.md")
    lines = page.partition("<!-- layers -->\n")[2].partition("\n\n")[0].splitlines()
    described = [set(line.strip().split(", ")) for line in lines]
    assert described == [row for row in LAYERS if row not in ({""}, {"__main__"})]


def test_seams() -> None:
    rows = table(text_of("topics", "architecture.md"), "seam", "who", "seen from", "what passes")
    described = {seam.strip("`"): set(codes(passes)) for seam, *_, passes in rows}
    for function in ("Parser", "Trust"):
        assert described.pop(function) == set()
    classes = {
        name: each
        for module in (seams, worker_seams)
        for name, each in vars(module).items()
        if isinstance(each, type) and each.__module__ == module.__name__
    }
    assert described.keys() == classes.keys()
    for name, each in classes.items():
        members = vars(each) | vars(each).get("__annotations__", {})
        public = {member for member in members if member[0] != "_"}
        assert described[name] == public | {base.__name__ for base in each.__bases__} - {"Protocol"}


# What is refused

# What stands around the bytes in a table, by the head of its first column.
AROUND = {
    "request line": "{}\r\nHost: example.com\r\n\r\n",
    "request line, with `--no-http2`": "{}\r\nHost: example.com\r\n\r\n",
    "fields": "POST / HTTP/1.1\r\nHost: example.com\r\n{}\r\n\r\n0\r\n\r\n",
    "Host": "GET / HTTP/1.1\r\n{}\r\n\r\n",
    "chunks": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}",
}


def handshake(instead: str) -> str:
    """The handshake that the page shows, with these lines in place of those of the same name.

    A name without a colon takes its line away.
    """
    page = section(text_of("topics", "security.md"), "Requests that are refused")
    example = page.partition("\n### WebSocket handshakes\n")[2]
    lines = [line.strip() for line in re.findall(r"^    .+$", example, re.MULTILINE)]
    given = instead.split("\r\n")
    names = {_name_of_line(line) for line in given}
    kept = [line for line in lines if _name_of_line(line) not in names]
    lines = [line for line in given if ": " in line or " " in line] + kept
    lines.sort(key=lambda line: not line.endswith(("HTTP/1.0", "HTTP/1.1")))
    return "\r\n".join([*lines, "", ""])


def _name_of_line(line: str) -> str:
    return "" if " HTTP/" in line else line.partition(":")[0]


def headers_of(size: int) -> str:
    """Headers of so many bytes, `Host: example.com` and all line ends included."""
    lines = ["X: " + "x" * 10_000] * 6
    size -= len("Host: example.com\r\n") + sum(len(line) + 2 for line in lines)
    return "\r\n".join([*lines, "X: " + "x" * (size - len("X: \r\n"))])


SIZES = {
    "a request line of {} bytes": lambda size: AROUND["request line"].format(
        f"GET /{'x' * (size - 14)} HTTP/1.1"
    ),
    "a header of {} bytes": lambda size: AROUND["fields"].format(f"X: {'x' * (size - 3)}"),
    "{} headers": lambda size: AROUND["fields"].format("\r\n".join(["X_Y: z"] * (size - 1))),
    "headers of {} bytes": lambda size: AROUND["fields"].format(headers_of(size)),
    "{} trailers": lambda size: AROUND["chunks"].format("0\r\n" + "X: y\r\n" * size + "\r\n"),
    "chunk extensions of {} bytes": lambda size: AROUND["chunks"].format(
        f"1;{'x' * 8000}\r\nx\r\n0;{'x' * (size - 8002)}\r\n\r\n"
    ),
}


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def exchange(port: int, request: str) -> int:
    """The status that a request is answered with; a refusal is one sentence, and the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(request.encode("latin-1"))
        with sock.makefile("rb") as reader:
            status = int(reader.readline().split()[1])
            if status not in (101, 200):
                head, _, body = reader.read().partition(b"\r\n\r\n")
                assert re.search(rb"\r\nconnection: (upgrade, )?close", head)
                assert re.fullmatch(rb"[^\n]+\n", body), body
    return status


def as_sent(cell: str) -> str:
    """The characters that stand in a table, escaped."""
    return bytes(cell.strip("`"), "ascii").decode("unicode_escape")


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_verdicts(parser: str) -> None:
    rows = [
        (head[0], handshake(wire) if head[0] == "handshake" else AROUND[head[0]].format(wire), row)
        for head, *found in tables(text_of("topics", "security.md"))
        for row in found
        for wire in [as_sent(row[1])]
        if head[1:] == ["as sent", "answer"]
    ]
    assert len(rows) > 120
    with (
        serve(nothing, http=parser) as server,
        serve(nothing, http=parser, http2=False) as older,
    ):
        for head, request, row in rows:
            port = (older if "--no-http2" in head else server).port
            assert exchange(port, request) == int(row[2]), row


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_sizes(parser: str) -> None:
    rows = table(text_of("topics", "limits.md"), "request with", "answer")
    assert {re.sub(r"\d+", "{}", row[0]) for row in rows} == SIZES.keys()
    with serve(nothing, http=parser) as server:
        for label, status in rows:
            (size,) = re.findall(r"\d+", label)
            request = SIZES[label.replace(size, "{}")](int(size))
            assert exchange(server.port, request) == int(status), label


def test_methods() -> None:
    page = text_of("reference", "http.md").partition("\n### Methods\n")[2].partition("\n## ")[0]
    assert set(codes(page)) == set(METHODS.values())


def test_answers_by_the_server() -> None:
    rows = table(text_of("reference", "http.md"), "status", "when")
    code = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    answers = set(re.findall(r"(?:ProtocolError|_give_up)\(\s*(\d+)", code))
    assert {row[0] for row in rows} == answers


def test_cases_of_the_budget() -> None:
    rows = table(text_of("topics", "performance.md"), "case", "the head is")
    assert [row[0] for row in rows] == list(CASES)


# The examples, run


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "howto" / "testing.md"], ids=name)
def test_examples_of_tests(page: Path, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    files = sorted(file for file in files_of(page) if file.startswith("test_"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-W", "error", *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "tutorial" / "first-application.md"])
def test_first_application(page: Path, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    with Process("hello:application", "--app-dir", str(tmp_path)) as server:
        assert get(server.url) == b"Hello, world!"
        server.signal(signal.SIGINT)
        assert server.exit_code() == 0
        assert '"GET /" 200 13' in server.stdout


def test_first_application_piece_by_piece(tmp_path: Path) -> None:
    write_files(DOCS / "tutorial" / "first-application.md", tmp_path)
    with Process("clock:application", "--app-dir", str(tmp_path)) as server:
        with urllib.request.urlopen(server.url, timeout=10) as response:
            assert response.readline() == b"1\n"
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0


def test_embedded(tmp_path: Path) -> None:
    write_files(DOCS / "howto" / "embedding.md", tmp_path)
    with Aserver([*PYTHON, tmp_path / "embedded.py"]) as process:
        process.wait_until(lambda: "\n" in process.stdout)
        assert get(process.stdout.strip()) == b"Hello, world!"
        assert process.end() == 0


def test_run(tmp_path: Path) -> None:
    write_files(DOCS / "howto" / "embedding.md", tmp_path)
    code = (
        "import logging, runpy, sys; logging.basicConfig(level='INFO'); "
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    with Aserver([*PYTHON, "-c", code, tmp_path / "simple.py"]) as process:
        assert get(process.url) == b"Hello, world!"
        assert process.end() == 0
        assert '"GET /" 200 13' in process.stdout


def test_django(tmp_path: Path) -> None:
    """The tutorial, and the test of a Django project in the guide."""
    django(tmp_path, "-m", "django", "startproject", "mysite", ".")
    django(tmp_path, "manage.py", "migrate", "--verbosity", "0")
    with Process("mysite.asgi:application", "--app-dir", str(tmp_path)) as server:
        assert b"The install worked successfully" in get(server.url)

    write_files(DOCS / "tutorial" / "django.md", tmp_path)
    with Process("mysite.asgi:application", "--app-dir", str(tmp_path)) as server:
        assert b"Log in" in get(f"{server.url}/admin/")
        assert b"{" in get(f"{server.url}/static/admin/css/base.css")
        with urllib.request.urlopen(f"{server.url}/count/", timeout=10) as response:
            assert response.readline() == b"1\n"
        here, echo = Origin(server.url), server.url.replace("http", "ws") + "/echo/"
        with connect(echo, origin=here) as websocket:
            websocket.send("hello")
            assert websocket.recv(timeout=10) == "HELLO"
        for origin in (Origin("https://example.org"), None):
            with pytest.raises(InvalidStatus, match="403"):
                connect(echo, origin=origin)
        with pytest.raises(InvalidStatus, match="500"):
            connect(f"{echo}nowhere/", origin=here)
        server.wait_for("No route found for path")

    write_files(DOCS / "howto" / "testing.md", tmp_path)
    settings = tmp_path / "mysite" / "settings.py"
    option = text_of("howto", "testing.md").partition('(`"TEST"')[2].partition("`")[0]
    content = settings.read_text()
    changed = content.replace("'db.sqlite3',", f"'db.sqlite3', 'TEST'{option},")
    assert changed != content
    settings.write_text(changed)
    django(tmp_path, "manage.py", "test", "mysite")


def django(directory: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=directory, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
