"""The end of a server, and of a connection, as an HTTP/2 client sees it: GOAWAY, twice."""

import re
import signal
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.certificates import Authority
from tests.h2_places import SHORT_MATRIX, Place, processed
from tests.processes import Process, wait_until
from tests.test_lifecycle import refuses

APP = "tests.h2_served:app"
# How much longer than the grace time an end may take on a busy machine.
MARGIN = 6.0
GRACE = 2.0
# RFC 9113 section 6.8: the first GOAWAY names the last stream that there can be.
FIRST = (2**31 - 1, 0)
REFUSED_STREAM = 7


@pytest.fixture(params=SHORT_MATRIX)
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def served(how: str, authority: Authority) -> Iterator[tuple[Process, Place]]:
    """A server that is patient for two seconds."""
    with processed(APP, authority, how, "--graceful-timeout", f"{GRACE}") as (server, place):
        yield server, place


def assert_ended_well(server: Process) -> None:
    """Exit code 0, a complete lifespan, no traceback; and the port is free."""
    assert server.exit_code(MARGIN) == 0, server.stderr
    assert "note: lifespan shutdown ends" in server.stderr
    assert "Traceback" not in server.stderr
    assert "Warning" not in server.stderr
    with socket.create_server(server.address):
        pass


def test_streams_in_progress_are_served_and_one_without_end_is_cut(
    served: tuple[Process, Place],
) -> None:
    server, place = served
    with place.connect() as client:
        waiting = [client.open("/wait?0.4") for _ in range(20)]
        endless = client.open("/stream")
        upload = client.open("/swallow", method="POST", ends=False)
        client.upload(upload, b"half of ", ends=False)
        client.read_head(endless)
        wait_until(lambda: server.stderr.count("note: waiting") == len(waiting))
        started = time.perf_counter()
        server.signal(signal.SIGTERM)
        while len(client.goaways) < 2:
            client.read()
        assert client.goaways == [FIRST, (upload, 0)]
        # It knows by now that there is nothing more for it here.
        assert client.get("/hello").reset == REFUSED_STREAM
        client.upload(upload, b"a body")
        assert bytes(client.answer(upload).body) == b"swallowed"
        for stream in waiting:
            assert bytes(client.answer(stream).body) == b"waited"
        assert time.perf_counter() - started < GRACE - 0.1
        cut = client.answer(endless)
        assert cut.reset is not None
        assert not cut.ended
        client.read_until_closed()
        assert GRACE - 0.1 < time.perf_counter() - started < GRACE + MARGIN / 2
        assert len(client.goaways) == 2
    assert_ended_well(server)
    assert server.stderr.count("note: stream ended") == 1


def test_who_does_not_know_yet_is_served(how: str, authority: Authority) -> None:
    with processed(APP, authority, how) as (server, place), place.connect() as client:
        upload = client.open("/swallow", method="POST", ends=False)
        assert bytes(client.get("/hello").body) == b"hello"  # both have arrived
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses(server))
        late = client.open("/hello")  # nothing was read: not the GOAWAY, not its PING
        assert bytes(client.answer(late).body) == b"hello"
        client.upload(upload, b"a body")
        assert bytes(client.answer(upload).body) == b"swallowed"
        client.read_until_closed()
        assert client.goaways == [FIRST, (late, 0)]
        assert_ended_well(server)


def test_idle_connections_are_told_and_closed_at_once(served: tuple[Process, Place]) -> None:
    server, place = served
    idle = [place.connect() for _ in range(10)]
    with place.connect() as busy:
        for client in idle:
            assert bytes(client.get("/hello").body) == b"hello"
        upload = busy.open("/swallow", method="POST", ends=False)
        busy.upload(upload, b"half of ", ends=False)
        assert bytes(busy.get("/hello").body) == b"hello"  # both have arrived
        server.signal(signal.SIGTERM)
        for client in idle:
            client.read_until_closed()
            assert client.goaways[-1] == (1, 0)
            client.sock.close()
        busy.upload(upload, b"a body")  # it still may: the grace time is not over
        assert bytes(busy.answer(upload).body) == b"swallowed"
    assert_ended_well(server)


@pytest.mark.parametrize("how", ["tls-uvloop"])  # it takes its time
def test_a_client_that_does_not_answer_is_no_reason_to_stay(
    served: tuple[Process, Place],
) -> None:
    server, place = served
    with place.connect() as silent, place.connect() as stuck:
        silent.get("/hello")
        stuck.takes = False
        assert stuck.read_head(stuck.open("/gibibyte")).status == 200
        started = time.perf_counter()
        server.signal(signal.SIGTERM)
        assert_ended_well(server)
        assert time.perf_counter() - started < GRACE + MARGIN / 2


@pytest.mark.parametrize("how", ["tls-uvloop"])  # it takes its time
@pytest.mark.parametrize(("keep_alive", "wait"), [("1", "1.1"), ("0", "0.2")])
def test_an_idle_connection_is_kept_as_long_as_is_said(
    how: str, keep_alive: str, wait: str, authority: Authority
) -> None:
    with (
        processed(APP, authority, how, "--keep-alive", keep_alive) as (_, place),
        httpx.Client(**place.httpx_options()) as friendly,
        place.connect() as client,
    ):
        assert friendly.get("/hello").text == "hello"
        client.get(f"/wait?{wait}")
        started = time.perf_counter()
        client.read_until_closed()
        # Deadlines are looked at once a second.
        assert time.perf_counter() - started < 2 + MARGIN
        assert client.goaways[-1] == (1, 0)
        # Its connection, too, is closed by now, in a way that lets it take another one.
        assert friendly.get("/hello").text == "hello"


def test_a_connection_has_so_many_requests(how: str, authority: Authority) -> None:
    with processed(APP, authority, how, "--http2-max-requests", "5") as (_, place):
        with place.connect() as client:
            streams = [client.open("/wait?0.1") for _ in range(5)]
            for stream in streams:
                assert bytes(client.answer(stream).body) == b"waited"
            client.read_until_closed()
            assert client.goaways == [(streams[-1], 0)]
        with httpx.Client(**place.httpx_options()) as friendly:
            for _ in range(23):
                assert friendly.get("/hello").text == "hello"
        if place.authority is None:
            return  # of what it has opened with prior knowledge, curl 7.88 uses nothing again
        # It does not look again before its next request: GOAWAY has to come with the response.
        for _ in range(5):
            targets = [f"{place.url}/hello"] * 11
            said = place.curl("/hello", *targets, "--write-out", " %{num_connects}\n")
            answers = re.findall(rb"hello (\d)\n", said)
            assert len(answers) == 12
            assert answers.count(b"1") == 3


def test_who_never_rests_has_not_many_more(how: str, authority: Authority) -> None:
    options = ["--http2-max-requests", "5", "--http2-max-streams", "10"]
    with processed(APP, authority, how, *options) as (_, place), place.connect() as client:
        waiting = client.open("/wait?0.5")
        served = 1
        while (answer := client.get("/hello")).reset is None:
            assert bytes(answer.body) == b"hello"
            served += 1
        assert answer.reset == REFUSED_STREAM
        assert 5 <= served <= 5 + 10 + 1
        assert bytes(client.answer(waiting).body) == b"waited"
        client.read_until_closed()
        assert client.goaways[0] == FIRST
        assert len(client.goaways) == 2
