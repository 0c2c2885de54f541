"""Addresses that are trusted, and addresses as proxies write them."""

import ipaddress

import pytest

from aserver.declarations import ConfigError
from aserver.networks import Networks, parse_peer, parse_port, spelled
from aserver.types import Address


def trusts(texts: str, host: str | None) -> bool:
    return Networks("--list", tuple(texts.split())).trust(None if host is None else (host, 1))


@pytest.mark.parametrize(
    ("texts", "host", "trusted"),
    [
        ("127.0.0.0/8 ::1 unix", "127.0.0.1", True),
        ("127.0.0.0/8 ::1 unix", "127.255.0.9", True),
        ("127.0.0.0/8 ::1 unix", "::1", True),
        ("127.0.0.0/8 ::1 unix", None, True),
        ("127.0.0.0/8 ::1 unix", "128.0.0.1", False),
        ("127.0.0.0/8 ::1 unix", "::2", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.2.3", None, False),
        ("10.0.0.0/8 fd00::/8", "fd12::1", True),
        ("10.0.0.0/8 fd00::/8", "fe80::1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("*", "203.0.113.1", True),
        ("*", None, True),
        ("unix", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("", None, False),
        ("0.0.0.0/0", "2001:db8::1", False),
        # Peers of IPv4 are spelled as such, whatever the socket.
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "10.255.0.1", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("::/0", "10.0.0.1", False),
        ("0.0.0.0/0", "no address", False),
    ],
)
def test_who_is_trusted(texts: str, host: str | None, trusted: bool) -> None:
    assert trusts(texts, host) is trusted


def test_what_is_remembered_is_bounded_and_right() -> None:
    networks = Networks("--list", ("10.0.0.0/16",))
    for _ in range(2):
        for number in range(3000):
            third, fourth = divmod(number, 256)
            assert networks.trust((f"10.0.{third}.{fourth}", None))
            assert not networks.trust((f"10.1.{third}.{fourth}", None))
            assert networks.judge(f"10.0.{third}.{fourth}:1") == (
                (f"10.0.{third}.{fourth}", 1),
                True,
            )
    assert len(networks._known) <= 1024
    assert len(networks._judged) <= 1024


def test_long_texts_are_not_remembered() -> None:
    networks = Networks("--list", ("10.0.0.0/16",))
    for text in ("x" * 65, f"[{'0' * 60}::1]", "10.0.0.1:" + "0" * 60):
        assert networks.judge(text) == networks.judge(text) == (parse_peer(text), "." in text)
    assert networks._judged == {}
    longest = "10.0.0.1:".ljust(64, "1")
    assert networks.judge(longest) == (("10.0.0.1", 0), True)
    assert networks._judged.keys() == {longest}


@pytest.mark.parametrize(
    ("texts", "text", "judged"),
    [
        ("*", "unknown", (None, False)),
        ("0.0.0.0/0", "unknown", (None, False)),
        ("10.0.0.0/8", "10.0.0.1", (("10.0.0.1", 0), True)),
        # Any peer may be a proxy, but not whoever calls it.
        ("*", "10.0.0.1", (("10.0.0.1", 0), False)),
        ("* 10.0.0.0/8", "10.0.0.1", (("10.0.0.1", 0), True)),
        # nginx, called by a unix socket.
        ("unix", "unix:", (None, True)),
        ("*", "unix:", (None, False)),
    ],
)
def test_who_of_a_list_is_trusted(
    texts: str, text: str, judged: tuple[Address | None, bool]
) -> None:
    assert Networks("--list", tuple(texts.split())).judge(text) == judged


@pytest.mark.parametrize("text", ["localhost", "10.0.0.0/33", "1.2.3", "UNIX", "::1/200", "-"])
def test_what_is_no_network_is_a_mistake(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--list: '.+' is no address or network; what is: "):
        Networks("--list", ("127.0.0.1", text))


def test_bits_behind_the_network_are_a_mistake() -> None:
    """Somebody has meant another network, or only this address."""
    with pytest.raises(ConfigError, match=r"'10\.0\.0\.1/8' .*bits behind the network's"):
        Networks("--list", ("10.0.0.1/8",))


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
