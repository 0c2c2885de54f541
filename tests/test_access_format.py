"""Formats of the access log, and what gets into a line."""

import base64
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.access_format import (
    ATOMS,
    FORMATS,
    JSON,
    JSON_OF_SOCKETS,
    Format,
    Moment,
    clock,
    compile_format,
)
from aserver.access_notes import Note
from aserver.declarations import ConfigError
from aserver.engines.fields import ResponseHead
from aserver.types import Address, Headers, Request

CLIENT: Address = ("192.0.2.7", 54321)
AGENT = b"Mozilla/5.0 (X11; Linux x86_64)"
FIELDS: Headers = [(b"host", b"a"), (b"referer", b"http://a/b"), (b"user-agent", AGENT)]
HEAD = ResponseHead(200, ((b"Content-Type", b"text/plain"), (b"x-a", b"1")), "GET")


class Exchange:
    """One request, answered a moment ago."""

    def __init__(
        self,
        target: bytes = b"/path?a=b",
        fields: Headers = FIELDS,
        client: Address | None = CLIENT,
        received: int = 5,
        sent: int = 13,
        seconds: float = 0.0,
        method: str = "GET",
    ) -> None:
        self.request = Request(method, target, "1.1", fields)
        self.client = client
        self.received = received
        self.sent = sent
        self.began = clock() - seconds


class SocketExchange(Exchange):
    """One WebSocket that has come to its end."""

    accepted = True
    close_code = 1000
    closed_by = "client"
    messages_received = 3
    messages_sent = 4


class Answer:
    """The response to a handshake."""

    block = b"HTTP/1.1 101 Switching Protocols\r\nx-a: 1\r\n"
    bodyless = True
    content_length: int | None = None
    flags = 0

    def __init__(self, status: int) -> None:
        self.status = status

    def fields(self) -> Headers:
        return [(b"x-a", b"1")]


SWITCHED = Answer(101)


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Half past five hours east of Greenwich."""
    monkeypatch.setenv("TZ", "XXX-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


NOON = 1795164539.0  # 2026-11-20 14:18:59 there


def written(text: str, exchange: Exchange, head: ResponseHead = HEAD) -> str:
    compiled = compile_format(text)
    made = compiled.lines(notes_of(compiled, exchange, head=head), Moment(NOON))
    return made.decode("ascii" if text.isascii() else "utf-8")


def notes_of(compiled: Format, *exchanges: Exchange, head: ResponseHead = HEAD) -> list[Note]:
    notes: list[Note] = []
    record = compiled.new_record(notes, (), fail_if_called, fail_if_called)
    for exchange in exchanges:
        record(exchange, head)
    return notes


def socket_line(text: str, event: str = "ended", **options: Any) -> str:
    """The line of a WebSocket that came to an end, or of another event in Daphne's format."""
    compiled = compile_format(text)
    notes: list[Note] = []
    record = compiled.new_socket_records[event](notes, (), fail_if_called, fail_if_called)
    record(SocketExchange(**options), None if event != "ended" else SWITCHED)
    return compiled.lines(notes, Moment(NOON)).decode("ascii").removesuffix("\n")


def fail_if_called(*args: object) -> None:
    raise AssertionError(args)


def line(text: str, **options: Any) -> str:
    made = written(text, Exchange(**options))
    assert made.endswith("\n")
    return made[:-1]


# Lines


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, '192.0.2.7:54321 - - [20/Nov/2026:14:18:59] "GET /path?a=b" 200 13'),
        ({"client": ("::1", 1)}, '::1:1 - - [20/Nov/2026:14:18:59] "GET /path?a=b" 200 13'),
        ({"client": None}, 'None - - [20/Nov/2026:14:18:59] "GET /path?a=b" 200 13'),
        ({"sent": 0}, '192.0.2.7:54321 - - [20/Nov/2026:14:18:59] "GET /path?a=b" 200 -'),
        (
            {"target": b'/"" 1', "method": "PUT"},
            '192.0.2.7:54321 - - [20/Nov/2026:14:18:59] "PUT /%22%22 1" 200 13',
        ),
    ],
)
def test_daphne(options: dict[str, Any], expected: str) -> None:
    assert line("daphne", **options) == expected


def test_common_and_combined() -> None:
    common = '192.0.2.7 - - [20/Nov/2026:14:18:59 +0530] "GET /path?a=b HTTP/1.1" 200 13'
    assert line("common") == common
    assert line("combined") == f'{common} "http://a/b" "{AGENT.decode()}"'
    assert line("combined", fields=[]) == f'{common} "-" "-"'


@pytest.mark.parametrize(
    ("atom", "expected"),
    {
        "h": "192.0.2.7",
        "l": "-",
        "u": "-",
        "t": "[20/Nov/2026:14:18:59 +0530]",
        "r": "GET /path?a=b HTTP/1.1",
        "m": "GET",
        "U": "/path",
        "q": "a=b",
        "H": "HTTP/1.1",
        "s": "200",
        "B": "13",
        "b": "13",
        "I": "5",
        "f": "http://a/b",
        "a": AGENT.decode(),
        "p": "<PID>",
        "pid": "PID",
        "client": "192.0.2.7:54321",
        "target": "/path?a=b",
        "time": "20/Nov/2026:14:18:59",
        "iso": "2026-11-20T14:18:59+05:30",
        "close_code": "-",
        "closed_by": "-",
        "messages_in": "-",
        "messages_out": "-",
        "{User-Agent}i": AGENT.decode(),
        "{x-none}i": "-",
        "{content-type}o": "text/plain",
        "{X-A}o": "1",
        "{X}o": "-",
    }.items(),
)
def test_atoms(atom: str, expected: str) -> None:
    expected = expected.replace("PID", str(os.getpid()))
    assert line(f"<%({atom})s>") == f"<{expected}>"


@pytest.mark.parametrize(
    ("atom", "pattern"),
    [("T", "1"), ("M", "12[5-9]."), ("D", r"12[5-9]\d{4}"), ("L", r"1\.2[5-9]\d{4}")],
)
def test_durations(atom: str, pattern: str) -> None:
    assert compile_format(f"%({atom})s").timed
    assert re.fullmatch(pattern, line(f"%({atom})s", seconds=1.25))


def test_a_batch_has_a_line_for_each() -> None:
    compiled = compile_format("%(U)s")
    notes = notes_of(compiled, Exchange(b"/a"), Exchange(b"/b?c"))
    assert compiled.lines(notes, Moment(NOON)) == b"/a\n/b\n"
    assert notes == [(b"/a",), (b"/b?c",)], "nothing is kept that is not needed"


def test_every_atom_can_stand_alone() -> None:
    for atom in ATOMS:
        assert line(f"%({atom})s")


def test_a_batch_of_different_requests() -> None:
    compiled = compile_format("%(client)s %(target)s %(s)s")
    exchanges = [Exchange(b"/a"), Exchange(b"/\n"), Exchange(b'"'), Exchange(client=None)]
    expected = [
        "192.0.2.7:54321 /a 200",
        r"192.0.2.7:54321 /\x0a 200",
        "192.0.2.7:54321 %22 200",
        "None /path?a=b 200",
    ]
    for _ in range(2):
        made = compiled.lines(notes_of(compiled, *exchanges), Moment(NOON))
        assert made.decode("ascii").splitlines() == expected
    assert compiled.lines([], Moment(NOON)) == b""


def test_a_record_calls_at_certain_lengths_and_never_raises() -> None:
    notes: list[Note] = []
    turns: list[int] = []
    errors: list[Exception] = []
    record = compile_format("%(m)s").new_record(
        notes, {0, 2}, lambda: turns.append(len(notes)), errors.append
    )
    for _ in range(4):
        record(Exchange(), HEAD)
    assert turns == [0, 2]
    record(None, HEAD)  # type: ignore[arg-type]
    assert [type(error) for error in errors] == [AttributeError]
    assert notes == [("GET",)] * 4


def test_the_clock_is_read_only_where_a_duration_is_asked_for() -> None:
    assert not any(compile_format(text).timed for text in FORMATS.values())
    assert not compile_format("seconds %(s)s").timed
    exchange = Exchange()
    del exchange.began
    assert written("combined", exchange)
    assert compile_format("json").timed


def test_without_a_client_and_a_query() -> None:
    assert line("%(h)s|%(q)s|%(b)s|%(B)s", client=None, target=b"/", sent=0) == "-||-|0"


def test_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER", 'a"\n')
    assert line("%({WORKER}e)s %({NOT_THERE}e)s") == r"a\x22\x0a -"


@pytest.mark.parametrize(
    "text",
    ["", "plain", "100%%", "{braces} {0} {request}", 'it\'s "quoted"', "\\ \\n \\x41 '''", "é"],
)
def test_literal_text_is_what_it_is(text: str) -> None:
    assert line(f"{text}%(s)s{text}") == f"{text}200{text}".replace("%%", "%")


def test_of_several_headers_with_one_name_the_last() -> None:
    assert line("%({a}i)s", fields=[(b"a", b"1"), (b"a", b"2")]) == "2"


def test_a_user_is_a_field_without_spaces() -> None:
    basic = b"Basic " + base64.b64encode(b"a b:secret")
    assert line("%(u)s", fields=[(b"authorization", basic)]) == r"a\x20b"


def test_a_field_of_the_response_is_not_found_in_another_ones_value() -> None:
    head = ResponseHead(200, ((b"a-b", b"b: 1"), (b"b", b'2"')), "GET")
    assert written("%({b}o)s %({a.b}o)s", Exchange(), head) == "2\\x22 -\n"


# JSON


def test_json() -> None:
    found = json.loads(line("json", seconds=1.25))
    assert 1.25 <= found.pop("duration") < 60
    assert found == {
        "time": "2026-11-20T14:18:59+05:30",
        "client": "192.0.2.7",
        "port": 54321,
        "method": "GET",
        "path": "/path",
        "query": "a=b",
        "http_version": "1.1",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": 13,
        "referer": "http://a/b",
        "user_agent": AGENT.decode(),
        "pid": os.getpid(),
    }


def test_json_without_anything() -> None:
    found = json.loads(line("json", client=None, fields=[], target=b"*", sent=0, received=0))
    assert [found[key] for key in ("client", "port", "query", "referer", "user_agent")] == [
        None,
        None,
        "",
        None,
        None,
    ]
    assert json.loads(line("json", client=("192.0.2.1", None)))["port"] is None


# WebSockets


@pytest.mark.parametrize(
    ("event", "word"),
    [
        ("connecting", "WSCONNECTING"),
        ("connected", "WSCONNECT"),
        ("rejected", "WSREJECT"),
        ("disconnected", "WSDISCONNECT"),
    ],
)
def test_daphnes_lines_of_websockets(event: str, word: str) -> None:
    expected = f'192.0.2.7:54321 - - [20/Nov/2026:14:18:59] "{word} /path" - -'
    assert socket_line("daphne", event) == expected
    assert socket_line("daphne", event, client=None) == expected.replace("192.0.2.7:54321", "None")


def test_common_and_combined_of_websockets() -> None:
    common = '192.0.2.7 - - [20/Nov/2026:14:18:59 +0530] "GET /path?a=b HTTP/1.1" 101 13'
    assert socket_line("common") == common
    assert socket_line("common", sent=0) == f"{common[:-2]}-"
    assert socket_line("combined") == f'{common} "http://a/b" "{AGENT.decode()}"'


def test_only_the_name_has_daphnes_lines() -> None:
    expected = '192.0.2.7:54321 - - [20/Nov/2026:14:18:59] "GET /path?a=b" 101 13'
    assert socket_line(FORMATS["daphne"]) == expected
    assert compile_format(FORMATS["daphne"]).new_socket_records.keys() == {"ended"}


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("r", "GET /path?a=b HTTP/1.1"),
        ("s", "101"),
        ("I", "5"),
        ("B", "13"),
        ("close_code", "1000"),
        ("closed_by", "client"),
        ("messages_in", "3"),
        ("messages_out", "4"),
        ("{x-a}o", "1"),
    ],
)
def test_atoms_of_websockets(atom: str, expected: str) -> None:
    assert socket_line(f"<%({atom})s>") == f"<{expected}>"


def test_every_atom_and_the_duration_of_a_websocket() -> None:
    for atom in ATOMS:
        assert socket_line(f"%({atom})s")
    assert re.fullmatch(r"3600\.\d{6}", socket_line("%(L)s", seconds=3600))


def test_json_of_websockets() -> None:
    text = socket_line("json", seconds=1.25)
    assert list(json.loads(text)) == [*JSON, *JSON_OF_SOCKETS]
    assert text.endswith(
        f'"pid": {os.getpid()}, "close_code": 1000, "closed_by": "client", '
        '"messages_in": 3, "messages_out": 4}'
    )
    found = json.loads(text)
    assert [found[key] for key in ("status", "bytes_in", "bytes_out")] == [101, 5, 13]
    assert 1.25 <= found["duration"] < 60


@pytest.mark.parametrize("text", [*FORMATS, "json", "%(U)s %(closed_by)s"])
def test_a_batch_of_both_keeps_its_order(text: str) -> None:
    compiled = compile_format(text)
    notes: list[Note] = []
    noting = (notes, (), fail_if_called, fail_if_called)
    record = compiled.new_record(*noting)
    *_, record_socket = (new(*noting) for new in compiled.new_socket_records.values())
    for number in range(3):
        record(Exchange(b"/%d" % number, []), HEAD)
        record_socket(SocketExchange(b"/%d/socket" % number, []), SWITCHED)
    made = compiled.lines(notes, Moment(NOON)).decode("ascii")
    assert re.findall(r"/\d(?:/socket)?(?=[ \"])", made) == [
        *("/0", "/0/socket", "/1", "/1/socket", "/2", "/2/socket")
    ]


@pytest.mark.parametrize("text", [*FORMATS, "json", "%(r)s %(D)s", "%(closed_by)s %(close_code)s"])
def test_a_response_pays_nothing_for_websockets(text: str) -> None:
    """Nothing is looked up in an exchange or called that a response does not have."""
    compiled = compile_format(text)
    code = compiled.new_record([], (), fail_if_called, fail_if_called).__code__
    assert set(code.co_names) <= {
        *("len", "request", "client", "method", "target", "http_version", "headers"),
        *("status", "sent", "received", "clock", "began", "Exception"),
    }


# Injection


@given(st.binary(), st.binary(), st.binary())
def test_nothing_from_outside_ends_a_line_or_quotes(
    target: bytes, agent: bytes, user: bytes
) -> None:
    basic = b"Basic " + base64.b64encode(user)
    exchange = Exchange(target, [(b"user-agent", agent), (b"authorization", basic)])
    head = ResponseHead(200, ((b"x-a", b'\xff"\t'),), "GET")
    text = written('%(u)s "%(r)s" "%(a)s" "%({x-a}o)s" "%({user-agent}i)s"', exchange, head)
    assert re.fullmatch(r'\S+( "[ -~]*"){4}\n', text)
    assert text.count('"') == 8
    text = written("json", exchange, head)
    assert re.fullmatch(r"[ -~]*\n", text)
    assert json.loads(text)["user_agent"].encode("latin-1") == agent
    assert json.loads(text)["path"].encode("latin-1") == target.partition(b"?")[0]


@given(st.binary())
def test_no_path_of_a_websocket_ends_a_line_or_quotes(target: bytes) -> None:
    for event in compile_format("daphne").new_socket_records:
        made = socket_line("daphne", event, target=target)
        assert re.fullmatch(r'\S+ - - \[\S+\] "WS[A-Z]+ [ !#-~]*" - -', made)
        assert "?" not in made
    assert re.fullmatch(
        r'"GET [ !#-~]* HTTP/1.1" 1000', socket_line('"%(r)s" %(close_code)s', target=target)
    )
    found = json.loads(socket_line("json", target=target))
    assert found["path"].encode("latin-1") == target.partition(b"?")[0]


# Time


def test_the_zone_may_be_west(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX+03:30")
    time.tzset()
    moment = Moment(0)
    assert moment.clf == "[31/Dec/1969:20:30:00 -0330]"
    assert moment.iso == "1969-12-31T20:30:00-03:30"
    assert moment.daphne == "31/Dec/1969:20:30:00"


def test_months_are_english() -> None:
    """They come from a table, and not from the locale's."""
    months = [Moment((30.5 * month + 5) * 86400).clf[4:7] for month in range(12)]
    assert " ".join(months) == "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


# Mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%(x)s", r"there is no atom '%\(x\)s' \(%% is a percent sign\)"),
        ("a %h b", "there is no atom '%h b'"),
        ("100%", "there is no atom '%'"),
        ("%(s)d", r"there is no atom '%\(s\)d'"),
        ("%({a}x)s", r"there is no atom '%\({a}x\)s'"),
        ("%({a b}i)s", "'a b' is not the name of a header"),
        ("%({}o)s", "'' is not the name of a header"),
        ("%({é}o)s", "'é' is not the name of a header"),
    ],
)
def test_an_unknown_atom_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^--access-log-format: {message}"):
        compile_format(text)


@pytest.mark.parametrize(
    "name", ["seconds", "received", "fields", "client", "field9", "moment", "ending"]
)
def test_a_header_may_be_named_as_something_of_ours(name: str) -> None:
    compiled = compile_format("%({" + name + "}i)s")
    assert not compiled.timed
    fields = [(name.encode(), b"1")]
    assert notes_of(compiled, Exchange(fields=fields)) == [(fields,)], "nothing else is noted"
    assert line("%({" + name + "}i)s", fields=fields) == "1"


def test_json_computes_nothing_that_it_does_not_need() -> None:
    exchange = Exchange(fields=[(b"referer", b"a")])
    compiled = compile_format("json")
    compiled.lines(notes_of(compiled, exchange), Moment(NOON))
    assert not compiled.lines.__globals__["values"]


def test_names_of_headers_are_no_code() -> None:
    name = "a'.b`|$%&*+^~#!"
    assert line("%({" + name + "}i)s", fields=[(name.encode(), b"1")]) == "1"
    assert line("%({" + name + "}o)s") == "-"


@pytest.mark.parametrize("text", ["combind", "JSON", ""])
def test_formats_without_atoms_are_mistakes(text: str) -> None:
    with pytest.raises(ConfigError, match="is none of daphne, common, combined, json"):
        compile_format(text)


# The reference


def test_the_examples_of_json_have_its_keys() -> None:
    page = Path(__file__).parent.parent / "docs" / "reference" / "access-log.md"
    found = re.findall(r"^    ({.*})$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [list(json.loads(each)) for each in found] == [[*JSON], [*JSON, *JSON_OF_SOCKETS]]
