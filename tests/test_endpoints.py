"""Twisted's endpoint strings: what is understood, and what is said of the rest."""

import re

import pytest

from aserver.declarations import ConfigError
from aserver.endpoints import Endpoint, parse_endpoint
from aserver.tls_options import KeyPair

LABELS = ("--endpoint certKey", "--endpoint privateKey")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp:80", "", 80),
        ("tcp:port=80", "", 80),
        ("tcp:80:interface=127.0.0.1", "127.0.0.1", 80),
        ("tcp:port=8000:interface=127.0.0.1", "127.0.0.1", 8000),
        ("tcp:interface=localhost:port=0", "localhost", 0),
        (r"tcp:80:interface=\:\:1", "::1", 80),
        (r"tcp:80:interface=[\:\:1]", "::1", 80),
        (r"tcp:8\0", "", 80),
        ("tcp:port=80:port=81", "", 81),
        ("tcp:80:interface=a:interface=b", "b", 80),
    ],
)
def test_tcp(text: str, host: str, port: int) -> None:
    assert parse_endpoint(text) == Endpoint(host, port, None)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        # As in Daphne's README.
        ("ssl:443:privateKey=key.pem:certKey=crt.pem", KeyPair("crt.pem", "key.pem")),
        ("ssl:443:privateKey=both.pem", KeyPair("both.pem", "both.pem")),
        ("ssl:443:key.pem:crt.pem", KeyPair("crt.pem", "key.pem")),
        ("ssl:443:both.pem", KeyPair("both.pem", "both.pem")),
        ("ssl:443:key.pem:certKey=crt.pem", KeyPair("crt.pem", "key.pem")),
        ("ssl:port=443:privateKey=a:privateKey=b", KeyPair("b", "b")),
        ("ssl:443:privateKey=k:certKey=c:extraCertChain=x", KeyPair("c", "k", "x")),
        (r"ssl:443:privateKey=a\:b\=c\\d:certKey=e=f", KeyPair("e=f", r"a:b=c\d")),
    ],
)
def test_ssl(text: str, pair: KeyPair) -> None:
    assert parse_endpoint(text) == Endpoint("", 443, pair._replace(labels=LABELS))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not understood; what is: ssl:PORT:privateKey=FILE"),
        ("imap:", "'imap:' is not understood; what is: ssl:PORT"),
        ("unix:/tmp/s", "'unix:/tmp/s' is not understood; what is:"),
        ("tcp=80", "'tcp=80' is not understood; what is:"),
        ("tcp", "'tcp' has no port from 0 to 65535"),
        ("tcp:x", "'tcp:x' has no port from 0 to 65535"),
        ("tcp:" + "8" * 5000, "8' has no port from 0 to 65535"),
        ("tcp:65536", "'tcp:65536' has no port from 0 to 65535"),
        ("tcp:٨", "has no port from 0 to 65535"),
        ("tcp:80:50", "'tcp:80:50': '50' is not understood; what is:"),
        ("tcp:80:", "'tcp:80:': '' is not understood; what is:"),
        ("tcp:80:port=81", "'tcp:80:port=81' has two values for port"),
        ("tcp:80:interface=[::1]", "escape the colons of an address with a backslash, as in"),
        ("ssl:443:interface=::1:privateKey=k", "escape the colons of an address"),
        ("ssl:443:interface=2001:db8\\:\\:1", "escape the colons of an address"),
        ("ssl:443:k:privateKey=l", "has two values for privateKey"),
        ("ssl:443:k:c:TLSv1_2_METHOD", "'TLSv1_2_METHOD' is not understood"),
        ("tcp:80:certKey=c", "'tcp:80:certKey=c': 'certKey' is not understood"),
        ("ssl:443", "'ssl:443' has no privateKey=FILE"),
        ("ssl:443:certKey=c", "'ssl:443:certKey=c' has no privateKey=FILE"),
        ("ssl:443:privateKey=k:sslmethod=x", "'sslmethod' is not understood"),
    ],
)
def test_what_is_not_understood(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="^--endpoint: .*" + re.escape(message)):
        parse_endpoint(text)
