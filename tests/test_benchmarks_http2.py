"""The benchmark's HTTP/2 and TLS side, against a server in a thread that can do things wrong."""

import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from benchmarks import certificates, h2_load, tools
from benchmarks.cases import CASES, Case
from benchmarks.failures import BenchmarkFailure
from benchmarks.httpx_client import HttpxChecker
from benchmarks.servers import CERTIFICATE, KEY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as is the benchmark")

NAMED = {case.name: case for case in CASES}
CLEAR = NAMED["h2-hello"]
SECURE = NAMED["h2-tls-hello"]
HTTP1 = NAMED["tls-hello"]
CLOSE = b"Connection: close\r\n"


class Handler(socketserver.BaseRequestHandler):
    """HTTP/2, or HTTP/1.1 for a test that wants that."""

    server: "Counterpart"
    request: socket.socket

    def handle(self) -> None:
        # A client that found a mistake goes away, and one that does not trust us, too.
        with suppress(OSError):
            connection = self._secured()
            with connection:
                self.server.greeted += 1
                if self.server.old:
                    self._speak_old(connection)
                else:
                    self._speak(connection)

    def _secured(self) -> socket.socket:
        if self.server.tls is None:
            return self.request
        return self.server.tls.wrap_socket(self.request, server_side=True)

    def _speak(self, connection: socket.socket) -> None:
        engine = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        engine.initiate_connection()
        connection.sendall(engine.data_to_send())
        while data := connection.recv(65536):
            for event in engine.receive_data(data):
                if isinstance(event, RequestReceived):
                    self._answer(engine, event.stream_id)
            connection.sendall(engine.data_to_send())

    def _answer(self, engine: H2Connection, stream: int) -> None:
        self.server.answered += 1
        engine.send_headers(stream, [(":status", str(self.server.status))])
        body = self.server.body
        for start in range(0, len(body), 8192):
            engine.send_data(stream, body[start : start + 8192])
        engine.end_stream(stream)

    def _speak_old(self, connection: socket.socket) -> None:
        body = self.server.body
        head = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (self.server.field, len(body))
        while connection.recv(65536):
            self.server.answered += 1
            connection.sendall(head + body)
            if self.server.field:
                return


class Counterpart(socketserver.ThreadingTCPServer):
    def __init__(self, case: Case, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port: int = self.server_address[1]
        self.body = case.exchange.expected
        self.tls = tls
        self.status = 200
        self.old = False
        self.field = b""
        self.greeted = 0
        self.answered = 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates")
    certificates.write(path)
    return path


@contextmanager
def counterpart(case: Case, folder: Path) -> Iterator[Counterpart]:
    tls = None
    if case.wire.encrypted:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(folder / CERTIFICATE, folder / KEY)
        tls.set_alpn_protocols(["h2" if case.wire.multiplexed else "http/1.1"])
    with Counterpart(case, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def checker(server: Counterpart, case: Case, folder: Path) -> HttpxChecker:
    return HttpxChecker(case, server.port, certificates.trusting(folder))


@pytest.mark.parametrize("case", [CLEAR, SECURE, HTTP1], ids=lambda case: case.name)
def test_a_right_server_is_found_right(case: Case, folder: Path) -> None:
    with counterpart(case, folder) as server:
        server.old = not case.wire.multiplexed
        checker(server, case, folder).ask()
        assert (server.answered, server.greeted) == (1, 1)
        checker(server, case, folder).probe()
        assert server.answered == 1 + 1 + case.streams
        assert server.greeted == 2, "the probe has one connection for all its requests"


def test_a_wrong_status_is_found(folder: Path) -> None:
    with counterpart(CLEAR, folder) as server:
        server.status = 503
        with pytest.raises(BenchmarkFailure, match="probe: status 503 in place of 200"):
            checker(server, CLEAR, folder).probe()


def test_a_wrong_body_is_found(folder: Path) -> None:
    with counterpart(CLEAR, folder) as server:
        server.body = b"Hello"
        with pytest.raises(BenchmarkFailure, match=r"wrong body \(5 bytes, expected 13\)"):
            checker(server, CLEAR, folder).probe()


def test_a_connection_that_is_not_kept_is_found(folder: Path) -> None:
    with counterpart(HTTP1, folder) as server:
        server.old = True
        server.field = CLOSE
        with pytest.raises(BenchmarkFailure, match="probe: the connection is not kept"):
            checker(server, HTTP1, folder).probe()


@pytest.mark.parametrize("case", [CLEAR, SECURE], ids=lambda case: case.name)
def test_the_old_protocol_is_not_accepted(case: Case, folder: Path) -> None:
    with counterpart(case, folder) as server:
        server.old = True
        server.field = CLOSE
        with pytest.raises(OSError, match=r"ProtocolError|ReadError"):
            checker(server, case, folder).ask()
        with pytest.raises(BenchmarkFailure, match=r"^probe: .*(ProtocolError|ReadError)"):
            checker(server, case, folder).probe()


def test_another_certificate_is_not_accepted(folder: Path, tmp_path: Path) -> None:
    certificates.write(tmp_path)
    with (
        counterpart(SECURE, folder) as server,
        pytest.raises(OSError, match="certificate verify failed"),
    ):
        checker(server, SECURE, tmp_path).ask()


def test_a_server_that_is_not_there_is_an_os_error(folder: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        absent = HttpxChecker(CLEAR, held.getsockname()[1], certificates.trusting(folder))
        with pytest.raises(OSError, match="ConnectError"):
            absent.ask()


REPORT = """\
starting benchmark...
Application protocol: h2c

finished in 2.00s, 500.00 req/s, 26.23KB/s
requests: 1000 total, 1256 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1012 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 52.46KB (53720) total, 10.00KB (10240) headers (space savings 90.42%), 12.70KB (13000) data
                     min         max         mean         sd        +/- sd
time for request:      753us     12.56ms      2.96ms       859us    91.54%
"""


def test_the_report_of_a_load_is_read() -> None:
    """More heads than ends of answers: the load ends in the middle of some."""
    load = h2_load.read_report(REPORT, 2, 13)
    assert (load.requests, load.seconds, load.p50_ms) == (1000, 2, None)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("0 failed", "8 failed", "errors under load: 8 failed, of 1000 requests"),
        ("0 errored", "3 errored", "3 errored"),
        ("0 timeout", "2 timeout", "2 timeout"),
        ("0 3xx", "1 3xx", "1 3xx"),
        ("0 4xx", "1 4xx", "1 4xx"),
        ("0 5xx", "1 5xx", "1 5xx"),
        ("1000 succeeded", "999 succeeded", "errors under load: .*1000 done, 999 succeeded"),
        ("1012 2xx", "998 2xx", "errors under load: .*998 2xx"),
        ("1000 done, 1000 succ", "0 done, 0 succ", "no request succeeded"),
        ("(13000) data", "(12999) data", "fewer bytes"),
        ("starting", "Process Request Failure:1\nstarting", "ended 1 connections under load"),
        ("requests:", "some:", "the load generator failed"),
        ("(13000) data", "data", "the load generator failed"),
        ("1000 succeeded, ", "", "the load generator failed"),
    ],
)
def test_a_load_with_an_error_is_a_failure(old: str, new: str, reason: str) -> None:
    assert REPORT.count(old) == 1
    with pytest.raises(BenchmarkFailure, match=f"^.*{reason}"):
        h2_load.read_report(REPORT.replace(old, new), 2, 13)


def test_a_missing_tool_leaves_its_cases_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    cases = [NAMED["startup"], NAMED["hello"], CLEAR, SECURE]
    found = tools.ready(cases)
    assert found == {}
    assert [case.name for case in tools.possible(cases, found)] == ["startup"]
    wrk, h2load = tools.missing(cases, found)
    assert wrk.startswith("wrk is missing, left out: hello. Install it: apt-get install wrk ")
    assert h2load.startswith("h2load is missing, left out: h2-hello, h2-tls-hello. ")
    assert "apt-get install nghttp2-client" in h2load


def test_a_tool_that_is_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "h2load"
    program.write_text("#!/bin/sh\necho h2load nghttp2/1.52.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = tools.ready([NAMED["startup"], CLEAR])
    assert found == {tools.H2LOAD: "h2load nghttp2/1.52.0"}
    assert tools.missing([CLEAR], found) == []
    assert tools.possible([CLEAR], found) == [CLEAR]
