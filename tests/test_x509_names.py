"""What a certificate says of itself, compared with what `cryptography` reads."""

import contextlib
import datetime
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from aserver.x509_names import Names, read_names
from tests.certificates import Authority

# Its signatures are the same every time, and so is all that is made of them here.
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
NOW = datetime.datetime(2026, 1, 1)


def name_of(*names: Sequence[x509.NameAttribute[str]]) -> x509.Name:
    return x509.Name([x509.RelativeDistinguishedName(each) for each in names])


def certificate(
    subject: x509.Name | None = None,
    dns: Sequence[str] = (),
    serial: int = 1,
    others: Sequence[x509.ExtensionType] = (),
) -> bytes:
    """A certificate, DER."""
    empty = x509.Name([])
    builder = x509.CertificateBuilder(
        issuer_name=empty,
        subject_name=subject or empty,
        public_key=KEY.public_key(),
        serial_number=serial,
        not_valid_before=NOW,
        not_valid_after=NOW + datetime.timedelta(days=1),
    )
    for extension in others:
        builder = builder.add_extension(extension, critical=True)
    if dns:
        names = [x509.DNSName(each) for each in dns]
        address = x509.RFC822Name("a@b")
        builder = builder.add_extension(x509.SubjectAlternativeName([address, *names]), False)
    made = builder.sign(KEY, None)
    return made.public_bytes(serialization.Encoding.DER)


def test_an_issued_certificate(authority: Authority) -> None:
    pem = authority.issue("One.test", "*.two.test").leaf
    theirs = x509.load_pem_x509_certificate(pem.encode())
    ours = read_names(theirs.public_bytes(serialization.Encoding.DER))
    assert ours.serial == theirs.serial_number
    assert ours.dns == ("one.test", "*.two.test")
    assert [each.oid for names in ours.subject for each in names] == [
        each.oid.dotted_string for names in theirs.subject.rdns for each in names
    ]


def test_names_and_other_extensions() -> None:
    others = [x509.BasicConstraints(False, None), x509.OCSPNoCheck()]
    assert read_names(certificate(dns=["A.test", "b.test"], others=others)).dns == (
        "a.test",
        "b.test",
    )


def test_nothing_said() -> None:
    assert read_names(certificate()) == Names(1, (), ())


@pytest.mark.parametrize("serial", [1, 127, 128, 255, 256, 2**158])
def test_serial_numbers(serial: int) -> None:
    assert read_names(certificate(serial=serial)).serial == serial


def element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes(3, "big")
    return bytes([tag, 0x83]) + digits + content


def made_by_hand(oid: bytes, value: bytes, extensions: bytes = b"") -> bytes:
    """A certificate with one name: the parts that are read, and nothing of the others."""
    empty = element(0x30)
    attribute = element(0x30, element(0x06, oid), value)
    subject = element(0x30, element(0x31, attribute))
    # The old unique identifiers stand between the key and the extensions.
    unique = element(0x81, b"\0") + element(0x82, b"\0")
    rest = element(0x02, b"\x07") + 3 * empty + subject + empty + unique + extensions
    return element(0x30, element(0x30, rest), empty, element(0x03))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (element(0x12, b"12"), "12"),  # NumericString
        (element(0x13, b"a b"), "a b"),  # PrintableString
        (element(0x16, b"a@b"), "a@b"),  # IA5String
        (element(0x1A, b"a b"), "a b"),  # VisibleString
        (element(0x1E, "ä€".encode("utf-16-be")), "ä€"),  # BMPString
        (element(0x1C, "ä€".encode("utf-32-be")), "ä€"),  # UniversalString
        (element(0x14, b"\xe4"), "ä"),  # TeletexString
        (element(0x0C, b"\xff"), None),  # no UTF-8
        (element(0x1E, b"\xd8\x00"), None),  # half of a surrogate pair
        (element(0x13, b"\xe4"), None),  # no ASCII
        (element(0x03, b"\0\1"), None),  # a BIT STRING
        (element(0x0C, b"x" * 300), "x" * 300),
    ],
)
def test_values(value: bytes, text: str | None) -> None:
    names = read_names(made_by_hand(b"\x55\x04\x03", value))
    assert names.serial == 7
    assert names.subject == ((("2.5.4.3", text, value),),)


@pytest.mark.parametrize(
    ("content", "oid"),
    [
        (b"\x55\x04\x03", "2.5.4.3"),
        (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "0.9.2342.19200300.100.1.25"),
        (b"\x2b", "1.3"),
        (b"\x88\x37", "2.999"),
    ],
)
def test_object_identifiers(content: bytes, oid: str) -> None:
    (((found, _, _),),) = read_names(made_by_hand(content, element(0x0C))).subject
    assert found == oid


@pytest.mark.parametrize("content", [b"", b"\x55\x84", b"\x55" + b"\x84" * 200 + b"\x01"])
def test_object_identifiers_that_cannot_be(content: bytes) -> None:
    with pytest.raises(ValueError, match="object identifier"):
        read_names(made_by_hand(content, element(0x0C)))


GOOD = certificate(
    name_of([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60)]), ["a.test", "b.test"]
)


@pytest.mark.parametrize("size", range(0, len(GOOD) - 80, 7))
def test_a_part_of_a_certificate(size: int) -> None:
    with pytest.raises(ValueError, match=r"^a certificate "):
        read_names(GOOD[:size])


@pytest.mark.parametrize("length", [b"\x80", b"\x85\x00\x00\x00\x00\x01", b"\xff"])
def test_lengths_that_cannot_be(length: bytes) -> None:
    with pytest.raises(ValueError, match="no possible length"):
        read_names(b"\x30" + length + b"\x00" * 200)


@given(position=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_a_damaged_certificate_is_read_or_refused(position: int, value: int) -> None:
    damaged = bytearray(GOOD)
    damaged[position] = value
    with contextlib.suppress(ValueError):
        assert isinstance(read_names(bytes(damaged)), Names)


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_names(data), Names)
