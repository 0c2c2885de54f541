"""Records, counted and odd: what one end may cost the other, and what is kept of it."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aserver.tls_contexts import Certificates
from tests.certificates import Authority
from tests.fakes import rounds
from tests.tls_records import RecordMaker
from tests.tls_scene import Scene
from tests.tls_stage import DATA_RECORD, TLS_1_3, VERSIONS, certificates, client_of

pytestmark = pytest.mark.asyncio

KIB = 1 << 10
RECORD = 16 * KIB  # RFC 8446 section 5.1
# What is given to OpenSSL at once; and what a record adds to its content, at most.
PIECE = 32 * KIB
OVERHEAD = 64


@pytest.fixture(autouse=True)
def no_errors_in_callbacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The event loop logs them, and goes on."""
    yield
    assert [each for each in caplog.get_records("call") if each.name == "asyncio"] == []


@pytest.fixture(scope="module")
def source(authority: Authority) -> Certificates:
    return certificates(authority.issue())


New = Callable[[], Scene]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def scene(source: Certificates, authority: Authority, request: pytest.FixtureRequest) -> New:
    """Makes scenes behind the handshake, for each version of TLS."""
    return lambda: Scene(source, client_of(authority, request.param)).opened()


class Odd(Scene):
    """A scene behind the handshake whose client's records are made by hand."""

    def __init__(self, source: Certificates, client: ssl.SSLContext, keys: Path) -> None:
        client.keylog_filename = str(keys)
        super().__init__(source, client)
        self.opened()
        cipher = self.peer.tls.cipher()
        assert cipher is not None
        self.records = RecordMaker(keys, cipher[0])


NewOdd = Callable[[], Odd]


@pytest.fixture
def new_odd(source: Certificates, authority: Authority, tmp_path: Path) -> NewOdd:
    """Makes such scenes."""
    return lambda: Odd(source, client_of(authority, TLS_1_3), tmp_path / "keys")


def sizes_of_records(data: bytes) -> list[int]:
    """Of the content of each, in TLS 1.3; all must be of data."""
    sizes = []
    while data:
        size = int.from_bytes(data[3:5], "big")
        assert data[0] == DATA_RECORD
        assert len(data) >= 5 + size
        sizes.append(size - 17)
        data = data[5 + size :]
    return sizes


# New keys


async def test_new_keys(new_odd: NewOdd) -> None:
    """They are changed in the middle of everything, by the client and by us."""
    odd = new_odd()
    for number in range(50):
        text = b"%d" % number
        odd.peer.feed(odd.records.key_update() + odd.records.record(text))
        assert odd.owner.pieces[-1] == text
        odd.tls.write(text)
        assert odd.peer.received() == text
    assert odd.calls == []


async def test_new_keys_of_the_client_alone_are_its_own_business(new_odd: NewOdd) -> None:
    """They ask for no answer, and cost nothing to speak of."""
    odd = new_odd()
    for _ in range(1000):
        odd.peer.feed(odd.records.key_update(answered=False))
    odd.peer.feed(odd.records.record(b"text"))
    assert odd.owner.pieces == [b"text"]
    assert odd.line.received == b""
    assert odd.calls == []


@pytest.mark.parametrize("together", [1, 10, 1000])
async def test_who_asks_for_new_keys_and_reads_nothing(new_odd: NewOdd, together: int) -> None:
    """However many of such questions come with one read, the answers are counted."""
    odd = new_odd()
    odd.line.reads = False
    fed = 0
    while not odd.line.is_closing():
        odd.peer.feed(b"".join(odd.records.key_update() for _ in range(together)))
        fed += together
        assert fed <= 101 + together
    assert fed > 60
    assert odd.tls.get_write_buffer_size() <= (101 + together) * 32
    assert odd.calls == ["insecure: the client keeps asking for new keys"]
    odd.tls.data_received(odd.records.record(b"late"))
    odd.tls.write(b"late")
    odd.line.take(1 << 20)
    await rounds(1)
    assert odd.calls[1:] == ["lost"]
    assert odd.owner.pieces == []
    assert odd.line.late_writes == 0


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
async def test_a_message_about_keys_that_comes_in_parts(new_odd: NewOdd, cut: int) -> None:
    odd = new_odd()
    odd.peer.feed(odd.records.part_of_a_key_update(0, cut))
    odd.peer.feed(odd.records.part_of_a_key_update(cut, 5) + odd.records.record(b"text"))
    assert odd.owner.pieces == [b"text"]
    odd.tls.write(b"answer")
    assert odd.peer.received() == b"answer"
    assert odd.calls == []


async def test_half_a_key_update_and_then_a_response(new_odd: NewOdd) -> None:
    """OpenSSL can send nothing then; who writes is not told by an exception."""
    odd = new_odd()
    odd.peer.feed(odd.records.record(b"request") + odd.records.part_of_a_key_update(0, 4))
    assert odd.owner.pieces == [b"request"]
    assert (odd.calls, odd.state) == ([], "OPEN")
    odd.tls.write(b"response")
    call = "insecure: half a message about new keys has come"
    assert odd.calls == [call]
    assert (odd.line.is_closing(), odd.state) == (True, "CLOSED")
    odd.tls.write(b"more")
    odd.tls.writelines([b"more", bytes(100 * KIB)])
    odd.tls.close()
    await rounds(1)
    assert odd.calls == [call, "lost"]
    assert odd.line.late_writes == 0
    assert odd.peer.received() == b""


@pytest.mark.parametrize("how", ["writelines", "large", "close", "write_eof", "abort"])
async def test_half_a_key_update_and_then_anything(new_odd: NewOdd, how: str) -> None:
    odd = new_odd()
    odd.peer.feed(odd.records.part_of_a_key_update(0, 4))
    if how == "writelines":
        odd.tls.writelines([b"small", bytes(100 * KIB), b"small"])
    elif how == "large":
        odd.tls.write(bytes(100 * KIB))
    else:
        getattr(odd.tls, how)()
    if how == "write_eof":
        assert odd.line.eof_received
        odd.peer.feed_eof()
    await rounds(1)
    assert odd.calls[-1] == "lost"
    assert odd.calls[0].startswith("insecure: ") is (how in ("writelines", "large"))
    assert odd.owner.pieces == []
    assert odd.line.late_writes == 0


# What is kept


class Gauge:
    """A buffer of OpenSSL's that remembers how much was ever in it: so large it stays."""

    def __init__(self, buffer: ssl.MemoryBIO) -> None:
        self._buffer = buffer
        self.highest = 0

    @property
    def pending(self) -> int:
        return self._buffer.pending

    def write(self, data: Any) -> int:
        size = self._buffer.write(data)
        self.highest = max(self.highest, self._buffer.pending)
        return size

    def read(self, size: int = -1) -> bytes:
        return self._buffer.read(size)


@pytest.mark.parametrize("step", [RECORD, 256 * KIB])
async def test_buffers_stay_small_after_megabytes(scene: New, step: int) -> None:
    made = scene()
    incoming, outgoing = Gauge(made.tls._incoming), Gauge(made.tls._outgoing)
    made.tls._incoming = incoming  # type: ignore[assignment]
    taken = 0

    def count(data: bytes) -> None:
        nonlocal taken
        taken += len(data)

    made.owner.on_data = count
    made.line.pieces.clear()
    for _ in range(16):
        for _ in range(256 * KIB // RECORD):
            made.peer.tls.write(bytes(RECORD))
        data = made.peer.outgoing.read()
        for start in range(0, len(data), step):
            made.peer.feed(data[start : start + step])
        made.tls.write(bytes(256 * KIB))
        made.tls.writelines([b"head", bytes(256 * KIB), b"tail"])
        assert len(made.peer.received()) == 512 * KIB + 8
    assert taken == 4 << 20
    assert 0 < incoming.highest <= PIECE + RECORD + OVERHEAD
    assert max(made.line.pieces) <= 2 * PIECE  # a flush takes all there is
    assert (incoming.pending, outgoing.pending, len(made.tls._held)) == (0, 0, 0)


async def test_a_client_that_is_not_read_is_not_kept_twice(scene: New) -> None:
    """What an event loop had read already is kept as it is, not by OpenSSL."""
    made = scene()
    incoming = Gauge(made.tls._incoming)
    made.tls._incoming = incoming  # type: ignore[assignment]

    def take(data: bytes) -> None:
        made.owner.pieces.append(data)
        made.tls.pause_reading()

    made.owner.on_data = take
    for _ in range(16):
        made.peer.tls.write(bytes(RECORD))
    made.peer.push()
    assert len(made.owner.pieces) == 1
    assert incoming.highest <= PIECE
    while len(made.owner.data) < 256 * KIB:
        made.tls.resume_reading()
        await rounds(1)
    assert incoming.highest <= PIECE + RECORD + OVERHEAD
    assert not made.tls._held


# Pieces


@pytest.fixture
def newest(source: Certificates, authority: Authority) -> New:
    """Makes scenes behind the handshake, for TLS 1.3."""
    return lambda: Scene(source, client_of(authority, TLS_1_3)).opened()


@pytest.mark.parametrize(
    ("pieces", "records", "writes"),
    [
        ([5, 7], [12], 1),
        ([0, 5, 0], [5], 1),
        ([100, 1, 200], [301], 1),
        ([100, RECORD], [RECORD, 100], 1),
        ([100, RECORD - 1], [RECORD, 99], 1),
        ([100, 2 * RECORD], [RECORD, RECORD, 100], 1),
        ([100, RECORD, 50], [RECORD, 100, 50], 1),
        ([RECORD], [RECORD], 1),
        ([RECORD, 5], [RECORD, 5], 1),
        ([10_000, 10_000, 10_000], [RECORD, 30_000 - RECORD], 1),
        ([100, 8 * RECORD], [RECORD] * 8 + [100], 4),
    ],
)
async def test_small_pieces_are_joined(
    newest: New, pieces: list[int], records: list[int], writes: int
) -> None:
    """A head and its body are one record, and one call of the kernel."""
    scene = newest()
    scene.line.pieces.clear()
    scene.tls.writelines([bytes(size) for size in pieces])
    assert sizes_of_records(scene.line.received) == records
    assert len(scene.line.pieces) == writes
    assert scene.peer.received() == bytes(sum(pieces))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_pieces_of_any_kind_come_in_their_order(newest: New, kind: Any) -> None:
    scene = newest()
    sizes = [1, 0, RECORD - 1, 3, RECORD, 100_000, 7, 7, RECORD + 1, 0, 40_000, 1]
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    scene.tls.writelines([kind(each) for each in pieces])
    assert scene.peer.received() == b"".join(pieces)
    scene.tls.writelines(each for each in (b"a", b"b"))
    assert scene.peer.received() == b"ab"


@pytest.mark.parametrize("many", [False, True])
async def test_first_bytes_go_with_the_last_of_the_handshake(
    source: Certificates, authority: Authority, many: bool
) -> None:
    """In TLS 1.3 these are tickets of sessions, in TLS 1.2 the server's own end of it."""
    for version in VERSIONS:
        scene = Scene(source, client_of(authority, version))
        on_secured = scene.owner.on_secured

        def greet(
            protocol: str | None,
            extension: dict[str, Any],
            scene: Scene = scene,
            before: Callable[..., None] = on_secured,
        ) -> None:
            before(protocol, extension)
            scene.line.pieces.clear()
            scene.tls.writelines([b"hello", b"!"]) if many else scene.tls.write(b"hello!")

        scene.owner.on_secured = greet  # type: ignore[method-assign]
        scene.peer.shake_hands()
        assert len(scene.line.pieces) == 1
        assert scene.line.pieces[0] > 100  # more than these few bytes
        assert scene.peer.received() == b"hello!"


async def test_closed_as_soon_as_it_is_secure(source: Certificates, authority: Authority) -> None:
    for how in ("close", "abort", "write_eof"):
        scene = Scene(source, client_of(authority, TLS_1_3))

        def end(*_: object, scene: Scene = scene, how: str = how) -> None:
            getattr(scene.tls, how)()

        scene.owner.on_secured = end  # type: ignore[method-assign,assignment]
        scene.peer.shake_hands()
        assert scene.owner.pieces == []
        assert scene.line.late_writes == 0
        assert scene.peer.received() == b""
        assert scene.peer.has_ended is (how != "abort")
