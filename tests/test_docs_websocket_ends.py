"""Every way in which a WebSocket ends, as the documentation has them, tried over sockets."""

import json
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aserver.testing import serve
from aserver.types import Message, Receive, Scope, Send
from tests.processes import read_all, wait_until
from tests.test_docs import table, text_of
from tests.test_docs_websockets import (
    CLOSE,
    COMPRESSED,
    TEXT,
    Client,
    close_frame,
    closed_with,
    frame,
)


class Stage:
    """A server whose application does what the path says, and notes what it hears."""

    def __init__(self, log: Path, **options: Any) -> None:
        self.heard: list[Message] = []
        self._log = log
        options = {"ping_interval": 0} | options
        self.server = serve(
            self.application, access_log=str(log), access_log_format="json", **options
        )

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/return":
            return
        if scope["path"] == "/raise":
            raise RuntimeError("as it is told")
        if scope["path"] == "/close":
            await send({"type": "websocket.close"})
        if scope["path"] == "/refuse":
            with pytest.raises(ValueError, match=r"not allowed now: the WebSocket is open"):
                await send({"type": "websocket.http.response.start", "status": 403})
        if scope["path"] == "/flood":
            await flood(send)
        self.heard.append(await receive())

    def heard_codes(self, number: int) -> list[int]:
        """What the application has heard, once it is so many."""
        wait_until(lambda: len(self.heard) >= number)
        return [each["code"] for each in self.heard]

    @property
    def log(self) -> dict[str, Any]:
        """The line of the WebSocket, once it is there."""
        wait_until(lambda: self._log.exists() and self._log.read_text().endswith("\n"))
        (line,) = self._log.read_text().splitlines()
        found = json.loads(line)
        assert isinstance(found, dict)
        return found


async def flood(send: Send) -> None:
    """Send what cannot be compressed until that raises."""
    data = os.urandom(100_000)
    with suppress(OSError):
        while True:
            await send({"type": "websocket.send", "bytes": data})


# What a client does; returns what it got of the server.
Action = Callable[[Client, Stage], bytes]


def sending(data: bytes) -> Action:
    def act(client: Client, stage: Stage) -> bytes:
        client.sock.sendall(data)
        return client.first + read_all(client.sock)

    return act


def answer_close(client: Client, stage: Stage) -> bytes:
    """Answer a close frame with the code of its own that the table has in such rows."""
    received = client.first or client.sock.recv(100)
    client.sock.sendall(close_frame(4000))
    return received + read_all(client.sock)


def stop_server(client: Client, stage: Stage) -> bytes:
    stage.server.server.request_stop()
    return answer_close(client, stage)


def do_not_answer(client: Client, stage: Stage) -> bytes:
    """Read the close frame, and nothing more comes but a reset."""
    received = client.first or client.sock.recv(100)
    with pytest.raises(ConnectionResetError):
        read_all(client.sock)
    return received


def ignore_pings(client: Client, stage: Stage) -> bytes:
    """Read until the server gives up, which it should do about a second behind the first ping."""
    received = client.first
    while data := client.sock.recv(100):
        received += data
        assert received.count(b"\x89\0") < 5, "nobody is given up"
    return received


def read_nothing(client: Client, stage: Stage) -> bytes:
    wait_until(lambda: bool(stage.heard))
    with pytest.raises(ConnectionResetError):
        read_all(client.sock)
    return b""


def leave(client: Client, stage: Stage) -> bytes:
    client.sock.shutdown(socket.SHUT_WR)
    return read_all(client.sock)


deflate = "Sec-WebSocket-Extensions: permessage-deflate"
# By the first column: the path, what the client does, the options; and what it comes to: the close
# frame (None: none), what the application hears (None: nothing), the code in the log.
Case = tuple[str, Action, dict[str, Any], int | None, int | None, int]
ENDS: dict[str, list[Case]] = {
    "the client closes with 1000, or any other code": [
        ("/", sending(close_frame(1000)), {}, 1000, 1000, 1000),
        ("/", sending(close_frame(4000)), {}, 4000, 4000, 4000),
    ],
    "the client closes without a code": [("/", sending(frame(CLOSE)), {}, 1005, 1005, 1005)],
    "the application closes, and the client answers": [
        ("/close", answer_close, {}, 1000, 4000, 4000)
    ],
    "the application closes, and the client does not answer": [
        ("/close", do_not_answer, {"websocket_close_timeout": 0.1}, 1000, 1006, 1006)
    ],
    "the application returns without closing": [("/return", answer_close, {}, 1000, None, 4000)],
    "the application raises": [("/raise", answer_close, {}, 1011, None, 1011)],
    "the server stops": [("/", stop_server, {}, 1012, 1012, 1012)],
    "a frame that breaks the protocol": [("/", sending(b"\x81\x00"), {}, 1002, 1002, 1002)],
    "text that is not UTF-8, or data that is not compressed as agreed": [
        ("/", sending(frame(TEXT, b"\xff")), {}, 1007, 1007, 1007),
        ("/", sending(frame(TEXT, b"\xff", first=0x80 | COMPRESSED)), {}, 1007, 1007, 1007),
    ],
    "a message, or a frame, that is too large; too many frames": [
        ("/", sending(frame(TEXT, b"ab")), {option: 1}, 1009, 1009, 1009)
        for option in ("websocket_max_message_size", "websocket_max_frame_size")
    ],
    "nothing is heard of the client behind a ping": [
        ("/", ignore_pings, {"ping_interval": 0.1, "ping_timeout": 0.1}, 1011, 1006, 1006)
    ],
    "no message for `--websocket-idle-timeout`": [
        ("/", answer_close, {"websocket_idle_timeout": 0.1}, 1001, 1001, 1001)
    ],
    "open for `--websocket-timeout`": [
        ("/", answer_close, {"websocket_timeout": 0.1}, 1001, 1001, 1001)
    ],
    "the client does not read for `--write-timeout`": [
        ("/flood", read_nothing, {"write_timeout": 0.1}, None, 1006, 1006)
    ],
    "the connection is lost, or closed without a close frame": [("/", leave, {}, None, 1006, 1006)],
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten ticks a second: what is tried here waits for several."""
    for module in ("server", "ws_watch"):
        monkeypatch.setattr(f"aserver.{module}.TICK", 0.1)


@pytest.mark.parametrize("label", ENDS)
def test_ends(label: str, tmp_path: Path) -> None:
    rows = table(
        text_of("topics", "websockets.md"),
        *("what happens", "close frame", "the application hears", "log"),
    )
    (described,) = (row for row in rows if row[0] == label)
    for number, (path, act, options, sent, heard, code) in enumerate(ENDS[label]):
        stage = Stage(tmp_path / f"{number}.log", **options)
        with stage.server as server, Client(server, path, deflate) as client:
            received = act(client, stage)
            assert closed_with(received) == sent
            assert (stage.log["close_code"], stage.log["closed_by"]) == (code, described[3])
            assert stage.heard_codes(0 if heard is None else 1) == [heard][: heard is not None]
        assert said_of(described[1]) in (None, sent), described
        assert said_of(described[2]) in (None, heard), described
        assert ("none" in described[1]) == (sent is None)
        assert ("nothing" in described[2]) == (heard is None)


def said_of(cell: str) -> int | None:
    """The code that a cell names, if it is the only one that is possible."""
    found = re.findall(r"\d{4}", cell)
    return int(found[0]) if found else None


def test_who_refuses_too_late_has_not_closed(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "access.log")
    with stage.server as server, Client(server, "/refuse") as client:
        client.sock.shutdown(socket.SHUT_WR)
        assert stage.heard_codes(1) == [1006]
        assert stage.log["closed_by"] == "network"


def test_every_end_is_tried() -> None:
    rows = table(
        text_of("topics", "websockets.md"),
        *("what happens", "close frame", "the application hears", "log"),
    )
    assert [row[0] for row in rows] == list(ENDS)
