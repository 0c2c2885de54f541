"""What a TLS client begins with: real clients' hellos, and hellos made by hand."""

import socket
import ssl
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.tls_hello import HelloReader
from tests.certificates import HELLO, Authority
from tests.processes import DEADLINE
from tests.services import require_program
from tests.tls_stage import HANDSHAKE_RECORD, TLS_1_2, TLS_1_3, VERSIONS, client_of

CHANGE, ALERT, DATA = 20, 21, 23  # other types of records (RFC 8446 section 5.1)
SERVER_NAME, SUPPORTED_GROUPS, SIGNATURES, VERSION_LIST, KEY_SHARE = 0, 10, 13, 43, 51
P256, P521, X25519, X448, FFDHE2048 = 23, 25, 29, 30, 0x0100
FFDHE3072, FFDHE4096, FFDHE6144, FFDHE8192 = SLOW = range(0x0101, 0x0105)
TOO_SLOW = "the client asks for a key exchange that takes too long"
NOT_ASCII = "the client asks for a name that is not ASCII"
RECORD = 1 << 14
MOST_SIZE = 131_396  # of the longest hello that can be written, and of what OpenSSL takes


def number(value: int, size: int = 2) -> bytes:
    return value.to_bytes(size, "big")


def record(content: bytes, kind: int = HANDSHAKE_RECORD) -> bytes:
    return bytes([kind, 3, 1]) + number(len(content)) + content


def records(message: bytes, size: int) -> bytes:
    """A message, cut over records."""
    return b"".join(record(message[at : at + size]) for at in range(0, len(message), size))


def extension(kind: int, content: bytes) -> bytes:
    return number(kind) + number(len(content)) + content


def server_name(name: bytes) -> bytes:
    return extension(SERVER_NAME, number(len(name) + 3) + b"\0" + number(len(name)) + name)


def key_share(*groups: int, size: int = 32) -> bytes:
    shares = b"".join(number(each) + number(size) + bytes(size) for each in groups)
    return extension(KEY_SHARE, number(len(shares)) + shares)


def message(content: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + number(len(content), 3) + content


def hello(*extensions: bytes, session: bytes = b"", suites: int = 1) -> bytes:
    """A ClientHello (section 4.1.2)."""
    together = b"".join(extensions)
    content = b"\x03\x03" + bytes(32) + number(len(session), 1) + session
    content += number(2 * suites) + b"\x13\x01" * suites + b"\x01\0"
    return message(content + number(len(together)) + together)


def found(*pieces: bytes) -> str:
    """What is said of these, each fed in one piece."""
    reader = HelloReader()
    for piece in pieces:
        reason = reader.feed(piece)
        if reason:
            return reason
    return ""


def in_steps(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


# Clients that others wrote


def flights_of(
    client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = HELLO
) -> list[bytes]:
    """What a client sends in a whole handshake, flight by flight."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    flights = []
    waiting = [theirs, ours]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
        if side is theirs:
            flights.append(to_server.read())
            to_server.write(flights[-1])
    return [each for each in flights if each]


@pytest.fixture(scope="module")
def server(authority: Authority) -> ssl.SSLContext:
    issued = authority.issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("alpn", [(), ("h2", "http/1.1"), ("x" * 255,) * 20])
def test_handshakes_of_pythons_client(
    authority: Authority, server: ssl.SSLContext, version: ssl.TLSVersion, alpn: Sequence[str]
) -> None:
    for flights in (
        flights_of(client_of(authority, version, *alpn), server),
        flights_of(client_of(authority, None, *alpn), server),
    ):
        assert len(flights) == 2
        for step in (1, 2, 3, 5, 100, 1 << 20):
            assert found(*in_steps(b"".join(flights), step)) == ""


def test_a_hello_that_is_asked_for_again(authority: Authority, server: ssl.SSLContext) -> None:
    """Section 4.1.4: the server does not speak what the client has guessed."""
    picky = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue()
    picky.load_cert_chain(issued.certificate, issued.key)
    picky.set_ecdh_curve("secp521r1")
    flights = flights_of(client_of(authority, TLS_1_3), picky)
    assert len(flights) == 3
    assert all(flight[5] == 1 for flight in (flights[0], flights[1][6:]))  # behind a change
    for step in (1, 5, 1 << 20):
        assert found(*in_steps(b"".join(flights), step)) == ""


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        ("X25519", ""),
        ("X448", ""),
        ("P-256", ""),
        ("P-521", ""),
        ("ffdhe2048", ""),
        ("ffdhe3072", TOO_SLOW),
        ("ffdhe8192", TOO_SLOW),
        ("X25519:ffdhe8192", ""),  # which it could speak, but does not begin with
    ],
)
def test_hellos_of_openssls_client(group: str, reason: str) -> None:
    program = require_program("openssl")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        address = "{}:{}".format(*listener.getsockname())
        with subprocess.Popen(
            [program, "s_client", "-connect", address, "-groups", group, "-servername", HELLO],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as client:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as file:
                head = file.read(5)
                data = head + file.read(int.from_bytes(head[3:5], "big"))
            client.wait(DEADLINE)
    assert data[0] == HANDSHAKE_RECORD
    for step in (1, 7, 1 << 20):
        assert found(*in_steps(data, step)) == reason


@given(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=63),
    st.lists(st.text("abch2/.", min_size=1, max_size=20), max_size=10),
    st.sampled_from([*VERSIONS, None]),
    st.lists(st.integers(1, 600), max_size=10),
)
def test_no_hello_of_pythons_client_is_refused(
    name: str, alpn: list[str], version: ssl.TLSVersion | None, sizes: list[int]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn:
        context.set_alpn_protocols(alpn)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=f"{name}.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    pieces = [outgoing.read(size) for size in sizes] + [outgoing.read()]
    assert found(*pieces) == ""


# Key exchange


@pytest.mark.parametrize("group", [P256, P521, X25519, X448, FFDHE2048, 0x0105, 0x11EC])
def test_groups_that_are_fast(group: int) -> None:
    assert found(record(hello(key_share(group)))) == ""


@pytest.mark.parametrize("group", SLOW)
def test_groups_that_take_too_long(group: int) -> None:
    for groups in ((group,), (X25519, group), (group, X25519), (P256, X25519, group)):
        assert found(record(hello(key_share(*groups)))) == TOO_SLOW
    assert found(record(hello(key_share(group, size=1024)))) == TOO_SLOW
    assert found(record(hello(key_share(X25519, size=group)))) == ""  # a length


def test_groups_that_are_only_mentioned() -> None:
    """All of OpenSSL's clients mention all they know."""
    groups = extension(SUPPORTED_GROUPS, number(8) + b"".join(number(each) for each in SLOW))
    assert found(record(hello(groups, key_share(X25519)))) == ""
    assert found(record(hello(groups, key_share()))) == ""


def test_a_second_hello_is_looked_at_too() -> None:
    """Also one that did not wait for what the server would say."""
    first, second = record(hello(key_share())), record(hello(key_share(FFDHE8192)))
    change = record(b"\x01", CHANGE)
    for pieces in ((first, second), (first + second,), (first + change + second,)):
        assert found(*pieces) == TOO_SLOW
    for step in (1, 7):
        assert found(*in_steps(first + change + second, step)) == TOO_SLOW


def test_openssl_takes_no_second_hello_in_the_record_of_the_first(server: ssl.SSLContext) -> None:
    """So nobody has to look there."""
    incoming = ssl.MemoryBIO()
    groups = extension(SUPPORTED_GROUPS, number(2) + number(FFDHE8192))
    versions = extension(VERSION_LIST, b"\x02\x03\x04")
    signatures = extension(SIGNATURES, number(4) + b"\x08\x04\x04\x03")
    first = hello(versions, groups, signatures, key_share(), session=bytes(32))
    second = hello(versions, groups, signatures, key_share(FFDHE8192, size=1024), session=bytes(32))
    incoming.write(record(first + second))
    with pytest.raises(ssl.SSLError, match="NOT_ON_RECORD_BOUNDARY"):
        server.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()


# Names


@pytest.mark.parametrize("place", [0, 1, 5, 9])
def test_names_that_are_not_ascii(place: int) -> None:
    for byte in range(256):
        name = bytearray(b"hello.test")
        name[place] = byte
        assert found(record(hello(server_name(bytes(name))))) == (NOT_ASCII if byte > 127 else "")


def test_a_long_name() -> None:
    name = b"x" * 60_000
    assert found(records(hello(server_name(name)), RECORD)) == ""
    assert found(records(hello(server_name(name + b"\xff")), RECORD)) == NOT_ASCII


def test_other_bytes_need_not_be_ascii() -> None:
    odd = bytes(range(128, 256))
    sent = hello(extension(16, odd), server_name(b"hello.test"), extension(99, odd), session=odd)
    assert found(record(sent)) == ""


@pytest.mark.parametrize(
    "share",
    [b"", b"\0", b"\0\0", b"\0\x05\0", b"\0\x09\0\x1d\0", b"\xff" * 7, b"\0\x04\0\x1d\xff\xff"],
)
def test_what_cannot_be_read_does_not_hide_what_can(share: bytes) -> None:
    """In TLS 1.2 OpenSSL does not read it either."""
    broken, name = extension(KEY_SHARE, share), server_name("b\u00fccher.test".encode())
    assert found(record(hello(broken, name))) == NOT_ASCII
    assert found(record(hello(name, broken))) == NOT_ASCII
    assert found(record(hello(broken, server_name(b"hello.test")))) == ""


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\0\0", b"\0\x01\0", b"\0\x03\0\0", b"\0\x05\x01\0\x02\xff\xff", b"\0\x03\0\0\0"],
)
def test_names_that_cannot_be_read(content: bytes) -> None:
    name = extension(SERVER_NAME, content)
    assert found(record(hello(name))) == ""
    assert found(record(hello(name, key_share(FFDHE3072)))) == TOO_SLOW


# Pieces


def test_a_hello_that_is_cut_at_every_byte() -> None:
    """By records, and by reads."""
    sent = hello(extension(99, bytes(100)), key_share(X25519), server_name(b"\xff.test"))
    for cut in range(1, len(sent)):
        first, second = record(sent[:cut]), record(sent[cut:])
        assert found(first) == ""
        assert found(first, second) == NOT_ASCII
        assert found(first + second) == NOT_ASCII
        assert found(first + record(b"") + second) == NOT_ASCII
        assert found(*in_steps(first + second, 1)) == NOT_ASCII
    for size in range(1, 20):
        assert found(records(sent, size)) == NOT_ASCII
    whole = record(sent)
    for cut in range(1, len(whole)):
        assert found(whole[:cut]) == ""
        assert found(whole[:cut], whole[cut:]) == NOT_ASCII


def test_what_is_behind_a_hello_is_openssls() -> None:
    for behind in (b"\xff" * 1000, record(b"\xff" * 100, DATA), record(b"\x02\x28", ALERT)):
        assert found(record(hello(key_share(X25519))) + behind) == ""
        assert found(record(hello(key_share(FFDHE8192))) + behind) == TOO_SLOW


@pytest.mark.parametrize("first", [0, 1, 2, 16, 20, 255])
def test_what_is_encrypted_may_look_like_anything(first: int) -> None:
    """In TLS 1.2 the last message of the handshake does, in a record of the same type."""
    begun = [record(hello(server_name(b"hello.test")))]
    exchange = record(message(bytes(33), kind=16))
    change = record(b"\x01", CHANGE)
    for length in (b"\0\0\0", b"\0\0\x40", b"\0\x80\0", b"\x02\0\0", b"\xff\xff\xff"):
        encrypted = record(bytes([first]) + length + bytes(36))
        assert found(*begun, exchange + change + encrypted) == ""
        assert found(*begun, exchange, change, encrypted) == ""
        assert found(*begun, change, encrypted) == ""  # with a session that is taken up again


# Anything


def test_a_hello_that_ends_anywhere() -> None:
    """Its length says so; what is missing is OpenSSL's to complain of."""
    content = hello(key_share(X25519), server_name(b"hello.test"), session=bytes(32))[4:]
    for size in range(len(content)):
        assert found(record(message(content[:size]))) == ""


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=10))
def test_garbage(data: bytes, sizes: list[int]) -> None:
    reader = HelloReader()
    for sent in (data, record(data), record(message(data)), record(hello(data))):
        for size in sizes:
            assert reader.feed(sent[:size]) in ("", TOO_SLOW, NOT_ASCII)
            sent = sent[size:]
        assert reader.feed(sent) in ("", TOO_SLOW, NOT_ASCII)


@given(st.data())
def test_bytes_that_were_changed(data: st.DataObject) -> None:
    sent = bytearray(record(hello(key_share(X25519), server_name(HELLO.encode()))))
    for _ in range(data.draw(st.integers(1, 3))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    assert found(bytes(sent)) in ("", TOO_SLOW, NOT_ASCII)
    cut = data.draw(st.integers(0, len(sent)))
    assert found(bytes(sent[:cut]), bytes(sent[cut:])) == found(bytes(sent))


# Limits


def test_the_longest_hello() -> None:
    """Every part of it as long as it may be."""
    name = server_name(b"\xff")
    filling = extension(99, bytes(65_535 - 4 - len(name)))
    sent = hello(filling, name, session=bytes(32), suites=32_767)
    place = 4 + 2 + 32 + 1 + 32 + 2 + 65_534
    sent = message(sent[4:place] + b"\xff" + bytes(255) + sent[place + 2 :])
    assert len(sent) == 4 + MOST_SIZE
    assert found(records(sent, RECORD)) == NOT_ASCII
    assert found(*in_steps(records(sent, RECORD), 1000)) == NOT_ASCII


def test_a_message_that_is_too_long_is_openssls(server: ssl.SSLContext) -> None:
    sent = bytes([1]) + number(MOST_SIZE + 1, 3) + bytes(RECORD - 4)
    assert found(record(sent)) == ""
    incoming = ssl.MemoryBIO()
    incoming.write(record(sent))
    with pytest.raises(ssl.SSLError, match="EXCESSIVE_MESSAGE_SIZE"):
        server.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()


def kept(reader: HelloReader) -> int:
    return len(reader._record) + len(reader._message)


@pytest.mark.parametrize("kind", [HANDSHAKE_RECORD, DATA])
@pytest.mark.parametrize(
    "content",
    [
        bytes(RECORD),
        b"\x01" * RECORD,
        b"\x01\x01\xff\xff" + bytes(RECORD - 4),
        b"\x01\xff\xff\xff" + bytes(RECORD - 4),
        b"\xff" * 65_535,
    ],
)
def test_what_is_kept_has_its_limits(kind: int, content: bytes) -> None:
    reader = HelloReader()
    highest = 0
    sent = record(content, kind) * 40
    for piece in in_steps(sent, 10_000):
        assert reader.feed(piece) == ""
        highest = max(highest, kept(reader))
    assert highest <= MOST_SIZE + 2 * 65_540


def test_nothing_is_kept_of_a_hello_that_was_looked_at() -> None:
    reader = HelloReader()
    assert reader.feed(record(hello(key_share(X25519), suites=5000))) == ""
    assert kept(reader) == 0


def test_a_client_of_tls_1_2_has_no_key_share(authority: Authority, server: ssl.SSLContext) -> None:
    flights = flights_of(client_of(authority, TLS_1_2), server)
    assert number(KEY_SHARE) + b"\0" not in flights[0]
    assert found(*flights) == ""
