"""The options of TLS: spelling, pairs of certificates and keys, and what does not fit together."""

from typing import Any

import pytest

from aserver.config import Config
from aserver.declarations import ConfigError
from aserver.options import load
from aserver.tls_options import KeyPair, Tls


def test_by_default_there_is_no_tls() -> None:
    tls = Config().tls
    assert tls.pairs == ()
    tls.check(has_certificate=False)
    assert (tls.tls_min_version, tls.client_certs, tls.tls_handshake_timeout) == ("1.2", "none", 10)


def test_spelling_as_with_other_servers() -> None:
    argv = [
        *("--ssl-certfile", "a.pem", "--ssl-keyfile", "a.key", "--ssl-keyfile-password", "secret"),
        *("--ssl-ciphers", "ALL", "--ssl-ca-certs", "ca.pem"),
    ]
    assert load(argv, {}).config.tls == Tls(
        certfile=("a.pem",),
        keyfile=("a.key",),
        keyfile_password="secret",
        ciphers="ALL",
        ca_certs="ca.pem",
    )


@pytest.mark.parametrize(
    ("certificates", "keys", "expected"),
    [
        (("a",), ("k",), (KeyPair("a", "k"),)),
        (("a",), (), (KeyPair("a", "a"),)),
        (("a", "b"), ("k", "l"), (KeyPair("a", "k"), KeyPair("b", "l"))),
        (("a", "b"), ("k",), (KeyPair("a", "k"), KeyPair("b", "b"))),
    ],
)
def test_pairs(
    certificates: tuple[str, ...], keys: tuple[str, ...], expected: tuple[KeyPair, ...]
) -> None:
    assert Tls(certfile=certificates, keyfile=keys).pairs == expected


def test_more_keys_than_certificates() -> None:
    with pytest.raises(ConfigError, match=r"^--keyfile: there are 2 keys for 1 certificates"):
        _ = Tls(certfile=("a",), keyfile=("k", "l")).pairs


@pytest.mark.parametrize(
    ("options", "has_certificate", "message"),
    [
        ({"client_certs": "required"}, True, "--client-certs required: whose certificates"),
        ({"client_certs": "optional"}, True, "--client-certs optional: whose certificates"),
        ({"client_certs": "optional"}, False, "--client-certs: there is no certificate of the"),
        ({"ca_certs": "c"}, False, "--ca-certs: there is no certificate of the server"),
        ({"ca_certs": "c"}, True, "--ca-certs: no client is asked for a certificate"),
    ],
)
def test_what_does_not_fit_together(
    options: dict[str, Any], has_certificate: bool, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Tls(**options).check(has_certificate=has_certificate)


def test_what_fits_together() -> None:
    Tls(client_certs="required", ca_certs="c").check(has_certificate=True)
    Tls().check(has_certificate=True)
