"""The HTTP exchange and ASGI's extensions: messages and states, hints, trailers."""

import asyncio
import gc
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from aserver import http_exchange
from aserver.file_response import READ_SIZE
from aserver.types import AppError, ClientDisconnected, Message, Receive, Scope, Send
from tests.fakes import body, rounds, start
from tests.over_http2 import OverHttp2
from tests.over_http2 import carrier as carrier
from tests.stage import CycleStage

pytestmark = pytest.mark.asyncio

LARGE = READ_SIZE + 1
LENGTH_5 = (b"content-length", b"5")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file of five bytes."""
    (tmp_path / "small").write_bytes(b"hello")
    return str(tmp_path / "small")


@pytest.fixture
def large(tmp_path: Path) -> str:
    """A file that is sent in pieces."""
    (tmp_path / "large").write_bytes(bytes(LARGE))
    return str(tmp_path / "large")


@pytest.fixture
def file(path: str) -> Iterator[BinaryIO]:
    with open(path, "rb") as opened:
        yield opened


def hint(*links: object) -> Message:
    return {"type": "http.response.early_hint", "links": links}


def trailers(*headers: tuple[bytes, bytes], more: bool = False) -> Message:
    return {"type": "http.response.trailers", "headers": headers, "more_trailers": more}


def announced(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    """A start that announces trailers."""
    return {**start(status, *headers), "trailers": True}


def pathsend(path: object) -> Message:
    return {"type": "http.response.pathsend", "path": path}


def zerocopysend(file: object, *, more: bool = False, **keys: object) -> Message:
    return {"type": "http.response.zerocopysend", "file": file, "more_body": more, **keys}


# Every message in every state

STATES = [
    "AWAITED",
    "HELD",
    "STREAMING",
    "FILE",
    "TRAILERS",
    "COMPLETE",
    "COMPLETE but for unwanted trailers",
    "DISCONNECTED",
    "DISCONNECTED in a file",
    "DISCONNECTED before the trailers",
]
MESSAGES = [
    "start",
    "body",
    "more body",
    "hint",
    "bad hint",
    "pathsend",
    "bad pathsend",
    "zerocopysend",
    "more zerocopysend",
    "bad zerocopysend",
    "trailers",
    "more trailers",
    "bad trailers",
    "push",
    "debug",
    "unknown",
    "of an unknown kind",
]
ALLOWED = {
    ("AWAITED", "start"): "HELD",
    ("AWAITED", "hint"): "AWAITED",
    ("HELD", "hint"): "HELD",
    ("HELD", "body"): "COMPLETE",
    ("HELD", "more body"): "STREAMING",
    ("HELD", "pathsend"): "COMPLETE",
    ("HELD", "zerocopysend"): "COMPLETE",
    ("HELD", "more zerocopysend"): "STREAMING",
    ("STREAMING", "hint"): "STREAMING",
    ("STREAMING", "body"): "COMPLETE",
    ("STREAMING", "more body"): "STREAMING",
    ("STREAMING", "zerocopysend"): "COMPLETE",
    ("STREAMING", "more zerocopysend"): "STREAMING",
    ("FILE", "hint"): "FILE",
    ("TRAILERS", "trailers"): "COMPLETE",
    ("TRAILERS", "more trailers"): "TRAILERS",
    ("COMPLETE but for unwanted trailers", "trailers"): "COMPLETE",
    ("COMPLETE but for unwanted trailers", "more trailers"): "COMPLETE",
}


async def in_state(state: str, large: str) -> tuple[CycleStage, asyncio.Future[None] | None]:
    """A cycle that has got so far, and its `send()` of a file that waits."""
    sending = None
    stage = CycleStage(accepts_trailers="unwanted" not in state)
    send = stage.cycle.send
    if "trailers" in state.lower():
        await send(announced())
        await send(body())
    elif state not in ("AWAITED", "DISCONNECTED"):
        await send(start())
    if state == "STREAMING":
        await send(body(b"1", more=True))
    elif state == "COMPLETE":
        await send(body())
    elif "file" in state.lower():
        stage.engine.file_takes = [0]
        sending = asyncio.ensure_future(send(pathsend(large)))
        await rounds()
        assert stage.state == "FILE"
    if state.startswith("DISCONNECTED"):
        stage.cycle.lost()
    assert stage.state == state.split()[0]
    return stage, sending


def messages(path: str, file: BinaryIO) -> dict[str, Message]:
    return {
        "start": start(),
        "body": body(b"hello"),
        "more body": body(b"hello", more=True),
        "hint": hint(b"</a.css>; rel=preload"),
        "bad hint": hint("text"),
        "pathsend": pathsend(path),
        "bad pathsend": pathsend(path + "/nothing"),
        "zerocopysend": zerocopysend(file),
        "more zerocopysend": zerocopysend(file, more=True),
        "bad zerocopysend": zerocopysend(None),
        "trailers": trailers((b"x", b"y")),
        "more trailers": trailers((b"x", b"y"), more=True),
        "bad trailers": trailers((b"x", b"\n")),
        "push": {"type": "http.response.push", "path": "/", "headers": []},
        "debug": {"type": "http.response.debug", "info": {}},
        "unknown": {"type": "http.response.what"},
        "of an unknown kind": {"type": []},
    }


async def raised(call: Awaitable[None]) -> str:
    """What comes out of a `send()`: a name."""
    try:
        await call
    except (AppError, ClientDisconnected) as error:
        return type(error).__name__
    return "ok"


def expected(state: str, message: str) -> tuple[str, str]:
    """What `send()` raises, and the state after it."""
    if state == "COMPLETE":
        return "ok", "COMPLETE"
    if state.startswith("DISCONNECTED"):
        return "ClientDisconnected", "DISCONNECTED"
    if (state, message) in ALLOWED:
        return "ok", ALLOWED[state, message]
    return "AppError", state.split()[0]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("state", STATES)
async def test_every_message_in_every_state(
    state: str, message: str, path: str, file: BinaryIO, large: str
) -> None:
    stage, sending = await in_state(state, large)
    before = stage.engine.calls.copy()
    error, after = expected(state, message)
    assert await raised(stage.cycle.send(messages(path, file)[message])) == error
    assert stage.state == after
    if error != "ok" or state == "COMPLETE":
        assert stage.engine.calls == before
    if sending is not None:
        stage.cycle.lost()
        with pytest.raises(ClientDisconnected):
            await sending


async def test_errors_name_state_and_message() -> None:
    stage = CycleStage()
    with pytest.raises(AppError, match=r"'http\.response\.pathsend' .* no http\.response\.start"):
        await stage.cycle.send(pathsend("/"))


# Early hints


async def test_hint() -> None:
    stage = CycleStage()
    await stage.cycle.send(hint(b"<a>", b"<b>"))
    await stage.cycle.send(start())
    await stage.cycle.send(hint(b"<c>"))
    assert stage.engine.calls == [("inform", 103), ("inform", 103)]
    assert stage.engine.interim == [[(b"link", b"<a>"), (b"link", b"<b>")], [(b"link", b"<c>")]]
    await stage.cycle.send(body(b"a", more=True))
    await stage.cycle.send(hint(b"<d>"))
    await stage.cycle.send(body())
    assert len(stage.engine.interim) == 2


async def test_hint_of_nothing() -> None:
    stage = CycleStage()
    await stage.cycle.send(hint())
    assert stage.engine.calls == []


async def test_response_begins_no_earlier_for_a_hint() -> None:
    stage = CycleStage()
    stage.cycle.deadline = 7.0
    await stage.cycle.send(hint(b"<a>"))
    assert stage.cycle.deadline == 7.0
    stage.cycle.lost()
    assert stage.log.lines == []


# Trailers


async def respond(stage: CycleStage, *sent: Message) -> list[tuple[object, ...]]:
    for message in sent:
        await stage.cycle.send(message)
    return stage.engine.responses


CHECKSUM = (b"x-checksum", b"5")


async def test_trailers() -> None:
    stage = CycleStage(accepts_trailers=True)
    assert await respond(stage, announced(), body(b"hello"), trailers(CHECKSUM)) == [
        ("respond", 200, b"hello", True),
        ("trailers", [CHECKSUM]),
    ]
    assert stage.state == "COMPLETE"
    assert stage.log.lines == [("GET", b"/path", 200, 5)]


async def test_trailers_in_several_messages() -> None:
    stage = CycleStage(accepts_trailers=True)
    await respond(stage, announced(), body(b"he", more=True), body(b"llo"))
    await respond(stage, trailers(CHECKSUM, more=True), trailers(more=True))
    assert len(stage.engine.responses) == 2
    assert await respond(stage, trailers(CHECKSUM)) == [
        ("respond", 200, b"he", True),
        ("respond", None, b"llo", True),
        ("trailers", [CHECKSUM, CHECKSUM]),
    ]


async def test_trailers_of_nothing() -> None:
    stage = CycleStage(accepts_trailers=True)
    await respond(stage, announced(), body(b"hello"), {"type": "http.response.trailers"})
    assert stage.engine.responses[-1] == ("trailers", [])


@pytest.mark.parametrize(
    ("accepts", "method", "first"),
    [
        (False, "GET", announced()),
        (True, "GET", announced(LENGTH_5)),
        (True, "HEAD", announced()),
        (True, "GET", announced(status=204)),
        (True, "GET", announced(status=304)),
    ],
)
async def test_trailers_that_cannot_be_sent(accepts: bool, method: str, first: Message) -> None:
    """The response ends with its body; what the application still says is checked all the same."""
    stage = CycleStage(accepts_trailers=accepts, method=method)
    (call,) = await respond(stage, first, body(b"hello"))
    assert call[3] is False
    assert await stage.cycle.receive() == {"type": "http.disconnect"}
    for wrong in (body(), trailers((b"x", b"\n"))):
        with pytest.raises(AppError):
            await stage.cycle.send(wrong)
    await respond(stage, trailers(CHECKSUM, more=True), trailers(CHECKSUM))
    await stage.cycle.send(body())  # ignored
    assert stage.engine.responses == [call]
    assert len(stage.log.lines) == 1


async def test_trailers_that_were_not_announced() -> None:
    stage = CycleStage(accepts_trailers=True)
    assert await respond(stage, start(), body(b"hello"), trailers(CHECKSUM)) == [
        ("respond", 200, b"hello", False)
    ]


async def test_bad_trailers_may_be_mended() -> None:
    stage = CycleStage(accepts_trailers=True)
    await respond(stage, announced(), body(b"hello"))
    with pytest.raises(AppError):
        await stage.cycle.send(trailers((b"x", b"\n")))
    await respond(stage, trailers(CHECKSUM))
    assert stage.engine.responses[-1] == ("trailers", [CHECKSUM])


async def test_credit_comes_before_the_trailers() -> None:
    stage = CycleStage(accepts_trailers=True, size=20)
    stage.cycle.feed(b"hello")
    await respond(stage, announced(), body(), trailers())
    assert stage.engine.calls[1:] == [("consumed", 5), ("trailers", [])]


@pytest.mark.parametrize("fails", [True, False])
async def test_application_that_ends_before_its_trailers(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(announced())
        await send(body(b"hello"))
        if fails:
            raise ZeroDivisionError

    stage = CycleStage(app, accepts_trailers=True)
    await stage.run()
    assert stage.engine.responses == [("respond", 200, b"hello", True), ("abort",)]
    assert len(caplog.records) == 1
    assert len(stage.log.lines) == 1


async def test_failure_after_trailers_were_announced() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(announced())
        raise ZeroDivisionError

    stage = CycleStage(app, accepts_trailers=True)
    await stage.run()
    assert stage.engine.responses == [("respond", 500, b"Internal Server Error", False)]
    await stage.cycle.send(trailers())  # ignored: the response is another one


async def test_client_that_leaves_before_the_trailers() -> None:
    stage = CycleStage(accepts_trailers=True)
    await respond(stage, announced(), body(b"hello"))
    stage.cycle.lost()
    with pytest.raises(ClientDisconnected):
        await stage.cycle.send(trailers())
    assert stage.log.lines == [("GET", b"/path", 200, 5)]


async def test_trailers_behind_files(path: str, large: str, file: BinaryIO) -> None:
    """A content-length of the server's own would leave no room for them."""
    for message, size in (
        (pathsend(path), 5),
        (pathsend(large), LARGE),
        (zerocopysend(file), 5),
    ):
        stage = CycleStage(accepts_trailers=True)
        await respond(stage, announced(), message)
        assert stage.state == "TRAILERS"
        assert stage.engine.heads[0].content_length is None
        await respond(stage, trailers(CHECKSUM))
        assert stage.engine.responses[-1] == ("trailers", [CHECKSUM])
        assert stage.cycle.sent == size
        stage = CycleStage()
        file.seek(0)
        await respond(stage, announced(), message, trailers(CHECKSUM))
        assert stage.engine.heads[0].content_length == size
        assert stage.engine.responses[-1][0] == "respond"
        file.seek(0)


async def test_nothing_is_left_of_a_response_with_trailers(carrier: list[OverHttp2]) -> None:
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(100):
        await respond(CycleStage(accepts_trailers=True), announced(), body(), trailers(CHECKSUM))
    carrier.clear()
    gc.collect()
    assert len(gc.get_objects()) - before < 100
