"""The cipher suites of TLS 1.2."""

import ssl

import pytest

from aserver.declarations import ConfigError
from aserver.tls_ciphers import forbidden_suite, set_ciphers


def spoken(ciphers: str) -> set[str]:
    """The suites of TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    set_ciphers(context, ciphers)
    suites = context.get_ciphers()
    return {each["name"] for each in suites if each["protocol"] != "TLSv1.3"}


def test_the_default() -> None:
    names = spoken("")
    assert "ECDHE-ECDSA-CHACHA20-POLY1305" in names
    assert "ECDHE-RSA-AES128-GCM-SHA256" in names  # RFC 9113 section 9.2.2: it must be there
    assert all(each.startswith("ECDHE-") and "SHA1" not in each for each in names)


def test_own() -> None:
    assert spoken("ECDHE-RSA-AES128-SHA256") == {"ECDHE-RSA-AES128-SHA256"}


@pytest.mark.parametrize("ciphers", ["nonsense", " "])
def test_unknown(ciphers: str) -> None:
    for check in (spoken, forbidden_suite):
        with pytest.raises(ConfigError, match=r"^--ciphers: OpenSSL knows no cipher of TLS"):
            check(ciphers)


@pytest.mark.parametrize(
    ("ciphers", "forbidden"),
    [
        ("", ""),
        ("ECDHE+AESGCM", ""),
        ("DHE-RSA-AES256-GCM-SHA384", ""),
        ("ECDHE-RSA-CHACHA20-POLY1305", ""),
        ("ECDHE-ECDSA-AES128-CCM", ""),
        ("AES128-GCM-SHA256", "AES128-GCM-SHA256"),  # no forward secrecy
        ("ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256"),  # no authenticated encryption
        ("ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"),
        ("ADH-AES128-GCM-SHA256:@SECLEVEL=0", "ADH-AES128-GCM-SHA256"),  # no authentication
        ("ECDHE+AESGCM:AES256-SHA", "AES256-SHA"),
    ],
)
def test_what_http2_forbids(ciphers: str, forbidden: str) -> None:
    assert forbidden_suite(ciphers) == forbidden
