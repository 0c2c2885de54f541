"""The benchmark's tables and reports: what is in them fits together."""

import asyncio
from typing import Any

from benchmarks import apps, chart, text_report
from benchmarks.cases import CASES, Kind, Wire
from benchmarks.results import Results
from benchmarks.servers import ENVIRONMENTS, SERVERS, command_line


def test_the_application_echoes() -> None:
    said: list[Any] = []
    messages = iter(
        [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": ""},
            {"type": "websocket.receive", "bytes": b"data", "text": None},
            {"type": "websocket.disconnect", "code": 1000},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(apps.ws_echo({"type": "websocket"}, receive, send))
    assert said == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": ""},
        {"type": "websocket.send", "bytes": b"data"},
    ]


def test_the_tables_fit_together() -> None:
    environments = {environment.name for environment in ENVIRONMENTS}
    assert {server.environment for server in SERVERS} == environments
    assert all(server.wires for server in SERVERS)
    for server in SERVERS:
        for switches in server.wires.values():
            assert command_line(server, switches, bin="b", port="1", app="a:b", log="l")
    for case in CASES:
        assert hasattr(apps, case.app)
        assert (case.talk is not None) == (case.kind in (Kind.ECHO, Kind.SOCKETS))
        assert (case.talk is not None) == (case.wire is Wire.WEBSOCKET)
        assert any(case.wire in server.wires for server in SERVERS if server.ours)


def test_a_case_shows_only_who_takes_part() -> None:
    results = Results(
        cases=[case for case in CASES if case.name in ("hello", "ws-echo-32")],
        servers=[each for each in SERVERS if each.name in ("uvicorn-h11", "uvicorn-wsproto")],
        machine={"processor": "one", "python": "one"},
        versions={},
        settings={"rounds": 1},
    )
    hello, ws_echo = results.cases
    assert [server.name for server in results.takers(hello)] == ["uvicorn-h11"]
    assert [server.name for server in results.takers(ws_echo)] == ["uvicorn-wsproto"]
    http, websocket = text_report.plain(results).split("\n\n")
    assert "uvicorn-wsproto" not in http
    assert "messages/s" in websocket
    assert "| ws-echo-32 | us CPU per message | n/a | - |" in text_report.markdown(results)
    assert chart.chart(results).count("no figure") == 2
