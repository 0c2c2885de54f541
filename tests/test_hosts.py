"""Addresses as proxies write them, and as sockets spell them."""

import ipaddress

import pytest

from aserver.hosts import parse_peer, parse_port, spelled
from aserver.types import Address


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:80", ("192.0.2.1", 80)),
        ("192.0.2.1:", ("192.0.2.1", 0)),
        ("192.0.2.1:99999", ("192.0.2.1", 0)),
        ("192.0.2.1:_x", ("192.0.2.1", 0)),
        ("2001:DB8::1", ("2001:db8::1", 0)),
        ("[2001:db8:0::1]", ("2001:db8::1", 0)),
        ("[2001:db8::1]:4711", ("2001:db8::1", 4711)),
        ("::ffff:192.0.2.1", ("192.0.2.1", 0)),
        ("[::ffff:192.0.2.1]:80", ("192.0.2.1", 80)),
        ("[2001:db8::1", None),
        ("[2001:db8::1]80", None),
        ("[192.0.2.1", None),
        ("unknown", None),
        ("_hidden", None),
        ("fe80::1%eth0", None),
        ('fe80::1%" 200 "x', None),
        ("[::1%\x9b31m]:80", None),
        ("unix:", None),
        ("", None),
        ("192.0.2.1.", None),
        ("192.0.2.01", None),
        ("3221225985", None),
        ("example.org:80", None),
    ],
)
def test_peers_as_proxies_write_them(text: str, peer: Address | None) -> None:
    assert parse_peer(text) == peer


@pytest.mark.parametrize(
    ("text", "port"),
    [
        *(("0", 0), ("80", 80), ("65535", 65535)),
        *((text, 0) for text in ("65536", "", "-1", "8 0", "٣", "1" * 5000, "x")),
    ],
)
def test_ports(text: str, port: int) -> None:
    assert parse_port(text) == port


def test_an_address_of_ipv4_is_spelled_as_one() -> None:
    assert spelled(ipaddress.ip_address("::ffff:192.0.2.1")) == "192.0.2.1"
    assert spelled(ipaddress.ip_address("2001:DB8::1")) == "2001:db8::1"
    assert spelled(ipaddress.ip_address("192.0.2.1")) == "192.0.2.1"
