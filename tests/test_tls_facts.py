"""ASGI's `tls` extension: names as RFC 4514 writes them, and the facts of real handshakes."""

import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.config import Tls
from aserver.tls_contexts import Certificates
from aserver.tls_facts import subject
from tests.certificates import Authority, Issued, shake_hands
from tests.test_x509_names import certificate, element, made_by_hand, name_of

SHORT = [
    NameOID.COMMON_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.STREET_ADDRESS,
    NameOID.USER_ID,
]
COMMON = NameOID.COMMON_NAME


def one(oid: x509.ObjectIdentifier, text: str) -> x509.Name:
    return name_of([x509.NameAttribute(oid, text)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (one(COMMON, "client"), "CN=client"),
        (one(NameOID.COUNTRY_NAME, "DE"), "C=DE"),
        (
            name_of(
                [x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "com")],
                [x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "example")],
                [x509.NameAttribute(COMMON, "J. Smith")],
            ),
            "CN=J. Smith,DC=example,DC=com",
        ),
        (
            name_of(
                [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "O")],
                [x509.NameAttribute(COMMON, "a"), x509.NameAttribute(NameOID.USER_ID, "b")],
            ),
            "CN=a+UID=b,O=O",
        ),
        # RFC 4514 section 4.
        (one(COMMON, 'James "Jim" Smith, III'), 'CN=James \\"Jim\\" Smith\\, III'),
        (one(COMMON, "Lučić"), "CN=Lučić"),
        (one(COMMON, "a\\b;c<d>e+f=g"), "CN=a\\\\b\\;c\\<d\\>e\\+f=g"),
        (one(COMMON, "# a "), "CN=\\# a\\ "),
        (one(COMMON, " a# "), "CN=\\ a#\\ "),
        (one(COMMON, " "), "CN=\\ "),
        (one(COMMON, "a\0b"), "CN=a\\00b"),
        # RFC 4514 section 2.4: of a type without a short name, the encoding.
        (one(NameOID.EMAIL_ADDRESS, "a@b"), "1.2.840.113549.1.9.1=#1603614062"),
    ],
)
def test_names(name: x509.Name, expected: str) -> None:
    assert subject(certificate(name)) == expected


def test_a_value_that_is_no_text() -> None:
    value = element(0x03, b"\0\1")
    assert subject(made_by_hand(b"\x55\x04\x03", value)) == "CN=#03020001"


def test_no_name() -> None:
    assert subject(certificate()) == ""


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda t: t != " ")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(SHORT), TEXTS, min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_names_as_another_library_writes_them(
    names: list[dict[x509.ObjectIdentifier, str]],
) -> None:
    made = name_of(
        *([x509.NameAttribute(oid, text) for oid, text in each.items()] for each in names)
    )
    der = certificate(made)
    assert subject(der) == x509.load_der_x509_certificate(der).subject.rfc4514_string()


# Handshakes


def certificates(own: Issued, tls: dict[str, Any] | None = None) -> Certificates:
    made = Tls(certfile=(own.certificate,), keyfile=(own.key,), **(tls or {}))
    return Certificates(made.pairs, made, http2=True)


def asking(authority: Authority, kind: str) -> dict[str, Any]:
    return {"client_certs": kind, "ca_certs": authority.file}


@pytest.mark.parametrize(
    ("version", "number"),
    [(ssl.TLSVersion.TLSv1_2, 0x0303), (ssl.TLSVersion.TLSv1_3, 0x0304)],
)
def test_without_a_client_certificate(
    authority: Authority, version: ssl.TLSVersion, number: int
) -> None:
    own = authority.issue()
    server = certificates(own)
    client = authority.client()
    client.minimum_version = client.maximum_version = version
    connection, peer = shake_hands(server, client)
    suites = {each["name"]: each["id"] & 0xFFFF for each in client.get_ciphers()}
    cipher = peer.cipher()
    assert cipher is not None
    assert server.facts(connection) == {
        "server_cert": own.leaf,
        "tls_version": number,
        "cipher_suite": suites[cipher[0]],
        "client_cert_chain": (),
        "client_cert_name": None,
        "client_cert_error": None,
    }


@pytest.mark.parametrize(
    ("version", "suite", "number"),
    [
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02B),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305", 0xCCA9),
        (ssl.TLSVersion.TLSv1_3, "", 0x1302),  # OpenSSL's first
    ],
)
def test_cipher_suites_have_ianas_numbers(
    authority: Authority, version: ssl.TLSVersion, suite: str, number: int
) -> None:
    server = certificates(authority.issue())
    client = authority.client()
    client.minimum_version = client.maximum_version = version
    if suite:
        client.set_ciphers(suite)
    connection, _ = shake_hands(server, client)
    assert server.facts(connection)["cipher_suite"] == number


@pytest.mark.parametrize("kind", ["optional", "required"])
def test_with_a_client_certificate(authority: Authority, kind: str) -> None:
    server = certificates(authority.issue(), asking(authority, kind))
    theirs = authority.issue("client.test")
    connection, _ = shake_hands(server, authority.client(theirs))
    facts = server.facts(connection)
    chain = facts["client_cert_chain"]
    assert chain[0] == theirs.leaf
    if sys.version_info >= (3, 13):
        assert chain[1:] == (
            authority.intermediate.cert_pem.bytes().decode(),
            authority.root.cert_pem.bytes().decode(),
        )
    else:
        assert len(chain) == 1
    named = x509.load_pem_x509_certificate(theirs.leaf.encode()).subject.rfc4514_string()
    assert facts["client_cert_name"] == named
    assert facts["client_cert_error"] is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_knows_its_client(authority: Authority, version: ssl.TLSVersion) -> None:
    server = certificates(authority.issue(), asking(authority, "required"))
    theirs = authority.issue("client.test")
    client = authority.client(theirs)
    client.minimum_version = client.maximum_version = version
    first, peer = shake_hands(server, client)
    again, resumed = shake_hands(server, client, session=peer.session)
    assert resumed.session_reused
    facts = server.facts(again)
    assert facts["client_cert_chain"][0] == theirs.leaf
    assert facts["client_cert_name"] == server.facts(first)["client_cert_name"]


def test_an_optional_client_certificate_that_is_not_shown(authority: Authority) -> None:
    server = certificates(authority.issue(), asking(authority, "optional"))
    connection, _ = shake_hands(server, authority.client())
    facts = server.facts(connection)
    assert facts["client_cert_chain"] == ()
    assert facts["client_cert_name"] is None


def test_a_required_client_certificate_that_is_not_shown(authority: Authority) -> None:
    server = certificates(authority.issue(), asking(authority, "required"))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(server, authority.client())


@pytest.mark.parametrize("kind", ["optional", "required"])
def test_a_client_certificate_of_somebody_else(
    authority: Authority, tmp_path: Path, kind: str
) -> None:
    server = certificates(authority.issue(), asking(authority, kind))
    stranger = Authority(tmp_path).issue("client.test")
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake_hands(server, authority.client(stranger))


def test_the_pem_is_what_other_libraries_read(authority: Authority) -> None:
    server = certificates(authority.issue("pem.test"))
    connection, peer = shake_hands(server, authority.client(), "pem.test")
    pem = server.facts(connection)["server_cert"]
    read = x509.load_pem_x509_certificate(pem.encode())
    assert read.public_bytes(serialization.Encoding.DER) == peer.getpeercert(binary_form=True)
