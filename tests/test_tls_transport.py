"""TLS between a transport and its connection: client, transport and connection are the test's.

`test_connection_tls` has a real connection, `test_clients_tls` real sockets.
"""

import asyncio
import gc
import re
import ssl
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.tls_contexts import Certificates
from aserver.tls_transport import TlsTransport
from tests.certificates import Authority
from tests.fakes import rounds
from tests.tls_stage import (
    ALERT,
    DATA_RECORD,
    HANDSHAKE_RECORD,
    TLS_1_2,
    TLS_1_3,
    VERSIONS,
    Line,
    TlsPeer,
    certificates,
    client_of,
)

pytestmark = pytest.mark.asyncio

KIB = 1 << 10
RECORD = 16 * KIB  # RFC 8446 section 5.1
PLAIN = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Owner(asyncio.Protocol):
    """A connection: `calls` is what it heard but for data, which is in `pieces`.

    Attributes:
        stays: What it answers to the end of the client's side.
        on_data: Called with each piece.
    """

    def __init__(self, source: Certificates) -> None:
        self.calls: list[str] = []
        self.pieces: list[bytes] = []
        self.stays = False
        self.extension: dict[str, Any] = {}
        self.on_data = self.pieces.append
        self._source = source

    def connection_made(self, transport: Any) -> None:
        loop = asyncio.get_running_loop()
        self.transport = TlsTransport(transport, self, self._source, loop)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def on_secured(self, protocol: str | None, extension: dict[str, Any]) -> None:
        assert not self.pieces
        self.extension = extension
        self.calls.append(f"secured {protocol}")

    def on_insecure(self, reason: str) -> None:
        self.calls.append(f"insecure: {reason}")

    def on_plaintext(self) -> bytes:
        self.calls.append("plaintext")
        return PLAIN

    def data_received(self, data: bytes) -> None:
        assert data
        self.on_data(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stays

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


@pytest.fixture(autouse=True)
def no_errors_in_callbacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The event loop logs them, and goes on."""
    yield
    assert [each for each in caplog.get_records("call") if each.name == "asyncio"] == []


@pytest.fixture(scope="module")
def source(authority: Authority) -> Certificates:
    return certificates(authority.issue())


class Scene:
    """A connection's owner, its TLS, and the client at the other end."""

    def __init__(self, source: Certificates, client: ssl.SSLContext) -> None:
        self.owner = Owner(source)
        self.line = Line(self.owner)
        self.peer = TlsPeer(self.line, client)
        self.tls = self.owner.transport

    def opened(self) -> "Scene":
        """The same behind the handshake; what the owner heard of it is forgotten."""
        self.peer.shake_hands()
        assert self.owner.calls[0].startswith("secured")
        self.owner.calls.clear()
        assert self.peer.received() == b""  # sessions, at most
        return self

    @property
    def state(self) -> str:
        return repr(self.tls).split()[1]

    @property
    def calls(self) -> list[str]:
        return self.owner.calls


New = Callable[..., Scene]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def scene(source: Certificates, authority: Authority, request: pytest.FixtureRequest) -> New:
    """Makes scenes, for each version of TLS."""
    return lambda *alpn: Scene(source, client_of(authority, request.param, *alpn))


@pytest.fixture
def newest(source: Certificates, authority: Authority) -> New:
    """Makes scenes, for TLS 1.3."""
    return lambda *alpn: Scene(source, client_of(authority, TLS_1_3, *alpn))


async def conversation(scene: Scene, step: int) -> None:
    """A handshake and data both ways, the client's bytes so many at a time."""
    assert scene.state == "NEW"
    scene.peer.shake_hands(step)
    assert scene.calls == ["secured None"]
    assert scene.state == "OPEN"
    assert scene.owner.extension["tls_version"] in (0x0303, 0x0304)
    for text in (b"a", b"some text", bytes(RECORD), bytes(RECORD + 1)):
        scene.owner.pieces.clear()
        for start in range(0, len(text), RECORD):
            scene.peer.send(text[start : start + RECORD], step)
        assert scene.owner.data == text
        scene.tls.write(text)
        assert scene.peer.received() == text
    assert scene.calls == ["secured None"]


# The handshake


@pytest.mark.parametrize("step", [1, 2, 7, 1000, 1 << 30])
async def test_handshake(scene: New, step: int) -> None:
    await conversation(scene(), step)


async def test_handshake_in_any_pieces(source: Certificates, authority: Authority) -> None:
    client = client_of(authority)

    @given(st.lists(st.integers(1, 600), max_size=20))
    def examples(sizes: list[int]) -> None:
        scene = Scene(source, client)
        data = scene.peer.hello()
        cuts = iter(sizes)
        while data:
            size = next(cuts, len(data))
            scene.peer.feed(data[:size])
            data = data[size:]
        scene.peer.pull()
        scene.peer.tls.do_handshake()
        scene.peer.tls.write(b"text")
        data = scene.peer.outgoing.read()
        while data:
            size = next(cuts, len(data))
            scene.peer.feed(data[:size])
            data = data[size:]
        assert scene.calls == ["secured None"]
        assert scene.owner.data == b"text"

    examples()


async def test_data_that_comes_with_the_end_of_the_handshake(newest: New) -> None:
    scene = newest("h2")
    scene.peer.feed(scene.peer.hello())
    scene.peer.pull()
    scene.peer.tls.do_handshake()
    scene.peer.tls.write(b"early")
    scene.peer.push()  # the client's "finished", and this
    assert scene.calls == ["secured h2"]
    assert scene.owner.pieces == [b"early"]


@pytest.mark.parametrize(
    ("alpn", "chosen"), [(("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), (("x",), None)]
)
async def test_the_owner_is_told_what_was_agreed_upon(
    scene: New, alpn: tuple[str, ...], chosen: str | None
) -> None:
    made = scene(*alpn)
    made.peer.shake_hands()
    assert made.calls == [f"secured {chosen}"]
    assert made.peer.tls.selected_alpn_protocol() == chosen
    version = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}[made.owner.extension["tls_version"]]
    assert made.peer.tls.version() == version
    assert made.owner.extension["client_cert_chain"] == ()


async def test_first_bytes_that_are_no_tls(source: Certificates, authority: Authority) -> None:
    client = client_of(authority)
    for first in range(256):
        if first == HANDSHAKE_RECORD:
            continue
        scene = Scene(source, client)
        scene.peer.feed(bytes([first]))
        assert scene.calls == ["plaintext"]
        assert scene.line.received == PLAIN
        assert scene.line.is_closing()
        await rounds(1)
        assert scene.calls == ["plaintext", "lost"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",  # an SSLv2 hello
        b"\x00",
        b"\xff" * 100_000,
    ],
    ids=["HTTP/1", "HTTP/2", "SSLv2", "zero", "long"],
)
async def test_what_follows_first_bytes_that_are_no_tls(newest: New, data: bytes) -> None:
    scene = newest()
    scene.line.reads = False  # so that it is not closed at once
    scene.tls.data_received(data)
    scene.tls.data_received(data)
    scene.tls.data_received(scene.peer.hello())
    scene.line.take(1 << 20)
    await rounds(1)
    assert scene.line.received == PLAIN
    assert scene.calls == ["plaintext", "lost"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x16\x03\x01\x00\x05\x63\x00\x00\x01\x00",
        b"\x16\x03\x01\xff\xff" + bytes(0xFFFF),
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x00" * 40,
    ],
    ids=["HTTP", "short", "type", "long record", "long message", "empty"],
)
async def test_a_first_record_that_is_no_hello(newest: New, data: bytes) -> None:
    scene = newest()
    scene.peer.feed(data)
    (call,) = scene.calls
    assert re.fullmatch("insecure: [a-z0-9 ]+", call)  # what OpenSSL says, in words
    assert scene.line.is_closing()
    alert = scene.line.received
    assert alert[:1] in (b"", bytes([ALERT]))
    scene.tls.data_received(data)
    await rounds(1)
    assert scene.calls == [call, "lost"]
    assert scene.line.received == alert
    assert scene.line.late_writes == 0


async def test_a_second_flight_that_is_broken(scene: New) -> None:
    made = scene()
    made.peer.feed(made.peer.hello())
    made.peer.pull()
    for _ in range(3):  # TLS 1.2: keys, then "finished"
        try:
            made.peer.tls.do_handshake()
        except ssl.SSLWantReadError:
            break
        else:
            break
    flight = bytearray(made.peer.outgoing.read())
    flight[-1] ^= 1
    made.peer.feed(bytes(flight))
    assert made.calls in (
        ["insecure: decryption failed or bad record mac"],
        ["insecure: digest check failed"],
    )
    encrypted = made.peer.tls.version() == "TLSv1.3"
    assert made.line.received[0] == (DATA_RECORD if encrypted else ALERT)
    assert made.line.is_closing()


async def test_any_bit_of_the_clients_first_flight_may_be_wrong(
    source: Certificates, authority: Authority
) -> None:
    """Whatever becomes of it: nothing is handed on, and nothing is raised."""
    hello = Scene(source, client_of(authority)).peer.hello()
    for place in range(len(hello)):
        broken = bytearray(hello)
        broken[place] ^= 1 << place % 8
        scene = Scene(source, client_of(authority))
        scene.peer.feed(bytes(broken))
        assert scene.owner.pieces == []
        if scene.calls:
            assert scene.calls[0].startswith("plaintext" if place == 0 else "insecure: ")
            assert scene.line.is_closing()
        else:
            assert scene.state == "HANDSHAKE"
        assert len(scene.calls) <= 1


async def test_a_client_that_does_not_trust_the_server(source: Certificates) -> None:
    scene = Scene(source, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        scene.peer.shake_hands()
    assert scene.calls == ["insecure: tlsv1 alert unknown ca"]
    assert scene.line.is_closing()


async def test_a_client_whose_version_is_too_old(authority: Authority) -> None:
    source = certificates(authority.issue(), tls_min_version="1.3")
    scene = Scene(source, client_of(authority, TLS_1_2))
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        scene.peer.shake_hands()
    assert scene.calls == ["insecure: unsupported protocol"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_without_the_certificate_it_must_have(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    source = certificates(authority.issue(), ca_certs=authority.file, client_certs="required")
    scene = Scene(source, client_of(authority, version))
    with pytest.raises(ssl.SSLError, match=r"HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED"):  # noqa: PT012
        scene.peer.shake_hands()
        scene.peer.received()  # in TLS 1.3 it takes the handshake for complete
    assert scene.calls == ["insecure: peer did not return a certificate"]
    assert scene.owner.pieces == []


async def test_a_client_certificate_that_cannot_be_read(
    newest: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> dict[str, Any]:
        raise ValueError("it says nothing")

    monkeypatch.setattr(Certificates, "facts", unreadable)
    scene = newest()
    scene.peer.shake_hands()
    assert scene.calls == ["insecure: it says nothing"]
    assert scene.line.is_closing()
    scene.tls.write(b"secret")
    assert scene.line.late_writes == 0
    assert scene.peer.received() == b""


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("begun", [False, True])
async def test_closed_by_the_server_in_the_handshake(newest: New, begun: bool, how: str) -> None:
    scene = newest()
    hello = scene.peer.hello()
    if begun:
        scene.peer.feed(hello)
    sent = scene.line.received
    getattr(scene.tls, how)()
    scene.tls.data_received(hello)
    scene.tls.write(b"secret")
    scene.tls.write_eof() if how == "close" else None
    await rounds(1)
    assert scene.calls == ["lost"]
    assert scene.line.aborted is (how == "abort")
    assert scene.line.received == sent
    assert scene.line.late_writes == 0


async def test_nothing_is_written_before_there_are_keys(newest: New) -> None:
    scene = newest()
    scene.tls.write(b"secret")
    scene.tls.writelines([b"secret"])
    assert scene.line.received == b""
    scene.peer.feed(scene.peer.hello()[:10])
    scene.tls.write(b"secret")
    assert scene.line.received == b""


@pytest.mark.parametrize("begun", [False, True])
async def test_the_client_leaves_in_the_handshake(newest: New, begun: bool) -> None:
    """That is nothing to speak of: those who look whether a port is open do it all the time."""
    scene = newest()
    if begun:
        scene.peer.feed(scene.peer.hello())
    scene.peer.feed_eof()
    assert scene.line.is_closing()
    await rounds(1)
    assert scene.calls == ["lost"]


async def test_the_clients_last_word_in_the_handshake(newest: New) -> None:
    scene = newest()
    scene.peer.feed(scene.peer.hello())
    scene.peer.feed(b"\x15\x03\x03\x00\x02\x01\x00")  # an alert: close_notify
    (call,) = scene.calls
    assert call.startswith("insecure: ")
    assert scene.line.is_closing()


async def test_the_line_is_full_in_the_handshake(scene: New) -> None:
    made = scene()
    made.tls.set_write_buffer_limits(100)
    made.line.reads = False
    made.peer.feed(made.peer.hello())
    assert made.calls == ["pause"]
    assert made.tls.get_write_buffer_size() > 100
    made.line.take(1 << 20)
    made.line.reads = True
    assert made.calls == ["pause", "resume"]
    made.peer.pull()
    made.peer.shake_hands()
    assert "secured None" in made.calls
    made.peer.send(b"text")
    assert made.owner.data == b"text"


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
        assert made.line.aborted
        with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
            made.peer.received()
        made.tls.data_received(good)
        made.tls.write(b"secret")
        await rounds(1)
        assert made.calls[1:] == ["lost"]
        assert made.owner.pieces == [b"good"]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\xff" * 100, bytes(100)])
async def test_cleartext_behind_the_handshake(scene: New, data: bytes) -> None:
    made = scene().opened()
    made.peer.feed(data)
    (call,) = made.calls
    assert call.startswith("insecure: ")
    assert made.line.aborted
    assert made.owner.pieces == []


async def test_a_fatal_alert_of_the_client(newest: New) -> None:
    scene = newest()
    scene.peer.feed(scene.peer.hello())
    scene.peer.feed(b"\x15\x03\x03\x00\x02\x02\x28")
    (call,) = scene.calls
    assert re.fullmatch("insecure: .* alert handshake failure", call)
    assert scene.line.is_closing()


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


@pytest.mark.xfail(reason="they are kept, and each piece is another end", strict=True)
async def test_bytes_behind_the_clients_end_are_not_kept(newest: New) -> None:
    """Else who owes nothing more could fill our memory while it waits for its answer."""
    scene = newest().opened()
    scene.owner.stays = True
    with pytest.raises(ssl.SSLWantReadError):
        scene.peer.tls.unwrap()
    scene.peer.push()
    assert scene.calls == ["eof"]
    for _ in range(100):
        scene.tls.data_received(b"\x17\x03\x03\x40\x00" + bytes(RECORD))
    assert scene.tls._incoming.pending < 2 * RECORD
    assert scene.calls.count("eof") <= 2
    assert scene.owner.pieces == []


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
