"""The handshake between a transport and its connection: complete, broken, cut, or none at all."""

import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.tls_contexts import Certificates
from tests.certificates import HELLO, Authority
from tests.fakes import rounds
from tests.tls_scene import PLAIN, Scene
from tests.tls_stage import (
    ALERT,
    DATA_RECORD,
    HANDSHAKE_RECORD,
    TLS_1_2,
    TLS_1_3,
    VERSIONS,
    certificates,
    client_of,
)

pytestmark = pytest.mark.asyncio

RECORD = 1 << 14  # RFC 8446 section 5.1


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
        assert scene.line.eof_received
        assert not scene.line.is_closing()  # it may be sending still
        scene.peer.feed_eof()
        await rounds(1)
        assert scene.calls == ["plaintext", "eof", "lost"]


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
    """It is thrown away, so that the client sees its answer, and no reset."""
    scene = newest()
    for each in (data, data, scene.peer.hello(), b"\x16"):
        scene.peer.feed(each)
    scene.tls.write(b"secret")
    assert scene.calls == ["plaintext"]
    assert scene.tls._incoming.pending == 0
    scene.peer.feed_eof()
    await rounds(1)
    assert scene.line.received == PLAIN
    assert scene.calls == ["plaintext", "eof", "lost"]
    assert scene.line.late_writes == 0


async def test_cleartext_on_a_line_that_has_only_one_end(
    newest: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = newest()
    monkeypatch.setattr(scene.line, "can_write_eof", lambda: False)
    scene.line.reads = False
    scene.peer.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert scene.line.is_closing()
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
    assert re.fullmatch("insecure: [a-z0-9 ']+", call)  # in words
    assert scene.line.is_closing()
    alert = scene.line.received
    assert alert[:1] in (b"", bytes([ALERT]))
    scene.tls.data_received(data)
    await rounds(1)
    assert scene.calls == [call, "lost"]
    assert scene.line.received == alert
    assert scene.line.late_writes == 0


@pytest.mark.parametrize("step", [1, 50, 1 << 30])
async def test_a_hello_that_openssl_does_not_see(
    source: Certificates, authority: Authority, step: int
) -> None:
    scene = Scene(source, client_of(authority))
    name = HELLO.encode()
    hello = scene.peer.hello()
    assert hello.count(name) == 1
    data = hello.replace(name, b"\xff" * len(name))
    begin = 0
    while not scene.calls:
        scene.peer.feed(data[begin : begin + step])
        begin += step
    assert begin >= len(data)
    assert scene.calls == ["insecure: the client asks for a name that is not ASCII"]
    assert scene.line.is_closing()
    assert scene.line.received == b""
    scene.tls.data_received(hello)
    await rounds(1)
    assert scene.calls[1:] == ["lost"]
    assert scene.line.received == b""


async def test_a_hello_that_is_the_second(authority: Authority) -> None:
    """Whoever is asked to begin again is looked at again (RFC 8446 section 4.1.4)."""
    source = certificates(authority.issue())
    source.context.set_ecdh_curve("secp521r1")
    scene = Scene(source, client_of(authority, TLS_1_3))
    scene.peer.feed(scene.peer.hello())
    scene.peer.pull()
    with pytest.raises(ssl.SSLWantReadError):
        scene.peer.tls.do_handshake()
    name = HELLO.encode()
    scene.peer.feed(scene.peer.outgoing.read().replace(name, b"\xff" * len(name)))
    assert scene.calls == ["insecure: the client asks for a name that is not ASCII"]
    assert scene.line.is_closing()


async def test_a_handshake_that_begins_twice(authority: Authority) -> None:
    source = certificates(authority.issue())
    source.context.set_ecdh_curve("secp521r1")
    for step in (1, 7, 1 << 30):
        await conversation(Scene(source, client_of(authority, TLS_1_3)), step)


async def test_nothing_is_left_of_the_handshake(scene: New) -> None:
    made = scene()
    made.peer.feed(made.peer.hello()[:100])
    assert made.tls._hello is not None
    made = scene().opened()
    assert made.tls._hello is None


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
            assert scene.line.is_closing() or scene.line.eof_received
            assert scene.state == "CLOSED"
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


async def test_a_fatal_alert_of_the_client(newest: New) -> None:
    scene = newest()
    scene.peer.feed(scene.peer.hello())
    scene.peer.feed(b"\x15\x03\x03\x00\x02\x02\x28")
    (call,) = scene.calls
    assert re.fullmatch("insecure: .* alert handshake failure", call)
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
