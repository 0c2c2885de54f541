"""What a certificate says of itself: serial number, subject, DNS names (RFC 5280 section 4.1).

`ssl` decodes certificates of verified peers only, and not the server's own. This reads what is
needed of the DER, whole and in order, and nothing else; whoever calls it has had OpenSSL read the
certificate before.
"""

from typing import NamedTuple

_BOOLEAN = 0x01
_INTEGER = 0x02
_OCTET_STRING = 0x04
_OBJECT_IDENTIFIER = 0x06
_SEQUENCE = 0x30
_SET = 0x31
_VERSION = 0xA0  # [0], explicit
_EXTENSIONS = 0xA3  # [3], explicit
_DNS_NAME = 0x82  # [2] IA5String in a GeneralName

_SUBJECT_ALT_NAME = "2.5.29.17"
_MAX_OID_SIZE = 128  # of a number as long as a certificate, the digits would take seconds

# String types that have one encoding (X.690); of a TeletexString, what everybody writes.
_ENCODINGS = {
    0x0C: "utf-8",  # UTF8String
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


class Attribute(NamedTuple):
    """A type and a value of a name.

    Attributes:
        oid: The type, dotted.
        text: The value; None if it is no text.
        der: The value's encoding.
    """

    oid: str
    text: str | None
    der: bytes


class Names(NamedTuple):
    """What a certificate says of itself.

    Attributes:
        serial: Its serial number.
        subject: Its relative distinguished names, in the order of the encoding.
        dns: The DNS names of its subjectAltName, in lower case.
    """

    serial: int
    subject: tuple[tuple[Attribute, ...], ...]
    dns: tuple[str, ...]


def read_names(certificate: bytes) -> Names:
    """Read a certificate.

    Raises:
        ValueError: It is none.
    """
    outer = _Reader(_Reader(certificate).take(_SEQUENCE)).take(_SEQUENCE)
    reader = _Reader(outer)
    if reader.tag == _VERSION:
        reader.take(_VERSION)
    serial = int.from_bytes(reader.take(_INTEGER), "big", signed=True)
    reader.take(_SEQUENCE)  # signature
    reader.take(_SEQUENCE)  # issuer
    reader.take(_SEQUENCE)  # validity
    subject = _name(reader.take(_SEQUENCE))
    reader.take(_SEQUENCE)  # subjectPublicKeyInfo
    while reader.tag not in (_EXTENSIONS, None):
        reader.skip()  # the unique identifiers
    extensions = reader.take(_EXTENSIONS) if reader.tag == _EXTENSIONS else b""
    return Names(serial, subject, _dns_names(extensions))


class _Reader:
    """Takes elements from an encoding, one after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def tag(self) -> int | None:
        """Of the next element; None: that was the last."""
        return self._data[self._at] if self._at < len(self._data) else None

    def take(self, tag: int) -> bytes:
        """The content of the next element, which must be one of these."""
        if self.tag != tag:
            raise ValueError(f"a certificate has {self.tag} where there should be {tag}")
        return self._take()

    def skip(self) -> None:
        """Take the next element, whatever it is."""
        self._take()

    def take_encoded(self) -> bytes:
        """The next element with its tag and length."""
        start = self._at
        self._take()
        return self._data[start : self._at]

    def _take(self) -> bytes:
        if self._at + 2 > len(self._data):
            raise ValueError("a certificate ends too early")
        length = self._data[self._at + 1]
        start = self._at + 2
        if length & 0x80:
            size = length & 0x7F
            if not 0 < size <= 4:  # DER has no indefinite length, and nobody has 4 GiB
                raise ValueError("a certificate has an element of no possible length")
            length = int.from_bytes(self._data[start : start + size], "big")
            start += size
        end = start + length
        if end > len(self._data):
            raise ValueError("a certificate ends too early")
        self._at = end
        return self._data[start:end]


def _name(content: bytes) -> tuple[tuple[Attribute, ...], ...]:
    reader = _Reader(content)
    found = []
    while reader.tag is not None:
        members = _Reader(reader.take(_SET))
        attributes = []
        while members.tag is not None:
            attribute = _Reader(members.take(_SEQUENCE))
            oid = _oid(attribute.take(_OBJECT_IDENTIFIER))
            attributes.append(_attribute(oid, attribute.take_encoded()))
        found.append(tuple(attributes))
    return tuple(found)


def _attribute(oid: str, der: bytes) -> Attribute:
    encoding = _ENCODINGS.get(der[0])
    if encoding is None:
        return Attribute(oid, None, der)
    try:
        return Attribute(oid, _Reader(der).take(der[0]).decode(encoding), der)
    except UnicodeDecodeError:
        return Attribute(oid, None, der)


def _oid(content: bytes) -> str:
    if not content or content[-1] & 0x80 or len(content) > _MAX_OID_SIZE:
        raise ValueError("a certificate has an object identifier that cannot be")
    numbers = []
    number = 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _dns_names(extensions: bytes) -> tuple[str, ...]:
    found: list[str] = []
    if not extensions:
        return ()
    reader = _Reader(_Reader(extensions).take(_SEQUENCE))
    while reader.tag is not None:
        extension = _Reader(reader.take(_SEQUENCE))
        oid = _oid(extension.take(_OBJECT_IDENTIFIER))
        if extension.tag == _BOOLEAN:
            extension.skip()
        value = extension.take(_OCTET_STRING)
        if oid == _SUBJECT_ALT_NAME:
            found += _general_names(_Reader(value).take(_SEQUENCE))
    return tuple(found)


def _general_names(content: bytes) -> list[str]:
    reader = _Reader(content)
    found = []
    while reader.tag is not None:
        if reader.tag == _DNS_NAME:
            found.append(reader.take(_DNS_NAME).decode("ascii", "replace").lower())
        else:
            reader.skip()
    return found
