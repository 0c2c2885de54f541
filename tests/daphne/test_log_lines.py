"""What is written: start-up lines on standard error, access lines on standard output, as Daphne's.

Whoever reads them by a program goes on reading.
"""

import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daphne.commands import connect, port_of, run
from tests.processes import get, read_all, read_until, wait_until
from tests.ws_clients import CLOSE, Peer, handshake

APPLICATION = """
import asyncio, threading

barrier = threading.Barrier(3)

def meet():
    barrier.wait(10)
    return threading.get_ident()

async def application(scope, receive, send):
    assert scope["type"] != "lifespan"
    await receive()
    if scope["type"] == "websocket":
        accepts = scope["path"] == "/ws/chat/"
        await send({"type": "websocket.accept" if accepts else "websocket.close"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    body = b""
    if scope["path"] == "/threads":
        threads = await asyncio.gather(*[asyncio.to_thread(meet) for _ in range(6)])
        body = b"%d" % len(set(threads))
    await send({"type": "http.response.start", "status": 200 if body else 204})
    await send({"type": "http.response.body", "body": body})
"""
_LINE = re.compile(r'(\S+) - - \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d)\] "(.+)" (\d+|-) (\d+|-)')
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) +(.+)")


@pytest.fixture(autouse=True)
def site(write: Callable[[str, str], None]) -> None:
    write("myproject/__init__.py", "")
    write("myproject/asgi.py", APPLICATION)


def accepts(path: str) -> bool:
    """Whether it is there and listened to, which is not the same moment."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def visit(address: tuple[str, int] | str, path: str) -> bytes:
    """A request on a connection of its own."""
    with connect(address) as sock:
        sock.sendall(get(path, "Connection: close"))
        return read_all(sock)


def test_start_up_and_access(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASGI_THREADS", "3")
    with open("out", "w+") as out:
        options = ("-p", "0", "-u", "daphne.sock", "--access-log", "-")
        with run(*options, listeners=2, stdout=out) as server:
            (url,) = (url for url in server.urls if url != "unix:daphne.sock")
            address = ("127.0.0.1", port_of(url))
            assert visit(address, "/threads?a=b").endswith(b"\r\n\r\n3")
            visit("daphne.sock", "/nothing")
            with Peer(connect(address), "/ws/chat/?a=b") as peer:
                own = "{}:{}".format(*peer.sock.getsockname())
                peer.send(CLOSE)
                peer.read_close()
                peer.read_end()
            with connect(address) as sock:
                sock.sendall(handshake("/ws/no/"))
                read_until(sock, b"\r\n\r\n")
            wait_until(lambda: "/ws/no/" in Path("out").read_text())
        lines = Path("out").read_text().splitlines()
    matches = [_LINE.fullmatch(line) for line in lines]
    seen = [match.groups() for match in matches if match is not None]
    assert len(seen) == len(lines), lines
    (threads, nothing), sockets = seen[:2], seen[2:]
    assert threads[2:] == ("GET /threads?a=b", "200", "1")
    assert (nothing[0], nothing[2:]) == ("None", ("GET /nothing", "204", "-"))
    assert [each[2:] for each in sockets] == [
        ("WSCONNECTING /ws/chat/", "-", "-"),
        ("WSCONNECT /ws/chat/", "-", "-"),
        ("WSDISCONNECT /ws/chat/", "-", "-"),
        ("WSCONNECTING /ws/no/", "-", "-"),
        ("WSREJECT /ws/no/", "-", "-"),
        ("WSDISCONNECT /ws/no/", "-", "-"),
    ]
    assert {each[0] for each in sockets[:3]} == {own}
    for each in seen:
        age = time.time() - time.mktime(time.strptime(each[1], "%d/%b/%Y:%H:%M:%S"))
        assert -1 <= age < 60, "in local time"

    said = [match.groups() for match in map(_LOGGED.fullmatch, server.stderr.splitlines()) if match]
    assert said[:2] == [
        ("INFO", "Starting server at tcp:port=0:interface=127.0.0.1, unix:daphne.sock"),
        ("INFO", "Listening on TCP address {}:{}".format(*address)),
    ]
    assert [text for _, text in said[2:]] == [
        "Listening on http://{}:{}".format(*address),
        "Listening on unix:daphne.sock",
    ], "and nothing else, on purpose: not when it begins, nor when it ends"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_quiet(number: signal.Signals) -> None:
    with open("out", "w") as out:
        options = ("-v", "0", "-u", "daphne.sock")
        with run(*options, listeners=0, stdout=out) as server:
            wait_until(lambda: accepts("daphne.sock"))
            assert visit("daphne.sock", "/").startswith(b"HTTP/1.1 204 ")
            assert server.end(number) == 0
    assert (Path("out").read_text(), server.stderr) == ("", "")


@pytest.mark.parametrize("option", ["--access-log=", "--no-access-log"])
def test_without_an_access_log_standard_output_is_empty(option: str) -> None:
    """An empty one is none, on purpose."""
    with open("out", "w") as out, run("-u", "daphne.sock", option, stdout=out) as server:
        assert visit("daphne.sock", "/").startswith(b"HTTP/1.1 204 ")
        assert server.end() == 0
    assert Path("out").read_text() == ""
