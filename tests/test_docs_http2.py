"""What the documentation says of HTTP/2, tried over sockets: answers, sizes, budgets, settings."""

import ast
import re
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from aserver.config import DECLARATIONS
from aserver.engines.h2_budgets import Budget
from aserver.engines.h2_frames import PREFACE, ErrorCode
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.h2_clients import frame
from tests.processes import DEADLINE, read_all, wait_until
from tests.test_docs import as_sent, codes, exchange, nothing, section, table, tables, text_of

PAGE = text_of("topics", "http2.md")
SECURITY = text_of("topics", "security.md")
LIMITS = text_of("topics", "limits.md")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, _, PING, _, WINDOW_UPDATE = range(9)
END_STREAM, ACK, END_HEADERS = 1, 1, 4

Fields = list[tuple[str, str]]
USUAL: Fields = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "example.com"),
    (":path", "/"),
]


class Peer:
    """A client that sends whatever it is told; its library checks nothing."""

    def __init__(self, server: serve) -> None:
        self.sock = socket.create_connection((server.host, server.port), DEADLINE)
        self.connection = H2Connection(
            H2Configuration(
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                header_encoding="latin-1",
            )
        )
        self.told: dict[int, int] = {}  # the server's settings
        self.connection.initiate_connection()
        self.flush()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.connection.data_to_send())

    def begin(self, fields: Fields, *, ends: bool = True) -> None:
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, fields, end_stream=ends)
        self.flush()

    def body(self, data: bytes) -> None:
        self.connection.send_data(1, data, end_stream=True)
        self.flush()

    def outcome(self) -> str:
        """The status of the response, whose end must be right; or GOAWAY."""
        status, ended = "", False
        while data := self.sock.recv(65_536):
            for event in self.connection.receive_data(data):
                match event:
                    case events.RemoteSettingsChanged():
                        changed = event.changed_settings.values()
                        self.told |= {int(each.setting): each.new_value for each in changed}
                    case events.ResponseReceived():
                        status = str(event.headers[0][1])
                    case events.StreamEnded():
                        ended = True
                    case events.StreamReset():
                        assert status
                        assert ended == (status != "400")
                        assert event.error_code == (ErrorCode.PROTOCOL_ERROR if not ended else 0)
                        return status
                    case events.ConnectionTerminated():
                        return "GOAWAY"
            self.flush()
            if ended:
                return status
        raise AssertionError("nothing was said")


# Requests that are refused


def fields_of(cell: str) -> Fields:
    """The usual fields, with those of a cell in their place, or behind them."""
    fields = list(USUAL)
    if "content-length" in cell:
        fields[0] = (":method", "POST")
    for given in codes(cell):
        name, colon, value = as_sent(given).removeprefix("+").partition(": ")
        place = next((at for at, field in enumerate(fields) if field[0] == name), None)
        if not colon:
            fields = [field for field in fields if field[0] != name]
        elif place is not None and not given.startswith("+"):
            fields[place] = (name, value)
        elif given.startswith("+") or not name.startswith(":"):
            fields.append((name, value))
        else:
            fields.insert(0, (name, value))
    return fields


REFUSED = table(SECURITY, "header fields", "sent", "outcome")


@pytest.mark.parametrize(("label", "sent", "outcome"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_requests(label: str, sent: str, outcome: str) -> None:
    fields = fields_of(sent)
    has_body = fields[0] == (":method", "POST")
    with serve(nothing) as server, Peer(server) as peer:
        peer.begin(fields, ends=not has_body)
        if has_body and outcome not in ("413", "GOAWAY"):
            peer.body(b"abc")
        assert peer.outcome() == outcome


def test_all_rows_of_refused_requests_are_there() -> None:
    assert len(REFUSED) > 30


def test_preface_where_http2_is_off() -> None:
    for page in (SECURITY, PAGE, text_of("..", "CHANGELOG.md")):
        assert re.search(r"`--no-http2`[^.]*\b505\b|505\. `--no-http2`|preface gets a 505", page)
    with serve(nothing, http2=False) as server:
        assert exchange(server.port, PREFACE.decode()) == 505


# Sizes


def headers_of(size: int) -> Fields:
    """Fields of so many bytes, as HTTP/2's limit counts them: all but the path."""
    fields = USUAL + [(f"x-{number}", "x" * 10_000) for number in range(6)]
    size -= sum(len(name) + len(value) for name, value in fields if name != ":path")
    return [*fields, ("x", "x" * (size - 1))]


SIZES: dict[str, Callable[[int], Fields]] = {
    "a path of {} bytes": lambda size: [*USUAL[:3], (":path", "/" + "x" * (size - 1))],
    "a header of {} bytes": lambda size: [*USUAL, ("x", "x" * (size - 1))],
    "{} fields, 4 of them pseudo-headers": lambda size: [*USUAL, *[("x", "y")] * (size - 4)],
    "headers of {} bytes": headers_of,
}


def test_sizes() -> None:
    rows = table(LIMITS, "HTTP/2 request with", "outcome")
    assert {re.sub(r"\d+", "{}", row[0], count=1) for row in rows} == SIZES.keys()
    with serve(nothing) as server:
        for label, outcome in rows:
            size = re.findall(r"\d+", label)[0]
            with Peer(server) as peer:
                peer.begin(SIZES[label.replace(size, "{}", 1)](int(size)))
                assert peer.outcome() == outcome, label


def test_numbers() -> None:
    found = {codes(row[1])[0]: row[2] for row in table(LIMITS, "what", "option", "default", "then")}
    for flag in ("--http2-max-streams", "--http2-max-requests"):
        default = DECLARATIONS[flag.removeprefix("--").replace("-", "_")].default
        assert int(found[flag].replace(",", "")) == default
        assert f"`{flag}`, {found[flag]}" in PAGE


# Budgets


def test_budgets() -> None:
    rows = table(PAGE, "too many", "at once", "a second", "")
    assert {row[0]: (int(row[1]), int(row[2])) for row in rows} == {
        each.what: (each.burst, each.rate) for each in Budget
    }


def opened(count: int, *, ends: bool = True) -> list[bytes]:
    """Heads of so many requests, whose fields are all in HPACK's static table."""
    flags = END_HEADERS | (END_STREAM if ends else 0)
    block = b"\x82\x86\x84\x41\x01a"
    return [frame(HEADERS, flags, 2 * number + 1, block) for number in range(count)]


def cancelled() -> list[bytes]:
    return [
        piece
        for number, head in enumerate(opened(400))  # one that comes with its head counts a half
        for piece in (head, frame(RST_STREAM, 0, 2 * number + 1, bytes(4)))
    ]


def mistaken() -> list[bytes]:
    """A window that grows too large."""
    return [
        piece
        for number, head in enumerate(opened(100))
        for piece in (head, frame(WINDOW_UPDATE, 0, 2 * number + 1, b"\x7f\xff\xff\xff"))
    ]


def late() -> list[bytes]:
    reset = frame(RST_STREAM, 0, 1, bytes(4))
    return [*opened(1, ends=False), reset, *[frame(DATA, 0, 1, b"x")] * 600]


def dripping() -> list[bytes]:
    """A window of no bytes, which grows by one at a time."""
    settings = frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")
    return [settings + opened(1)[0], *[frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")] * 300]


# Where each frame has to be answered before the next.
ONE_BY_ONE = ("small pieces of data were asked for",)
FLOODS: dict[str, Callable[[], list[bytes]]] = {
    "requests were cancelled": cancelled,
    "streams had to be reset for a mistake": mistaken,
    "streams were opened above --http2-max-streams": lambda: opened(310, ends=False),
    "control frames": lambda: [frame(PING, 0, 0, bytes(8))] * 300,
    "empty DATA frames": lambda: [*opened(1, ends=False), *[frame(DATA, 0, 1)] * 200],
    "frames for streams that are closed": late,
    "WINDOW_UPDATE frames": lambda: [frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")] * 600,
    "small pieces of data were asked for": dripping,
}


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with more than fits, after a body that never ends if there is any."""
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(10_000)})


@pytest.mark.parametrize(
    "label", [row[0] for row in table(PAGE, "too many", *("at once", "a second", ""))]
)
def test_who_exceeds_a_budget(label: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("INFO", "aserver"),
        serve(large, lifespan="off") as server,
        socket.create_connection((server.host, server.port), DEADLINE) as sock,
    ):
        sock.sendall(PREFACE + frame(SETTINGS))
        received = b""
        with suppress(ConnectionError):
            if label in ONE_BY_ONE:
                for piece in FLOODS[label]():
                    sock.sendall(piece)
                    received += sock.recv(65_536)
            else:
                sock.sendall(b"".join(FLOODS[label]()))
            received += read_all(sock)
        wait_until(lambda: any(f"too many {label}" in each for each in caplog.messages))
    assert int(ErrorCode.ENHANCE_YOUR_CALM).to_bytes(4, "big") in received


# What the client is told, and what the application sees


def test_settings() -> None:
    told = {row[0].strip("`"): int(row[1]) for row in table(PAGE, "setting", "value", "from")}
    with serve(nothing) as server, Peer(server) as peer:
        peer.begin(USUAL)
        assert peer.outcome() == "200"
    numbers = {each.name: int(each) for each in SettingCodes} | {"NO_RFC7540_PRIORITIES": 9}
    assert {numbers[name]: value for name, value in told.items()} == peer.told


def test_scope() -> None:
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await nothing(scope, receive, send)

    crumbs = [("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("te", "trailers")]
    with serve(application, lifespan="off") as server:
        for more in ([], crumbs):
            with Peer(server) as peer:
                peer.begin([*USUAL, *more])
                assert peer.outcome() == "200"
    page = text_of("reference", "asgi.md")
    rows = dict(table(section(page, "The HTTP scope"), "key", "value"))
    usual, full = seen
    assert usual["http_version"] == ast.literal_eval(codes(rows["`http_version`"])[-1])
    differing = {row[0]: row[2] for row in table(PAGE, "", "HTTP/1.1", "HTTP/2")}
    assert usual["http_version"] == ast.literal_eval(codes(differing['`scope["http_version"]`'])[0])
    assert usual["headers"] == [(b"host", b"example.com")]
    assert full["headers"][:3] == [
        (b"host", b"example.com"),
        (b"cookie", b"a=b; c=d"),
        (b"x", b"y"),
    ]
    versions = ("HTTP/2", "HTTP/1.1", "HTTP/1.0")
    extensions = table(section(page, "Extensions"), "extension", *versions, "")
    support = {row[0].strip("`"): row[1] for row in extensions}
    for scope, working in ((usual, {"yes"}), (full, {"yes", "with `TE: trailers`"})):
        assert scope["extensions"].keys() == {
            name for name, described in support.items() if described in working
        }


def test_every_table_is_tried() -> None:
    """A new one needs a test, or a word here on why it has none."""
    tried = {"too many", "setting", ""}
    assert {rows[0][0] for rows in tables(PAGE)} == tried
