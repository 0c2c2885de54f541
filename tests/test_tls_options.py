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


@pytest.mark.parametrize(
    ("certificates", "keys", "message"),
    [
        (
            ("a",),
            ("k", "l"),
            "--keyfile: there are more keys than certificates (--certfile): 2 and 1",
        ),
        ((), ("k",), "--keyfile: there is no certificate for it (--certfile)"),
        (("",), (), "--certfile: the name of the file is empty"),
        (("a", ""), ("k",), "--certfile: the name of the file is empty"),
        (("a",), ("",), "--keyfile: the name of the file is empty"),
    ],
)
def test_what_is_no_pair(
    certificates: tuple[str, ...], keys: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _ = Tls(certfile=certificates, keyfile=keys).pairs
    assert str(caught.value) == message


def test_files_within_a_directory() -> None:
    pair = KeyPair("a", "/b", "c", ("d", "e"))
    assert pair.within("/x") == KeyPair("/x/a", "/b", "/x/c", ("d", "e"))
    assert pair.within("") == pair
    assert KeyPair("a", "b").within("/x").chain == ""


@pytest.mark.parametrize(
    ("options", "has_certificate", "message"),
    [
        ({"client_certs": "required"}, True, "--client-certs required: whose certificates"),
        ({"client_certs": "optional"}, True, "--client-certs optional: whose certificates"),
        ({"client_certs": "optional"}, False, "--client-certs: there is no certificate of the"),
        ({"ca_certs": "c"}, False, "--ca-certs: there is no certificate of the server"),
        ({"keyfile": ("k",)}, False, "--keyfile: there is no certificate of the server"),
        ({"keyfile_password": ""}, False, "--keyfile-password: there is no certificate of the"),
        ({"tls_min_version": "1.3"}, False, "--tls-min-version: there is no certificate of the"),
        ({"ciphers": "ECDHE"}, False, "--ciphers: there is no certificate of the server"),
        ({"tls_handshake_timeout": 5}, False, "--tls-handshake-timeout: there is no certificate"),
        ({"ca_certs": "c"}, True, "--ca-certs: no client is asked for a certificate"),
        ({"ca_certs": ""}, True, "--ca-certs: the name of the file is empty"),
        ({"ca_certs": "", "client_certs": "required"}, True, "--ca-certs: the name of the file"),
        (
            {"ciphers": "ECDHE", "tls_min_version": "1.3"},
            True,
            r"--ciphers: they are for TLS 1.2, which is not spoken \(--tls-min-version 1.3\)",
        ),
    ],
)
def test_what_does_not_fit_together(
    options: dict[str, Any], has_certificate: bool, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Tls(**options).check(has_certificate=has_certificate)


def test_what_fits_together() -> None:
    Tls(client_certs="required", ca_certs="c").check(has_certificate=True)
    Tls(ciphers="ECDHE").check(has_certificate=True)
    Tls(tls_min_version="1.3").check(has_certificate=True)
    Tls().check(has_certificate=True)
