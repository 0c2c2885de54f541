"""What one client of HTTP/2 does is not the business of another, nor of its own other streams."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.certificates import Authority
from tests.h2_clients import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    frame,
    frames_of,
)
from tests.h2_places import SHORT_MATRIX, Place, processed
from tests.processes import DEADLINE, Process

APP = "tests.h2_served:app"
MIB = 1 << 20
PROTOCOL_ERROR, ENHANCE_YOUR_CALM = 1, 11
CANCEL = b"\0\0\0\x08"
# GET /count with literals that nobody has to remember.
REQUEST = b"\x82\x87\x04\x06/count\x01\x04test"


@pytest.fixture(params=SHORT_MATRIX)
def served(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[Process, Place]]:
    with processed(APP, authority, request.param) as (server, place):
        yield server, place
        assert "Traceback" not in server.stderr


# Siblings


def test_an_upload_that_nobody_reads_delays_no_sibling(served: tuple[Process, Place]) -> None:
    server, place = served
    with place.connect() as client:
        client.read_settings()
        upload = client.open("/upload", method="POST", ends=False)
        for _ in range(20):
            client.upload(upload, bytes(3000), ends=False)
        server.wait_for("note: uploading")
        for _ in range(20):
            assert bytes(client.get("/hello").body) == b"hello"
        assert client.get("/read").status == 200
        client.upload(upload, b"")
        assert bytes(client.answer(upload).body) == b"60000"


def test_a_download_that_nobody_takes_delays_no_sibling(served: tuple[Process, Place]) -> None:
    _, place = served
    with place.connect() as client:
        client.connection.increment_flow_control_window(MIB)
        client.takes = False
        full = client.open("/gibibyte")
        while len(client.answers[full].body) < 65_535:
            client.read()
        for _ in range(20):
            assert bytes(client.get("/hello").body) == b"hello"


def test_a_large_download_delays_no_small_one(served: tuple[Process, Place]) -> None:
    _, place = served
    with place.connect(window=4 * MIB) as client:
        client.connection.increment_flow_control_window(64 * MIB)
        large = client.open("/gibibyte")
        client.read_head(large)
        for _ in range(20):
            before = len(client.answers[large].body)
            assert bytes(client.get("/hello").body) == b"hello"
            # What the large stream's window had room for was on its way.
            assert len(client.answers[large].body) - before < 8 * MIB
        assert not client.answers[large].is_over


# Floods


def request(stream: int, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, REQUEST)


def cancelled_requests() -> Iterator[bytes]:
    for stream in itertools.count(1, 2):
        yield request(stream) + frame(RST_STREAM, 0, stream, CANCEL)


def pings() -> Iterator[bytes]:
    return itertools.repeat(frame(PING, 0, 0, bytes(8)))


def settings() -> Iterator[bytes]:
    return itertools.repeat(frame(SETTINGS))


def empty_data() -> Iterator[bytes]:
    yield request(1)
    yield from itertools.repeat(frame(DATA, 0, 1))


def heads_without_end() -> Iterator[bytes]:
    yield request(1, 0)
    yield from itertools.repeat(frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 10))


def requests_of_the_wrong_length() -> Iterator[bytes]:
    """The server is made to reset them (CVE-2025-8671)."""
    length = b"\x0f\x0d\x011"  # content-length: 1
    for stream in itertools.count(1, 2):
        yield frame(HEADERS, END_HEADERS, stream, REQUEST + length)
        yield frame(DATA, 0, stream, b"too much")


# Most are too much of what is allowed; of a head, there is a most that is allowed.
FLOODS: list[tuple[Callable[[], Iterator[bytes]], int]] = [
    (cancelled_requests, ENHANCE_YOUR_CALM),
    (pings, ENHANCE_YOUR_CALM),
    (settings, ENHANCE_YOUR_CALM),
    (empty_data, ENHANCE_YOUR_CALM),
    (heads_without_end, PROTOCOL_ERROR),
    (requests_of_the_wrong_length, ENHANCE_YOUR_CALM),
]


@pytest.mark.parametrize(("kind", "code"), FLOODS)
def test_a_flood_is_ended_and_another_connection_does_not_notice(
    served: tuple[Process, Place], kind: Callable[[], Iterator[bytes]], code: int
) -> None:
    server, place = served
    attackers = 8
    reasons: list[int] = []
    done = threading.Event()

    def attack() -> None:
        try:
            reasons.extend(flood(place, kind()) for _ in range(attackers))
        finally:
            done.set()

    with place.connect() as bystander:
        bystander.get("/hello")
        before = server.memory
        threading.Thread(target=attack, daemon=True).start()
        latencies = []
        while not done.is_set():
            started = time.perf_counter()
            assert bytes(bystander.get("/hello").body) == b"hello"
            latencies.append(time.perf_counter() - started)
            assert sum(latencies) < DEADLINE
        assert max(latencies) < 3
        assert sorted(latencies)[len(latencies) // 2] < 0.5
        assert server.memory - before < 4 * MIB
    assert reasons == [code] * attackers
    # Each was ended before it came to many calls.
    assert server.stderr.count("note: called") < 100 * attackers


def flood(place: Place, pieces: Iterator[bytes]) -> int:
    """Send 20,000 frames, or what the server takes of them; returns the code of its GOAWAY."""
    with place.connect() as client:
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                client.sock.sendall(b"".join(itertools.islice(pieces, 50)))
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.sock.recv(MIB):
                received += piece
    (goaway,) = [each for each in frames_of(received)[0] if each[3] == GOAWAY]
    return int.from_bytes(goaway[13:17], "big")
