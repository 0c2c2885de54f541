"""Addresses that are trusted."""

import pytest

from aserver.declarations import ConfigError
from aserver.hosts import parse_peer
from aserver.networks import Networks
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
