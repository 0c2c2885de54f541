"""TLS between a transport and its connection: client, transport and connection are the test's.

`test_tls_transport_handshake` has what comes first, `test_tls_transport_records` records that no
library sends, `test_connection_tls` a real connection, `test_clients_tls` real sockets.
"""

import asyncio
import gc
import ssl
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aserver.tls_contexts import Certificates
from aserver.tls_transport import TlsTransport
from tests.certificates import Authority
from tests.fakes import rounds
from tests.tls_scene import Scene
from tests.tls_stage import DATA_RECORD, TLS_1_3, VERSIONS, certificates, client_of

pytestmark = pytest.mark.asyncio

KIB = 1 << 10
RECORD = 16 * KIB  # RFC 8446 section 5.1


@pytest.fixture(autouse=True)
def no_errors_in_callbacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The event loop logs them, and goes on."""
    yield
    assert [each for each in caplog.get_records("call") if each.name == "asyncio"] == []


@pytest.fixture(scope="module")
def source(authority: Authority) -> Certificates:
    return certificates(authority.issue())


New = Callable[..., Scene]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def scene(source: Certificates, authority: Authority, request: pytest.FixtureRequest) -> New:
    """Makes scenes, for each version of TLS."""
    return lambda *alpn: Scene(source, client_of(authority, request.param, *alpn))


@pytest.fixture
def newest(source: Certificates, authority: Authority) -> New:
    """Makes scenes, for TLS 1.3."""
    return lambda *alpn: Scene(source, client_of(authority, TLS_1_3, *alpn))


# Bytes of the client


@pytest.mark.parametrize("step", [1, 5, 1 << 30])
async def test_records_are_handed_on_as_they_come(scene: New, step: int) -> None:
    made = scene().opened()
    for text in (b"one", b"two", b"three"):
        made.peer.tls.write(text)
    made.peer.push(step)
    assert made.owner.pieces == [b"one", b"two", b"three"]


async def test_half_a_record_waits_for_its_end(scene: New) -> None:
    made = scene().opened()
    made.peer.tls.write(b"whole")
    made.peer.tls.write(b"half")
    data = made.peer.outgoing.read()
    made.peer.feed(data[:-1])
    assert made.owner.pieces == [b"whole"]
    made.peer.feed(data[-1:])
    assert made.owner.pieces == [b"whole", b"half"]


async def test_a_record_that_was_changed_on_its_way(scene: New) -> None:
    for place in range(5, 30):
        made = scene().opened()
        made.peer.tls.write(b"good")
        good = made.peer.outgoing.read()
        made.peer.tls.write(b"changed on its way")
        changed = bytearray(made.peer.outgoing.read())
        changed[place] ^= 1
        made.peer.feed(good + bytes(changed))
        assert made.owner.pieces == [b"good"]
        assert made.calls == ["insecure: decryption failed or bad record mac"]
        assert made.line.is_closing()
        sent = made.line.received
        made.tls.data_received(good)
        made.tls.write(b"secret")
        await rounds(1)
        assert made.calls[1:] == ["lost"]
        assert made.owner.pieces == [b"good"]
        assert (made.line.received, made.line.late_writes) == (sent, 0)


async def test_the_client_is_told_of_a_record_that_was_changed(scene: New) -> None:
    made = scene().opened()
    made.peer.tls.write(b"changed on its way")
    changed = bytearray(made.peer.outgoing.read())
    changed[-1] ^= 1
    made.peer.feed(bytes(changed))
    with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):  # RFC 8446 section 5.2
        made.peer.received()


async def test_what_was_on_its_way_comes_before_the_alert(scene: New) -> None:
    """It was sent while all was well."""
    made = scene().opened()
    made.line.reads = False
    made.tls.write(b"answer")
    made.peer.feed(bytes(100))
    before = (made.line.is_closing(), made.line.closed)
    made.line.take(1 << 20)
    assert (before, made.line.closed) == ((True, False), True)
    made.peer.pull()
    assert made.peer.tls.read(100) == b"answer"
    with pytest.raises(ssl.SSLError, match="ALERT"):
        made.peer.received()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\xff" * 100, bytes(100)])
async def test_cleartext_behind_the_handshake(scene: New, data: bytes) -> None:
    made = scene().opened()
    made.peer.feed(data)
    (call,) = made.calls
    assert call.startswith("insecure: ")
    assert made.line.is_closing()
    assert made.owner.pieces == []


# Reading is paused


async def test_what_is_decrypted_waits_while_reading_is_paused(scene: New) -> None:
    made = scene().opened()

    def take_one(data: bytes) -> None:
        made.owner.pieces.append(data)
        made.tls.pause_reading()

    made.owner.on_data = take_one
    for text in (b"one", b"two", b"three"):
        made.peer.tls.write(text)
    made.peer.push()
    assert made.owner.pieces == [b"one"]
    assert not made.line.reading
    for expected in ([b"one", b"two"], [b"one", b"two", b"three"]):
        await rounds(3)
        assert len(made.owner.pieces) == len(expected) - 1
        made.tls.resume_reading()
        assert len(made.owner.pieces) == len(expected) - 1  # not in the middle of its caller's work
        await rounds(1)
        assert made.owner.pieces == expected
    made.owner.on_data = made.owner.pieces.append
    made.tls.resume_reading()
    made.peer.send(b"four")
    assert made.owner.data == b"onetwothreefour"


async def test_nothing_is_read_while_something_waits(newest: New) -> None:
    """Or more would come than is taken, and whoever takes it slowly had all of it in memory."""
    scene = newest().opened()
    turns = 0

    def take_one(data: bytes) -> None:
        scene.owner.pieces.append(data)
        scene.tls.pause_reading()

    scene.owner.on_data = take_one
    for _ in range(16):
        scene.peer.tls.write(bytes(RECORD))
    scene.peer.push()
    while len(scene.owner.pieces) < 16:
        assert len(scene.owner.pieces) == turns + 1
        assert scene.tls.is_holding
        scene.tls.resume_reading()
        assert not scene.line.reading
        await rounds(1)
        assert not scene.line.reading
        turns += 1
    scene.owner.on_data = scene.owner.pieces.append
    assert not scene.tls.is_holding
    scene.tls.resume_reading()
    assert scene.line.reading


async def test_an_error_of_ours_ends_the_connection(newest: New) -> None:
    """It would be open for ever, and not even read from."""
    scene = newest().opened()

    def fail(data: bytes) -> None:
        raise RuntimeError("of ours")

    scene.owner.on_data = fail
    scene.tls.pause_reading()
    scene.peer.tls.write(b"text")
    scene.tls.data_received(scene.peer.outgoing.read())
    problems: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, problem: problems.append(problem))
    scene.tls.resume_reading()
    await rounds(2)
    assert [str(problem["exception"]) for problem in problems] == ["of ours"]
    assert scene.line.aborted
    assert scene.calls == ["lost"]


async def test_half_a_record_is_no_reason_not_to_read(newest: New) -> None:
    scene = newest().opened()
    scene.tls.pause_reading()
    scene.peer.tls.write(b"text")
    data = scene.peer.outgoing.read()
    scene.tls.data_received(data[:10])
    scene.tls.resume_reading()
    await rounds(1)
    assert scene.line.reading
    scene.tls.data_received(data[10:])
    assert scene.owner.pieces == [b"text"]


async def test_a_large_record_is_handed_on_whole_or_waits(scene: New) -> None:
    made = scene().opened()
    made.tls.pause_reading()
    made.peer.tls.write(bytes(RECORD))
    data = made.peer.outgoing.read()
    made.tls.data_received(data[:100])  # event loops may be reading just then
    made.tls.data_received(data[100:])
    assert made.owner.pieces == []
    made.tls.resume_reading()
    await rounds(1)
    assert made.owner.data == bytes(RECORD)


async def test_paused_and_resumed_by_the_same_data(newest: New) -> None:
    scene = newest().opened()

    def take(data: bytes) -> None:
        scene.owner.pieces.append(data)
        scene.tls.pause_reading()
        scene.tls.resume_reading()

    scene.owner.on_data = take
    texts = [b"%d" % number for number in range(20)]
    for text in texts:
        scene.peer.tls.write(text)
    scene.peer.push()
    await rounds(3)
    assert scene.owner.pieces == texts


@pytest.mark.parametrize("every", [1, 2, 3, 50])
@pytest.mark.parametrize("step", [10_000, 70_000, 1 << 30])
async def test_much_that_is_taken_with_pauses(newest: New, every: int, step: int) -> None:
    """Event loops read a quarter of a megabyte at once; all of it comes, and in order."""
    scene = newest().opened()
    taken = scene.owner.pieces

    def take(data: bytes) -> None:
        taken.append(data)
        if len(taken) % every == 0:
            scene.tls.pause_reading()
        if len(taken) % 7 == 0:
            scene.tls.resume_reading()

    scene.owner.on_data = take
    sizes = [1, 100, RECORD - 1, RECORD, 5, 5, 9000] * 6
    expected = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
    for number, size in enumerate(sizes):
        scene.peer.tls.write(bytes([number]) * size)
    with pytest.raises(ssl.SSLWantReadError):
        scene.peer.tls.unwrap()
    data = scene.peer.outgoing.read()
    for start in range(0, len(data), step):
        while not scene.line.reading:
            scene.tls.resume_reading()
            await rounds(1)
        scene.tls.data_received(data[start : start + step])
    while len(scene.owner.data) < len(expected):
        assert scene.calls == []
        scene.tls.resume_reading()
        await rounds(1)
    scene.tls.resume_reading()
    await rounds(3)
    assert scene.owner.data == expected
    assert scene.calls == ["eof", "lost"]


async def test_the_clients_end_waits_behind_what_is_not_read(scene: New) -> None:
    made = scene().opened()
    made.tls.pause_reading()
    made.peer.tls.write(b"text")
    with pytest.raises(ssl.SSLWantReadError):
        made.peer.tls.unwrap()
    made.tls.data_received(made.peer.outgoing.read())
    assert (made.calls, made.owner.pieces) == ([], [])
    made.tls.resume_reading()
    await rounds(1)
    assert made.owner.pieces == [b"text"]
    assert made.calls[0] == "eof"


@pytest.mark.parametrize("how", ["close", "abort", "write_eof"])
async def test_what_waited_is_forgotten_when_we_close(scene: New, how: str) -> None:
    made = scene().opened()
    made.tls.pause_reading()
    made.peer.tls.write(b"text")
    made.tls.data_received(made.peer.outgoing.read())
    made.tls.resume_reading()
    getattr(made.tls, how)()
    await rounds(3)
    assert made.owner.pieces == []
    assert made.calls == ([] if how == "write_eof" else ["lost"])


async def test_what_waited_is_not_kept_for_a_client_that_lingers(newest: New) -> None:
    scene = newest().opened()
    scene.tls.pause_reading()
    scene.peer.tls.write(bytes(200 * KIB))
    scene.tls.data_received(scene.peer.outgoing.read())
    assert scene.tls._held
    scene.tls.resume_reading()
    scene.tls.write_eof()
    await rounds(3)
    assert not scene.tls._held
    assert scene.line.reading


async def test_what_waited_is_forgotten_when_the_connection_is_lost(scene: New) -> None:
    made = scene().opened()
    made.tls.pause_reading()
    made.peer.tls.write(b"text")
    made.tls.data_received(made.peer.outgoing.read())
    made.line.abort()
    made.tls.resume_reading()
    await rounds(3)
    assert made.owner.pieces == []
    assert made.calls == ["lost"]


@pytest.mark.parametrize("how", ["close", "abort", "write_eof"])
async def test_closed_in_the_middle_of_what_has_come(scene: New, how: str) -> None:
    made = scene().opened()

    def take_one(data: bytes) -> None:
        made.owner.pieces.append(data)
        getattr(made.tls, how)()

    made.owner.on_data = take_one
    for _ in range(3):
        made.peer.tls.write(b"text")
    made.peer.push()
    await rounds(3)
    assert made.owner.pieces == [b"text"]
    assert made.line.late_writes == 0


# Bytes for the client


@pytest.mark.parametrize(
    "size", [1, RECORD - 1, RECORD, RECORD + 1, 256 * KIB, 256 * KIB + 1, 10 * KIB * KIB]
)
async def test_large_writes(scene: New, size: int) -> None:
    made = scene().opened()
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    made.tls.write(data)
    assert made.peer.received() == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [0, 5, 300 * KIB])
async def test_kinds_of_bytes(newest: New, kind: Any, size: int) -> None:
    scene = newest().opened()
    scene.tls.write(kind(bytes(size)))
    assert scene.peer.received() == bytes(size)
    scene.tls.write(b"text")
    assert scene.peer.received() == b"text"


async def test_a_large_write_is_in_memory_once(
    newest: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = newest().opened()
    sizes: list[int] = []
    monkeypatch.setattr(scene.line, "write", lambda data: sizes.append(len(data)))
    data = bytes(10 * KIB * KIB)
    tracemalloc.start()
    try:
        scene.tls.write(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) > len(data)
    assert max(sizes) < 260 * KIB  # OpenSSL's own buffer never holds more
    assert peak < 600 * KIB


async def test_pieces(scene: New) -> None:
    made = scene().opened()
    made.tls.writelines([b"one", bytearray(b"two"), memoryview(b"three"), b""])
    assert made.peer.received() == b"onetwothree"
    made.tls.writelines([])
    assert made.peer.received() == b""


async def test_a_full_line(scene: New) -> None:
    made = scene().opened()
    made.tls.set_write_buffer_limits(1000)
    made.line.reads = False
    made.tls.write(bytes(2000))
    assert made.calls == ["pause"]
    assert made.tls.get_write_buffer_size() == made.line.get_write_buffer_size() > 2000
    made.tls.write(b"text")  # it is asked not to, but may
    made.line.take(1 << 20)
    assert made.calls == ["pause", "resume"]
    assert made.peer.received() == bytes(2000) + b"text"


async def test_both_send_at_the_same_time(newest: New) -> None:
    scene = newest().opened()
    for number in range(200):
        scene.tls.write(b"%d," % number)
        scene.peer.send(b"%d;" % number)
    expected = b"".join(b"%d," % number for number in range(200))
    assert scene.peer.received() == expected
    assert scene.owner.data == expected.replace(b",", b";")


# The end


async def test_the_server_closes(scene: New) -> None:
    made = scene().opened()
    made.tls.write(b"text")
    made.tls.close()
    assert made.tls.is_closing()
    assert made.state == "CLOSED"
    assert made.peer.received() == b"text"
    assert made.peer.has_ended  # nothing was cut off
    await rounds(1)
    assert made.calls == ["lost"]
    made.tls.close()
    made.tls.write(b"late")
    assert made.line.late_writes == 0


async def test_the_server_aborts(scene: New) -> None:
    made = scene().opened()
    made.tls.abort()
    await rounds(1)
    assert made.calls == ["lost"]
    assert made.line.aborted
    made.peer.received()
    assert not made.peer.has_ended


@pytest.mark.parametrize("full", [False, True])
async def test_closed_with_something_on_its_way(scene: New, full: bool) -> None:
    made = scene().opened()
    made.line.reads = False
    made.tls.write(bytes(1000))
    made.tls.close()
    assert not made.line.closed
    made.line.take(1 << 20)
    assert made.peer.received() == bytes(1000)
    assert made.peer.has_ended
    assert made.line.closed


async def test_the_client_ends_and_nothing_is_owed(scene: New) -> None:
    made = scene().opened()
    made.peer.send(b"text")
    made.peer.notify()
    assert made.owner.pieces == [b"text"]
    assert made.calls == ["eof"]
    made.peer.received()
    assert made.peer.has_ended
    assert made.line.is_closing()


async def test_the_client_ends_and_is_answered_still(scene: New) -> None:
    """RFC 8446 section 6.1: that closes one direction. (In TLS 1.2, both; some clients do it.)"""
    made = scene().opened()
    made.owner.stays = True
    made.peer.tls.write(b"text")
    with pytest.raises(ssl.SSLWantReadError):
        made.peer.tls.unwrap()
    made.peer.push()
    assert made.owner.pieces == [b"text"]
    assert made.calls == ["eof"]
    assert not made.line.is_closing()
    before = len(made.line.received)
    made.tls.write(b"answer")
    made.tls.close()
    sent = made.line.received[before:]
    assert sent[0] == DATA_RECORD
    assert made.line.is_closing()


async def test_the_client_ends_once_above_tls_and_once_below(scene: New) -> None:
    made = scene().opened()
    made.owner.stays = True
    with pytest.raises(ssl.SSLWantReadError):
        made.peer.tls.unwrap()
    made.peer.push()
    made.peer.feed_eof()
    assert not made.line.is_closing()
    assert set(made.calls) == {"eof"}
    made.owner.stays = False
    made.tls.write(b"answer")
    made.tls.close()
    await rounds(1)
    assert made.calls[-1] == "lost"


async def test_bytes_behind_the_clients_end_are_not_kept(newest: New) -> None:
    """Else who owes nothing more could fill our memory while it waits for its answer."""
    scene = newest().opened()
    scene.owner.stays = True
    with pytest.raises(ssl.SSLWantReadError):
        scene.peer.tls.unwrap()
    scene.peer.push()
    assert (scene.calls, scene.state) == (["eof"], "HEARD")
    before = scene.tls._incoming.pending
    for _ in range(100):
        scene.tls.data_received(b"\x17\x03\x03\x40\x00" + bytes(RECORD))
    assert scene.tls._incoming.pending == before
    assert scene.calls == ["eof"]
    assert scene.owner.pieces == []


@pytest.mark.parametrize("step", [100, 70_000, 1 << 30])
async def test_bytes_that_come_with_the_clients_end_are_not_looked_at(
    scene: New, step: int
) -> None:
    """They may be no TLS at all."""
    made = scene().opened()
    made.owner.stays = True
    made.peer.tls.write(b"text")
    with pytest.raises(ssl.SSLWantReadError):
        made.peer.tls.unwrap()
    data = made.peer.outgoing.read() + bytes(256 * KIB)
    for start in range(0, len(data), step):
        made.tls.data_received(data[start : start + step])
    await rounds(2)
    assert made.owner.pieces == [b"text"]
    assert made.calls == ["eof"]
    assert made.tls._incoming.pending < 64 * KIB
    assert not made.tls._held
    made.peer.feed_eof()
    assert made.calls == ["eof"]
    assert not made.line.is_closing()
    made.tls.write(b"answer")
    made.tls.close()
    made.peer.pull()
    assert made.peer.tls.read(100) == b"answer"


async def test_bytes_behind_the_clients_end_while_reading_is_paused(newest: New) -> None:
    scene = newest().opened()
    scene.owner.stays = True

    def take(data: bytes) -> None:
        scene.owner.pieces.append(data)
        scene.tls.pause_reading()

    scene.owner.on_data = take
    scene.peer.tls.write(b"text")
    with pytest.raises(ssl.SSLWantReadError):
        scene.peer.tls.unwrap()
    scene.tls.data_received(scene.peer.outgoing.read() + bytes(256 * KIB))
    assert (scene.owner.pieces, scene.calls) == ([b"text"], [])
    assert len(scene.tls._held) > 200 * KIB
    scene.tls.resume_reading()
    await rounds(2)
    assert (scene.owner.pieces, scene.calls) == ([b"text"], ["eof"])
    assert not scene.tls._held


@pytest.mark.parametrize("stays", [False, True])
async def test_an_end_without_a_word(scene: New, stays: bool) -> None:
    """Many clients close like this; what they have sent has its own ends."""
    made = scene().opened()
    made.owner.stays = stays
    made.peer.send(b"text")
    made.peer.feed_eof()
    assert made.calls == ["eof"]
    assert made.line.is_closing() is not stays
    if stays:
        made.tls.write(b"answer")
        assert made.peer.received() == b"answer"


async def test_an_end_in_the_middle_of_a_record(scene: New) -> None:
    made = scene().opened()
    made.peer.tls.write(b"text")
    made.peer.feed(made.peer.outgoing.read()[:-1])
    made.peer.feed_eof()
    assert made.owner.pieces == []
    assert made.calls == ["eof"]
    assert made.line.is_closing()


async def test_our_end_while_the_client_sends(scene: New) -> None:
    made = scene().opened()
    made.tls.write(b"answer")
    made.tls.write_eof()
    assert made.state == "SHUT"
    assert made.line.eof_received
    assert made.peer.received() == b"answer"
    assert made.peer.has_ended
    made.peer.tls.write(b"text")
    made.peer.push()
    made.tls.data_received(b"no TLS at all")
    made.tls.write(b"late")
    assert (made.owner.pieces, made.calls) == ([], [])
    made.peer.feed_eof()
    assert made.calls == ["eof"]
    await rounds(1)
    assert made.calls == ["eof", "lost"]
    assert made.line.late_writes == 0


async def test_both_end_at_the_same_time(scene: New) -> None:
    made = scene().opened()
    with pytest.raises(ssl.SSLWantReadError):
        made.peer.tls.unwrap()
    made.tls.write_eof()
    made.peer.push()
    made.tls.close()
    made.peer.received()
    assert made.peer.has_ended
    await rounds(1)
    assert made.calls == ["lost"]


@pytest.mark.parametrize("when", ["new", "handshake", "open", "paused", "shut", "closed"])
async def test_the_connection_is_lost_and_nothing_refers_to_it(scene: New, when: str) -> None:
    made = scene()
    if when == "handshake":
        made.peer.feed(made.peer.hello())
    elif when != "new":
        made.opened()
    if when == "paused":
        made.tls.pause_reading()
        made.peer.tls.write(b"text")
        made.tls.data_received(made.peer.outgoing.read())
        made.tls.resume_reading()
    elif when == "shut":
        made.tls.write_eof()
    elif when == "closed":
        made.tls.close()
    made.line.abort()
    await rounds(2)
    assert made.calls == ["lost"]
    # The transport lives on for a while in event loops.
    line, owner = made.line, weakref.ref(made.owner)
    del made.owner.on_data
    gc.collect()
    gc.disable()
    try:
        assert count(TlsTransport) == 1
        del made
        assert owner() is None
        assert count(TlsTransport) == 0
    finally:
        gc.enable()
    assert line.closed


def count(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())


# The rest of a transport


async def test_what_the_transport_knows(newest: New, source: Certificates) -> None:
    scene = newest()
    tls, line = scene.tls, scene.line
    assert tls.get_extra_info("sslcontext") is source.context
    assert tls.get_extra_info("peername") == line.get_extra_info("peername")
    assert tls.get_extra_info("nothing", 5) == 5
    assert tls.can_write_eof() is True
    assert not tls.is_closing()
    assert repr(tls) == "<TlsTransport NEW None>"
    scene.opened()
    assert repr(tls) == "<TlsTransport OPEN TLSv1.3>"
    tls.pause_reading()
    assert not line.reading
    tls.resume_reading()
    assert line.reading
