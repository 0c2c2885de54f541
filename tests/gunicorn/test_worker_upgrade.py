"""What changes under gunicorn while it serves: a certificate, and gunicorn itself."""

import os
import re
import select
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from tests.certificates import Authority
from tests.gunicorn.processes import WORKER, Gunicorn, asking, facts_in
from tests.processes import DEADLINE, get, read_all


class Metrics:
    """What a server of statsd's is sent."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.address = "{}:{}".format(*sock.getsockname())

    def wait_for(self, *names: str) -> None:
        """Wait until each of these has come, in any order."""
        missing = set(names)
        while missing:
            missing.discard(self._sock.recv(4096).decode("ascii").partition(":")[0])


@pytest.fixture(scope="module")
def metrics() -> Iterator[Metrics]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE)
        yield Metrics(sock)


@pytest.fixture(scope="module")
def gunicorn(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, metrics: Metrics
) -> Iterator[Gunicorn]:
    """A worker with TLS, and without it at a unix socket; its tests come in their order here."""
    folder = tmp_path_factory.mktemp("gunicorn")
    issued = authority.issue("localhost", directory=folder, stem="own")
    options = (
        *("-k", WORKER, "-b", f"unix:{folder}/socket", "--statsd-host", metrics.address),
        *("--certfile", issued.certificate, "--keyfile", issued.key),
    )
    with Gunicorn(folder, "tests.gunicorn.site:app", *options) as it:
        it.wait_for("note: post_worker_init")
        yield it


def facts_of_tls(gunicorn: Gunicorn, context: ssl.SSLContext) -> dict[str, object]:
    answer = httpx.get(f"https://localhost:{gunicorn.port}/facts", verify=context)
    facts = answer.raise_for_status().json()
    assert isinstance(facts, dict)
    return facts


def facts_of_unix(gunicorn: Gunicorn) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(gunicorn.folder / "socket"))
        sock.sendall(get("/facts", "Connection: close"))
        return facts_in(read_all(sock))


def test_metrics(gunicorn: Gunicorn, metrics: Metrics) -> None:
    """One request is in the count, in that of its status, and among the durations."""
    assert facts_of_unix(gunicorn)["scheme"] == "http"
    names = ("gunicorn.requests", "gunicorn.request.status.200", "gunicorn.request.duration")
    metrics.wait_for(*names)
    assert "Traceback" not in gunicorn.output


def test_a_new_certificate(gunicorn: Gunicorn, authority: Authority) -> None:
    """SIGHUP: the new workers show it."""
    issued = authority.issue("localhost", directory=gunicorn.folder, stem="own")
    gunicorn.signal(signal.SIGHUP)
    gunicorn.wait_for("note: worker_exit")
    shown = ssl.get_server_certificate(("127.0.0.1", gunicorn.port), timeout=DEADLINE)
    assert ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(issued.leaf)


@contextmanager
def ended_at_last(pid: int) -> Iterator[None]:
    """Stop a process that is nobody's child any more, and wait for its end."""
    descriptor = os.pidfd_open(pid)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        is_over = select.select([descriptor], [], [], DEADLINE)[0]
        os.close(descriptor)
    assert is_over


def test_another_gunicorn_takes_over(gunicorn: Gunicorn, authority: Authority) -> None:
    """SIGUSR2, then SIGTERM for the old one; who asks again and again is answered throughout."""
    context = authority.client()
    old = facts_of_unix(gunicorn)["pid"]
    started = gunicorn.output.count("note: post_worker_init")
    with asking(
        lambda: facts_of_tls(gunicorn, context), lambda: facts_of_unix(gunicorn)
    ) as failures:
        gunicorn.signal(signal.SIGUSR2)
        gunicorn.wait_for("note: post_worker_init", started + 1)
        arbiters = re.findall(r"Listening at: .* \((\d+)\)", gunicorn.output)
        with ended_at_last(int(arbiters[-1])):
            gunicorn.signal(signal.SIGTERM)
            assert gunicorn.exit_code() == 0
            gunicorn.wait_for(f"note: worker_exit {old}")
            new = {facts_of_tls(gunicorn, context)["pid"], facts_of_unix(gunicorn)["pid"]}
            assert failures == []
    assert len(new) == 1
    assert old not in new
    assert "Traceback" not in gunicorn.output
