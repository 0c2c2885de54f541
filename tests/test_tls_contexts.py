"""Certificates: loaded, chosen by name, loaded anew; and every way in which that can fail."""

import errno
import gc
import logging
import os
import ssl
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from aserver.config import Config, Tls
from aserver.declarations import ConfigError
from aserver.endpoints import parse_endpoint
from aserver.tls_contexts import Certificates, load_certificates
from aserver.tls_options import KeyPair
from tests.certificates import HELLO, Authority, Issued, shake_hands


def certificates(*issued: Issued, http2: bool = True, **tls: Any) -> Certificates:
    made = Tls(
        certfile=tuple(each.certificate for each in issued),
        keyfile=tuple(each.key for each in issued),
        **tls,
    )
    return Certificates(made.pairs, made, http2=http2)


def shown(server: Certificates, authority: Authority, name: str | None) -> str:
    """The certificate that a client is shown, and that the server says it has shown; PEM."""
    client = authority.client()
    client.check_hostname = False
    connection, peer = shake_hands(server, client, name)
    der = peer.getpeercert(binary_form=True)
    assert der is not None
    pem = ssl.DER_cert_to_PEM_cert(der)
    assert server.facts(connection)["server_cert"] == pem
    return pem


def serial_of(issued: Issued) -> str:
    number = x509.load_pem_x509_certificate(issued.leaf.encode()).serial_number
    return number.to_bytes((number.bit_length() + 7) // 8, "big").hex().upper()


def move(source: Issued, target: Issued) -> None:
    """Put one certificate in the place of another, as a renewal does."""
    os.replace(source.certificate, target.certificate)
    os.replace(source.key, target.key)


# What is negotiated


@pytest.mark.parametrize(
    ("http2", "offered", "chosen"),
    [
        (True, ("h2", "http/1.1"), "h2"),
        (True, ("http/1.1", "h2"), "h2"),
        (True, ("http/1.1",), "http/1.1"),
        (False, ("h2", "http/1.1"), "http/1.1"),
        (False, ("h2",), None),
        (True, (), None),
    ],
)
def test_application_protocol(
    authority: Authority, http2: bool, offered: tuple[str, ...], chosen: str | None
) -> None:
    server = certificates(authority.issue(), http2=http2)
    connection, peer = shake_hands(server, authority.client(alpn=offered))
    assert connection.selected_alpn_protocol() == chosen
    assert peer.selected_alpn_protocol() == chosen


def test_the_chain_is_sent(authority: Authority) -> None:
    """The client knows the root only."""
    _, peer = shake_hands(certificates(authority.issue()), authority.client())
    assert peer.getpeercert()


def test_ciphers_are_those_that_http2_allows(authority: Authority) -> None:
    for suite in certificates(authority.issue()).context.get_ciphers():
        assert suite["protocol"] in ("TLSv1.2", "TLSv1.3")
        assert suite["aead"]
        assert suite["protocol"] == "TLSv1.3" or suite["name"].startswith("ECDHE-")
        assert "PSK" not in suite["name"]


def test_own_ciphers(authority: Authority) -> None:
    server = certificates(authority.issue(), ciphers="ECDHE-ECDSA-AES128-SHA256")
    names = {each["name"] for each in server.context.get_ciphers() if "TLS_" not in each["name"]}
    assert names == {"ECDHE-ECDSA-AES128-SHA256"}


def test_what_is_never_spoken(authority: Authority) -> None:
    context = certificates(authority.issue()).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert not context.options & ssl.OP_NO_TICKET
    assert context.verify_mode is ssl.CERT_NONE


def test_lowest_version(authority: Authority) -> None:
    server = certificates(authority.issue(), tls_min_version="1.3")
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shake_hands(server, client)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(authority: Authority, version: ssl.TLSVersion) -> None:
    server = certificates(authority.issue())
    client = authority.client()
    client.minimum_version = client.maximum_version = version
    connection, peer = shake_hands(server, client)
    again, resumed = shake_hands(server, client, session=peer.session)
    assert resumed.session_reused
    assert server.facts(again) == server.facts(connection)


# Names


def test_the_name_that_is_asked_for_decides(authority: Authority) -> None:
    first, second, third = (
        authority.issue("one.test", "both.test"),
        authority.issue("two.test", "*.wild.test", "both.test"),
        authority.issue("exact.wild.test"),
    )
    server = certificates(first, second, third)
    for name, expected in {
        "one.test": first,
        "two.test": second,
        "TWO.test": second,
        "two.test.": second,  # the root's label
        "a.wild.test.": second,
        "a.wild.test": second,
        "exact.wild.test": third,
        "a.b.wild.test": first,  # a wildcard is for one label
        "wild.test": first,
        "both.test": first,
        "other.test": first,
        None: first,
    }.items():
        assert shown(server, authority, name) == expected.leaf, name


def test_every_name_is_negotiated_alike(authority: Authority) -> None:
    first, second = authority.issue("one.test"), authority.issue("two.test")
    server = certificates(first, second, ca_certs=authority.file, client_certs="required")
    client = authority.client(authority.issue("client.test"), alpn=("h2",))
    for name in ("one.test", "two.test"):
        connection, _ = shake_hands(server, client, name)
        assert connection.selected_alpn_protocol() == "h2"
        assert len(server.facts(connection)["client_cert_chain"]) > 0
    for name in ("one.test", "two.test"):
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            shake_hands(server, authority.client(), name)


def test_a_resumed_session_has_the_certificate_of_its_name(authority: Authority) -> None:
    first, second = authority.issue("one.test"), authority.issue("two.test")
    server = certificates(first, second)
    client = authority.client()
    _, peer = shake_hands(server, client, "two.test")
    again, resumed = shake_hands(server, client, "two.test", session=peer.session)
    assert resumed.session_reused
    assert server.facts(again)["server_cert"] == second.leaf
    # OpenSSL takes a session of another name; all are negotiated alike.
    other, _ = shake_hands(server, client, "one.test", session=peer.session)
    assert server.facts(other)["server_cert"] == first.leaf


def test_listeners_with_the_same_certificates_share_them(authority: Authority) -> None:
    issued, other = authority.issue(), authority.issue()
    config = Config.of(**issued.options)
    text = f"ssl:1:privateKey={other.key}:certKey={other.certificate}"
    pair = parse_endpoint(text).pair
    assert pair is not None
    pairs = config.tls.pairs
    loaded = load_certificates(config, [pairs, pairs, (), (pair,)])
    assert set(loaded) == {pairs, (pair,)}
    assert shown(loaded[pairs], authority, HELLO) == issued.leaf
    assert shown(loaded[pair,], authority, HELLO) == other.leaf


def test_a_chain_in_a_file_of_its_own(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue(directory=tmp_path, stem="own")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(authority.intermediate.cert_pem.bytes())
    Path(issued.certificate).write_text(issued.leaf)
    text = f"ssl:1:privateKey={issued.key}:certKey={issued.certificate}:extraCertChain={chain}"
    pair = parse_endpoint(text).pair
    assert pair is not None
    server = Certificates((pair,), Tls(), http2=True)
    _, peer = shake_hands(server, authority.client())
    assert peer.getpeercert()
    chain.write_bytes(Path(issued.key).read_bytes())
    with pytest.raises(ConfigError, match=r"--endpoint extraCertChain: '.*' has no certificate"):
        Certificates((pair,), Tls(), http2=True)
    chain.unlink()
    with pytest.raises(ConfigError, match="--endpoint extraCertChain: cannot read"):
        Certificates((pair,), Tls(), http2=True)


def test_no_temporary_file_for_a_chain(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = authority.issue()
    text = f"ssl:1:privateKey={issued.key}:certKey={issued.certificate}"
    pair = parse_endpoint(f"{text}:extraCertChain={authority.file}").pair
    assert pair is not None
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(ConfigError, match="--endpoint extraCertChain: no temporary file: No such"):
        Certificates((pair,), Tls(), http2=True)


def test_a_certificate_that_is_never_used(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    first, useful, useless = (
        authority.issue("one.test", "both.test"),
        authority.issue("two.test", "both.test"),
        authority.issue("one.test", "two.test"),
    )
    certificates(first, useful)
    assert caplog.messages == []
    certificates(first, useful, useless)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"--certfile: '{useless.certificate}' is never used: "
        "the certificates before it have all of its names"
    )


@pytest.mark.parametrize(
    ("ciphers", "http2", "forbidden"),
    [
        ("", True, ""),
        ("ECDHE+AESGCM:DHE+AESGCM", True, ""),
        ("ECDHE+AESGCM:ECDHE-ECDSA-AES128-SHA256", True, "ECDHE-ECDSA-AES128-SHA256"),
        ("ECDHE-ECDSA-AES128-SHA256", False, ""),
    ],
)
def test_http2_is_not_offered_with_ciphers_that_it_forbids(
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    ciphers: str,
    http2: bool,
    forbidden: str,
) -> None:
    one, two = authority.issue(), authority.issue()
    config = Config.of(ciphers=ciphers, http2=http2)
    pairs = [(KeyPair(each.certificate, each.key),) for each in (one, two)]
    for server in load_certificates(config, pairs).values():
        client = authority.client(alpn=("h2", "http/1.1"))
        _, peer = shake_hands(server, client)
        is_offered = http2 and not forbidden
        assert peer.selected_alpn_protocol() == ("h2" if is_offered else "http/1.1")
    said = [(each.levelno, each.getMessage()) for each in caplog.records]
    warning = (
        f"--ciphers: HTTP/2 is not offered over TLS, because it forbids {forbidden} of TLS 1.2"
    )
    assert said == ([(logging.WARNING, warning)] if forbidden else [])


def test_without_a_certificate_ciphers_are_not_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    assert load_certificates(Config.of(ciphers="AES128-SHA"), [(), ()]) == {}
    assert caplog.messages == []


def test_authorities_are_looked_for_in_the_directory_that_is_named(
    authority: Authority, own: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = Path(own.key).with_name("ca.pem")
    ca.write_bytes(authority.root.cert_pem.bytes())
    config = Config.of(**own.options, ca_certs="ca.pem", client_certs="required")
    monkeypatch.chdir("/")
    with pytest.raises(ConfigError, match=r"--ca-certs: cannot read '/ca\.pem': No such"):
        load_certificates(config, [config.tls.pairs])
    assert load_certificates(config, [config.tls.pairs], str(ca.parent))


# What cannot be loaded


@pytest.fixture
def own(authority: Authority, tmp_path: Path) -> Issued:
    """A certificate whose files a test may change."""
    return authority.issue(directory=tmp_path, stem="own")


def fails(message: str, *issued: Issued, **tls: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        certificates(*issued, **tls)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


BROKEN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--certfile: cannot read '{file}': No such file or directory"),
        ("", "--certfile: '{file}' has no certificate in PEM"),
        ("hello\n", "--certfile: '{file}' has no certificate in PEM"),
        ("\0\xff", "--certfile: '{file}' has no certificate in PEM"),
        (BROKEN, "--certfile: cannot load '{file}' with the key '{key}': it is damaged"),
    ],
)
def test_bad_certificate(own: Issued, content: str | None, message: str) -> None:
    file = Path(own.certificate)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    fails(message.format(file=file, key=own.key), own)


def test_a_chain_with_something_broken(own: Issued) -> None:
    with open(own.certificate, "a") as file:
        file.write(BROKEN)
    fails(f"--certfile: cannot load '{own.certificate}' with the key '{own.key}': ", own)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--keyfile: cannot read '{key}': No such file or directory"),
        ("", "--keyfile: '{key}' has no private key in PEM"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "--certfile: cannot load '{file}' with the key '{key}': it is damaged",
        ),
    ],
)
def test_bad_key(own: Issued, content: str | None, message: str) -> None:
    key = Path(own.key)
    if content is None:
        key.unlink()
    else:
        key.write_text(content)
    fails(message.format(file=own.certificate, key=key), own)


def test_directories_in_place_of_files(own: Issued, tmp_path: Path) -> None:
    directory = str(tmp_path)
    fails(f"--certfile: cannot read '{directory}': Is a", own._replace(certificate=directory))
    fails(f"--keyfile: cannot read '{directory}': Is a", own._replace(key=directory))


def test_what_is_no_regular_file(own: Issued, tmp_path: Path) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    for file in (fifo, "/dev/null"):
        wrong = f"cannot read '{file}': it is no regular file"
        fails(f"--certfile: {wrong}", own._replace(certificate=file))
        fails(f"--keyfile: {wrong}", own._replace(key=file))
        fails(f"--ca-certs: {wrong}", own, ca_certs=file, client_certs="required")
    directory = str(tmp_path)
    fails(f"--ca-certs: cannot read '{directory}': Is a", own, ca_certs=directory)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_key_that_may_not_be_read(own: Issued) -> None:
    os.chmod(own.key, 0)
    fails(f"--keyfile: cannot read '{own.key}': Permission denied", own)


def test_a_certificate_that_only_openssl_can_read(
    own: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(certificate: bytes) -> None:
        raise ValueError("a certificate ends too early")

    monkeypatch.setattr("aserver.tls_contexts.read_names", refuse)
    fails(f"--certfile: '{own.certificate}': a certificate ends too early", own)


def test_a_file_that_vanishes_while_it_is_loaded(
    own: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = ssl.SSLContext.load_cert_chain

    def vanish(context: ssl.SSLContext, *files: Any) -> None:
        Path(own.certificate).unlink()
        load(context, *files)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", vanish)
    fails(f"--certfile: cannot read '{own.certificate}': No such file or directory", own)


def test_a_certificate_that_is_replaced_while_it_is_loaded(
    authority: Authority, own: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the application is told is what clients see."""
    new = authority.issue()
    load = ssl.SSLContext.load_cert_chain

    def replaced(context: ssl.SSLContext, *files: Any) -> None:
        if os.path.exists(new.key):
            move(new, own)
        load(context, *files)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", replaced)
    assert shown(certificates(own), authority, HELLO) == new.leaf


def test_a_certificate_that_changes_all_the_time(
    own: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = ssl.SSLContext.load_cert_chain

    def change(context: ssl.SSLContext, *files: Any) -> None:
        load(context, *files)
        with open(own.certificate, "a") as file:
            file.write("\n")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", change)
    fails(f"--certfile: '{own.certificate}' changes while it is loaded", own)


def test_authorities_that_vanish_while_they_are_loaded(
    authority: Authority, own: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read once."""
    file = tmp_path / "ca.pem"
    file.write_bytes("# Főtanúsítvány\n".encode() + authority.root.cert_pem.bytes())
    load = ssl.SSLContext.load_verify_locations

    def vanish(context: ssl.SSLContext, *args: Any, **options: Any) -> None:
        file.unlink(missing_ok=True)
        load(context, *args, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", vanish)
    pairs = [own, authority.issue("two.test")]
    server = certificates(*pairs, ca_certs=str(file), client_certs="required")
    connection, _ = shake_hands(server, authority.client(authority.issue("client.test")))
    assert server.facts(connection)["client_cert_name"] is not None
    assert not file.exists()


def test_the_key_of_another_certificate(authority: Authority, own: Issued) -> None:
    other = own._replace(key=authority.issue().key)
    fails(f"--keyfile: '{other.key}' is not the key of the certificate '{own.certificate}'", other)


def test_certificate_and_key_in_one_file(authority: Authority, own: Issued) -> None:
    with open(own.certificate, "a") as file:
        file.write(Path(own.key).read_text())
    tls = Tls(certfile=(own.certificate,))
    assert shown(Certificates(tls.pairs, tls, http2=True), authority, HELLO) == own.leaf


def test_no_key_in_the_certificates_file(own: Issued) -> None:
    wrong = f"--keyfile: '{own.certificate}' has no private key in PEM"
    fails(f"{wrong}, and there is no --keyfile for it", own._replace(key=own.certificate))


def test_no_key_in_a_file_of_its_own(authority: Authority, own: Issued) -> None:
    other = authority.issue().certificate
    with pytest.raises(ConfigError) as caught:
        certificates(own._replace(key=other))
    assert str(caught.value) == f"--keyfile: '{other}' has no private key in PEM"


def encrypt(own: Issued, kind: PrivateFormat) -> None:
    key = load_pem_private_key(Path(own.key).read_bytes(), None)
    Path(own.key).write_bytes(
        key.private_bytes(Encoding.PEM, kind, BestAvailableEncryption(b"secret"))
    )


@pytest.mark.parametrize("kind", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key(authority: Authority, own: Issued, kind: PrivateFormat) -> None:
    encrypt(own, kind)
    server = certificates(own, keyfile_password="secret")
    assert shown(server, authority, HELLO) == own.leaf
    fails(f"--keyfile-password: it is not the password of '{own.key}'", own, keyfile_password="x")
    fails(f"--keyfile-password: it is not the password of '{own.key}'", own, keyfile_password="")
    fails(f"--keyfile: '{own.key}' is encrypted: give --keyfile-password", own)
    fails("--keyfile-password: password cannot be longer", own, keyfile_password="x" * 2000)


def test_a_password_that_nobody_asks_for(authority: Authority, own: Issued) -> None:
    assert shown(certificates(own, keyfile_password="x"), authority, HELLO) == own.leaf


@pytest.mark.parametrize("ciphers", ["nonsense", "TLS_AES_128_GCM_SHA256", " "])
def test_bad_ciphers(own: Issued, ciphers: str) -> None:
    fails(f"--ciphers: OpenSSL knows no cipher of TLS 1.2 in {ciphers!r}", own, ciphers=ciphers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--ca-certs: cannot read '{file}': No such file or directory"),
        ("", "--ca-certs: '{file}' has no certificate in PEM"),
        (BROKEN, "--ca-certs: cannot load '{file}': "),
    ],
)
def test_bad_authorities(own: Issued, tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    fails(message.format(file=file), own, ca_certs=str(file), client_certs="required")


# Loaded anew


def test_reload(authority: Authority, own: Issued, caplog: pytest.LogCaptureFixture) -> None:
    server = certificates(own)
    before, _ = shake_hands(server, authority.client())
    new = authority.issue()
    move(new, own)
    with caplog.at_level(logging.INFO, "aserver.server"):
        server.reload()
    assert shown(server, authority, HELLO) == new.leaf
    assert caplog.messages == [f"Certificates loaded, with the serial numbers {serial_of(new)}"]
    assert server.serials == serial_of(new)
    # A connection keeps what it has shown.
    assert server.facts(before)["server_cert"] == own.leaf


def test_a_handshake_that_began_before_a_reload(authority: Authority, own: Issued) -> None:
    server = certificates(own)
    bios = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = server.wrap(*bios)

    class Begun:
        def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
            started = server.wrap(incoming, outgoing)
            move(authority.issue(), own)
            server.reload()
            return started

    finished, _ = shake_hands(Begun(), authority.client())
    assert server.facts(finished)["server_cert"] == own.leaf
    assert connection.context is not server.context


@pytest.mark.parametrize("change", ["cut", "gone", "other"])
def test_a_bad_pair_changes_nothing(
    authority: Authority, own: Issued, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    other = authority.issue("second.test")
    server = certificates(other, own)
    context = server.context
    match change:
        case "cut":
            Path(own.certificate).write_text(own.leaf[:100])
        case "gone":
            Path(own.key).unlink()
        case "other":
            Path(own.key).write_text(Path(other.key).read_text())
    with caplog.at_level(logging.INFO, "aserver.server"):
        server.reload()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("The certificates stay as they were: --")
    assert (own.certificate if change == "cut" else own.key) in record.getMessage()
    assert server.context is context
    assert shown(server, authority, HELLO) == own.leaf
    assert server.serials == f"{serial_of(other)}, {serial_of(own)}"


def test_certificates_that_are_replaced_are_let_go(authority: Authority, own: Issued) -> None:
    server = certificates(own, authority.issue("second.test"))
    old = weakref.ref(server.context)
    server.reload()
    gc.collect()
    assert old() is None


def test_files_are_found_after_a_change_of_directory(
    authority: Authority, own: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = own._replace(certificate="own.pem", key="own.key")
    Path("ca.pem").write_bytes(authority.root.cert_pem.bytes())
    server = certificates(here, ca_certs="ca.pem", client_certs="optional")
    new = authority.issue()
    move(new, own)
    monkeypatch.chdir("/")
    server.reload()
    assert shown(server, authority, HELLO) == new.leaf


# Watched


def test_a_renewal_is_noticed(
    authority: Authority, own: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    server = certificates(own)
    new = authority.issue()
    with caplog.at_level(logging.INFO, "aserver.server"):
        for _ in range(3):
            server.check()
        os.replace(new.certificate, own.certificate)
        server.check()  # it may be written still
        os.replace(new.key, own.key)
        server.check()
        assert caplog.messages == []
        server.check()
        assert caplog.messages == [f"Certificates loaded, with the serial numbers {serial_of(new)}"]
        for _ in range(3):
            server.check()
    assert len(caplog.messages) == 1
    assert shown(server, authority, HELLO) == new.leaf


def test_a_bad_renewal_is_said_once_and_the_next_one_noticed(
    authority: Authority, own: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    server = certificates(own)
    new = authority.issue()
    with caplog.at_level(logging.INFO, "aserver.server"):
        os.replace(new.certificate, own.certificate)
        for _ in range(5):
            server.check()
        (message,) = caplog.messages
        assert "is not the key of the certificate" in message
        assert shown(server, authority, HELLO) == own.leaf
        os.replace(new.key, own.key)
        for _ in range(5):
            server.check()
    assert len(caplog.messages) == 2
    assert shown(server, authority, HELLO) == new.leaf


def test_a_file_that_is_gone_for_a_moment(
    own: Issued, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    server = certificates(own)
    aside = tmp_path / "aside"
    with caplog.at_level(logging.INFO, "aserver.server"):
        os.rename(own.key, aside)
        server.check()
        os.rename(aside, own.key)
        for _ in range(3):
            server.check()
    # It may be another one.
    assert caplog.messages == [f"Certificates loaded, with the serial numbers {serial_of(own)}"]


def test_a_mode_that_is_mended(
    authority: Authority,
    own: Issued,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As whoever renews them does, a moment late: nothing else changes."""
    server = certificates(own)
    new = authority.issue()
    os.chmod(new.key, 0)
    move(new, own)
    # Root, who may run this, reads everything.
    open_file = os.open

    def refuse(file: str, *args: Any, **options: Any) -> int:
        if not os.stat(file).st_mode & 0o777:
            raise PermissionError(errno.EACCES, "no")
        return open_file(file, *args, **options)

    monkeypatch.setattr("aserver.tls_contexts.os.open", refuse)
    with caplog.at_level(logging.INFO, "aserver.server"):
        for _ in range(3):
            server.check()
        (message,) = caplog.messages
        assert message.endswith(f"--keyfile: cannot read '{own.key}': Permission denied")
        os.chmod(own.key, 0o600)
        for _ in range(3):
            server.check()
    assert len(caplog.messages) == 2
    assert shown(server, authority, HELLO) == new.leaf


def test_what_changes_while_it_is_loaded_is_loaded_again(
    authority: Authority, own: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = authority.issue()
    load = ssl.SSLContext.load_cert_chain

    def slow(context: ssl.SSLContext, *files: Any) -> None:
        load(context, *files)
        if os.path.exists(new.key):
            move(new, own)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", slow)
    server = certificates(own)
    for _ in range(2):
        server.check()
    assert shown(server, authority, HELLO) == new.leaf


def test_authorities_and_chains_are_watched(authority: Authority, own: Issued) -> None:
    ca = Path(own.key).with_name("ca.pem")
    ca.write_bytes(authority.root.cert_pem.bytes())
    text = f"ssl:1:privateKey={own.key}:certKey={own.certificate}:extraCertChain="
    chain = ca.with_name("chain.pem")
    chain.write_bytes(authority.intermediate.cert_pem.bytes())
    pair = parse_endpoint(text + str(chain)).pair
    assert pair is not None
    server = Certificates((pair,), Tls(ca_certs=str(ca), client_certs="optional"), http2=True)
    for file in (ca, chain):
        context = server.context
        os.utime(file, ns=(1, 1))
        server.check()
        assert server.context is context
        server.check()
        assert server.context is not context


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_is_left_open(own: Issued) -> None:
    server = certificates(own)
    before = os.listdir("/proc/self/fd")
    server.reload()
    assert os.listdir("/proc/self/fd") == before
