"""Clients that call the server by a name which is no ASCII: real servers, a quiet log."""

import logging
import signal
import socket
import ssl
import sys

import pytest

from aserver.testing import serve
from tests.certificates import HELLO, Authority, Issued
from tests.processes import DEADLINE, Process, read_all
from tests.tls_site import ADDRESS, app, ask_securely, odd_name, serial_of

REASON = "the client asks for a name that is not ASCII"
OTHER = "xn--bcher-kva.test"  # as such names are written for TLS (RFC 6066 section 3)


@pytest.fixture(scope="module")
def issued(authority: Authority) -> list[Issued]:
    """Two: the server chooses by name, and so Python looks at it."""
    return [authority.issue(HELLO, ADDRESS), authority.issue(OTHER)]


@pytest.fixture(scope="module")
def client(authority: Authority) -> ssl.SSLContext:
    return authority.client()


def be_refused(address: tuple[str, int], client: ssl.SSLContext) -> tuple[str, int]:
    """Say such a name; returns the client's own address."""
    with socket.create_connection(address, DEADLINE) as sock:
        own: tuple[str, int] = sock.getsockname()
        sock.sendall(odd_name(client))
        assert read_all(sock) == b""
        return own


def test_an_embedded_server(
    issued: list[Issued],
    client: ssl.SSLContext,
    loop_name: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It is a guest in somebody else's process, whose hooks are left alone."""
    caplog.set_level(logging.INFO)
    hook = sys.unraisablehook
    files = {
        "certfile": [each.certificate for each in issued],
        "keyfile": [each.key for each in issued],
    }
    with serve(app, loop=loop_name, **files) as server:
        address = (server.host, server.port)
        caplog.clear()
        capfd.readouterr()
        host, port = be_refused(address, client)
        assert caplog.messages == [f"TLS with {host}:{port} failed: {REASON}"]
        assert caplog.records[0].levelno == logging.INFO
        assert sys.unraisablehook is hook
        for number, name in enumerate((HELLO, OTHER)):
            answer, serial = ask_securely(address, client, name=name)
            assert answer.endswith(b"hello")
            assert serial == serial_of(issued[number])
        assert capfd.readouterr() == ("", "")


def test_the_command_line(issued: list[Issued], client: ssl.SSLContext, loop_name: str) -> None:
    options = ["--loop", loop_name, "--access-log", ""]
    for each in issued:
        options += ["--certfile", each.certificate, "--keyfile", each.key]
    with Process("tests.tls_site:app", *options) as server:
        assert ask_securely(server.address, client)[0].endswith(b"hello")
        host, port = be_refused(server.address, client)
        assert ask_securely(server.address, client)[0].endswith(b"hello")
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        told = [line for line in server.stderr.splitlines() if not line.startswith("note: ")]
        assert [line for line in told if " INFO " not in line] == []
        (line,) = [line for line in told if f":{port} " in line]
        assert line.endswith(f" TLS with {host}:{port} failed: {REASON}")
