"""Commands of Daphne's documentation, typed with the name changed, in a project's directory."""

import contextlib
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import DEADLINE, Aserver, get, read_all
from tests.test_cli import started

APPLICATION = """
import json

async def application(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("can only handle HTTP")
    body = json.dumps({name: scope[name] for name in ("client", "server", "scheme")}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
SCRIPT = str(Path(sys.executable).with_name("aserver"))
LISTENING = "systemd:domain=INET"


@pytest.fixture
def site(write: Callable[[str, str], None]) -> None:
    """The current directory is that of a project."""
    write("myproject/__init__.py", "")
    write("myproject/asgi.py", APPLICATION)


@contextlib.contextmanager
def run(*options: str, listeners: int = 1, **popen: Any) -> Iterator[Aserver]:
    """`daphne OPTIONS myproject.asgi:application`, with the name changed."""
    popen.setdefault("command", [SCRIPT])
    popen.setdefault("app", "myproject.asgi:application")
    with started(*options, listeners=listeners, **popen) as server:
        yield server
        assert server.end() == 0


def ask(sock: socket.socket, *headers: str) -> dict[str, Any]:
    """What the application is told of a request on this connection."""
    with sock:
        sock.settimeout(DEADLINE)
        sock.sendall(get("/", "Connection: close", *headers))
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    scope = json.loads(body)
    assert isinstance(scope, dict)
    return scope


def connect(address: Any) -> socket.socket:
    """To a unix socket's path, or a host and a port."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.connect(address)
    return sock


def is_free(port: int) -> bool:
    """Whether nobody has it: the ports of the documentation are anybody's."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
