"""What a TLS connection is, in the words of ASGI's `tls` extension (ASGI TLS extension 0.2)."""

import ssl
import sys
from collections.abc import Mapping
from typing import Any

from .x509_names import Attribute, read_names

_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

# RFC 4514 section 3: the short names that everybody knows. All others are shown as numbers.
_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
# RFC 4514 section 2.4
_ESCAPES = str.maketrans({each: f"\\{each}" for each in '"+,;<>\\'} | {"\0": "\\00"})


def facts(
    connection: ssl.SSLObject, server_certificate: str, suites: Mapping[str, int]
) -> dict[str, Any]:
    """The `tls` extension of a connection whose handshake is complete.

    Args:
        connection: The connection.
        server_certificate: What it has shown to the client, PEM.
        suites: The number of each cipher suite.

    Raises:
        ValueError: The client's certificate cannot be read, though OpenSSL took it.
    """
    chain = _client_chain(connection)
    cipher = connection.cipher()
    return {
        "server_cert": server_certificate,
        "tls_version": _VERSIONS.get(connection.version() or ""),
        "cipher_suite": suites.get(cipher[0]) if cipher else None,
        "client_cert_chain": tuple(map(ssl.DER_cert_to_PEM_cert, chain)),
        "client_cert_name": subject(chain[0]) if chain else None,
        "client_cert_error": None,  # with a bad certificate there is no connection
    }


def _client_chain(connection: ssl.SSLObject) -> list[bytes]:
    """The certificates of the client, its own first; empty if it has shown none."""
    own = connection.getpeercert(binary_form=True)
    if own is None:
        return []
    if sys.version_info >= (3, 13):
        # Of a resumed session only the client's own is known.
        verified: list[bytes] = connection.get_verified_chain()
        if verified:
            return verified
    return [own]


def subject(certificate: bytes) -> str:
    """The subject of a certificate as RFC 4514 writes it: the last of its names first."""
    names = read_names(certificate).subject
    return ",".join("+".join(map(_shown, each)) for each in reversed(names))


def _shown(attribute: Attribute) -> str:
    name = _SHORT_NAMES.get(attribute.oid)
    if name is None or attribute.text is None:
        # RFC 4514 section 2.4: behind a number, and without a text, stands the encoding.
        return f"{name or attribute.oid}=#{attribute.der.hex()}"
    return f"{name}={_escaped(attribute.text)}"


def _escaped(text: str) -> str:
    escaped = text.translate(_ESCAPES)
    if escaped.endswith(" "):
        escaped = escaped[:-1] + "\\ "
    # A single space is both the first and the last.
    if escaped.startswith(("#", " ")):
        escaped = "\\" + escaped
    return escaped
