"""Certificates that are replaced while a server is at work: real processes, under load."""

import json
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import HELLO, Authority, Issued
from tests.processes import Process, get, in_threads, read_until, wait_until
from tests.tls_site import ADDRESS, ask_securely, secured, serial_of, shown_serial

APP = "tests.tls_site:app"
CLIENTS = 2


@pytest.fixture
def own(authority: Authority, tmp_path: Path) -> Issued:
    """A certificate that may be replaced."""
    return authority.issue(HELLO, ADDRESS, directory=tmp_path, stem="own")


@pytest.fixture
def next_one(authority: Authority) -> Issued:
    """What it is replaced by."""
    return authority.issue(HELLO, ADDRESS)


def put(new: Issued, own: Issued) -> None:
    """Replace a pair, as renewals do: the key first, and each file at once."""
    for source, target in ((new.key, own.key), (new.certificate, own.certificate)):
        Path(target + ".new").write_bytes(Path(source).read_bytes())
        Path(target + ".new").replace(target)


def command(own: Issued, loop_name: str) -> list[str]:
    return ["--loop", loop_name, "--certfile", own.certificate, "--keyfile", own.key]


class Load:
    """Clients that make connection after connection, and some that keep theirs.

    Attributes:
        serials: That new connections were shown, in order; put another list there to begin anew.
        errors: Of all of them.
    """

    def __init__(self, server: Process, client: ssl.SSLContext) -> None:
        self._server = server
        self._client = client
        self._is_over = threading.Event()
        self.serials: list[int] = []
        self.errors: list[BaseException] = []
        self.kept = 0  # requests in old connections

    def _again_and_again(self, one: Callable[[], None]) -> None:
        try:
            while not self._is_over.is_set():
                one()
        except BaseException as error:
            self.errors.append(error)

    def connect(self) -> None:
        """New connections."""
        self._again_and_again(self._connect)

    def _connect(self) -> None:
        serials = self.serials  # as they are when it begins
        answer, serial = ask_securely(self._server.address, self._client)
        assert answer.endswith(b"hello")
        serials.append(serial)

    def stay(self) -> None:
        """One connection, and one request after another."""
        with secured(self._server.address, self._client) as sock:
            first = shown_serial(sock)

            def ask() -> None:
                sock.sendall(get("/"))
                assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 ")
                self.kept += 1

            self._again_and_again(ask)
            assert shown_serial(sock) == first

    def wait_for_more(self, count: int = 20) -> None:
        """Until there are so many more of both kinds."""
        new, kept = len(self.serials) + count, self.kept + count
        wait_until(lambda: bool(self.errors) or (len(self.serials) > new and self.kept > kept))
        assert self.errors == []

    def stop(self) -> None:
        self._is_over.set()


# Noticing that files have changed takes its time, and is no business of the loop's.
BOTH = [("asyncio", "files"), ("uvloop", "signal")]


@contextmanager
def loaded(server: Process, client: ssl.SSLContext) -> Iterator[Load]:
    load = Load(server, client)
    with in_threads(*([load.connect] * CLIENTS), load.stay):
        try:
            load.wait_for_more()
            yield load
            load.wait_for_more()
        finally:
            load.stop()
    assert load.errors == []


def told_of(issued: Issued) -> str:
    number = serial_of(issued)
    serial = number.to_bytes((number.bit_length() + 7) // 8, "big").hex().upper()
    return f"Certificates loaded, with the serial numbers {serial}"


@pytest.mark.parametrize(("loop_name", "how"), BOTH)
def test_a_new_certificate_under_load(
    authority: Authority, own: Issued, next_one: Issued, loop_name: str, how: str
) -> None:
    old = serial_of(own)
    with Process(APP, *command(own, loop_name), "--access-log", "") as server:
        with loaded(server, authority.client()) as load:
            assert set(load.serials) == {old}
            put(next_one, own)
            if how == "signal":
                server.signal(signal.SIGHUP)
            server.wait_for(told_of(next_one))
            load.serials = []  # what has begun before may come to its end later
        assert set(load.serials) == {serial_of(next_one)}
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert "Traceback" not in server.stderr
        assert "failed" not in server.stderr


@pytest.mark.parametrize(("loop_name", "how"), BOTH)
def test_a_bad_pair_changes_nothing_but_the_log(
    authority: Authority, own: Issued, next_one: Issued, loop_name: str, how: str
) -> None:
    old = serial_of(own)
    good = Path(own.certificate).read_bytes(), Path(own.key).read_bytes()
    with Process(APP, *command(own, loop_name), "--access-log", "") as server:
        with loaded(server, authority.client()) as load:
            Path(own.key).write_bytes(Path(next_one.key).read_bytes())
            if how == "signal":
                server.signal(signal.SIGHUP)
            server.wait_for("The certificates stay as they were: --keyfile:")
            server.wait_for("is not the key of the certificate")
            load.wait_for_more()
            Path(own.certificate).write_text("nothing")
            server.signal(signal.SIGHUP)
            server.wait_for("has no certificate in PEM")
            load.wait_for_more()
        assert set(load.serials) == {old}
        Path(own.certificate).write_bytes(good[0])
        Path(own.key).write_bytes(good[1])
        server.signal(signal.SIGHUP)
        server.wait_for("Certificates loaded")
        assert ask_securely(server.address, authority.client())[1] == old
        assert "Traceback" not in server.stderr


def test_old_connections_go_on_and_what_they_are_told_stays(
    authority: Authority, own: Issued, next_one: Issued, loop_name: str
) -> None:
    client = authority.client()
    with (
        Process(APP, *command(own, loop_name)) as server,
        secured(server.address, client) as sock,
        server.connect() as half,
    ):
        put(next_one, own)
        server.signal(signal.SIGHUP)
        server.wait_for(told_of(next_one))
        sock.sendall(get("/scope"))
        scope = json.loads(read_until(sock, b"}}").partition(b"\r\n\r\n")[2])
        assert scope["tls"]["server_cert"].split() == own.leaf.split()
        # Which it is was decided when this one came; its handshake comes now.
        with client.wrap_socket(half, server_hostname=HELLO) as late:
            assert shown_serial(late) in (serial_of(own), serial_of(next_one))
            late.sendall(get("/"))
            read_until(late, b"hello")
