"""Where to listen: Daphne's rules, what is no address, and what systemd passes."""

import os
from typing import Any

import pytest

from aserver.addresses import InheritedFd, Target, TcpAddress, UnixAddress, passed_fds, targets
from aserver.config import Bind
from aserver.declarations import ConfigError

# Where to listen (Daphne's rules)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),  # which is the default address
        ({"port": 123}, [TcpAddress("127.0.0.1", 123)]),
        ({"port": 0}, [TcpAddress("127.0.0.1", 0)]),
        ({"bind": ("10.0.0.1",)}, [TcpAddress("10.0.0.1", 8000)]),
        ({"bind": ("10.0.0.1",), "port": 80}, [TcpAddress("10.0.0.1", 80)]),
        ({"bind": ("200a::1",)}, [TcpAddress("200a::1", 8000)]),
        ({"bind": ("[200a::1]",), "port": 80}, [TcpAddress("200a::1", 80)]),
        ({"bind": ("[200a::1]:81",), "port": 80}, [TcpAddress("200a::1", 81)]),
        ({"bind": ("localhost:0",)}, [TcpAddress("localhost", 0)]),
        ({"bind": ("*",)}, [TcpAddress("*", 8000)]),
        ({"bind": (":81",)}, [TcpAddress("", 81)]),
        ({"bind": ("a", "b:1")}, [TcpAddress("a", 8000), TcpAddress("b", 1)]),
        ({"unix_socket": "s"}, [UnixAddress("s")]),
        ({"bind": ("unix:s",)}, [UnixAddress("s")]),
        ({"bind": ("unix:/a b:c",)}, [UnixAddress("/a b:c")]),
        ({"fd": 5}, [InheritedFd(5)]),
        ({"bind": ("fd://5",)}, [InheritedFd(5)]),
        ({"unix_socket": "s", "fd": 5}, [UnixAddress("s"), InheritedFd(5)]),
        ({"unix_socket": "s", "port": 80}, [TcpAddress("127.0.0.1", 80), UnixAddress("s")]),
        ({"bind": ("unix:s",), "port": 80}, [UnixAddress("s"), TcpAddress("127.0.0.1", 80)]),
        ({"bind": ("h",), "unix_socket": "s"}, [TcpAddress("h", 8000), UnixAddress("s")]),
        ({"bind": ("h",), "fd": 0}, [TcpAddress("h", 8000), InheritedFd(0)]),
    ],
)
def test_targets(options: dict[str, Any], expected: list[Target]) -> None:
    assert targets(Bind(**options)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "unix:", "fd://", "fd://-1", "fd://x", "fd://70000"),
        *("h:", "h:x", "h:-1", "h:65536", "h:8O", "h:٨"),
        *("[::1", "[::1]80", "[::1]:", "[]", "[]:80", "[localhost]:80", "[::1]:x"),
        *("http://h", "/run/socket", "./socket", "8000"),
    ],
)
def test_an_address_that_cannot_be_understood(text: str) -> None:
    with pytest.raises(ConfigError, match="--bind: "):
        targets(Bind(bind=(text,)))


def test_a_unix_socket_has_a_path() -> None:
    with pytest.raises(ConfigError, match="--unix-socket: a unix socket must have a path"):
        targets(Bind(unix_socket=""))


@pytest.mark.parametrize(
    ("address", "text", "is_everywhere"),
    [
        (TcpAddress("localhost", 80), "localhost:80", False),
        (TcpAddress("::1", 80), "[::1]:80", False),
        (TcpAddress("*", 80), "*:80", True),
        (TcpAddress("", 80), "*:80", True),
    ],
)
def test_a_tcp_address_is_shown_as_it_is_typed(
    address: TcpAddress, text: str, is_everywhere: bool
) -> None:
    assert str(address) == text
    assert address.is_everywhere == is_everywhere


# systemd (sd_listen_fds(3))


@pytest.mark.parametrize(
    ("pid", "count", "expected"),
    [
        ("{pid}", "2", [3, 4]),
        ("{pid}", "0", []),
        ("{pid}", "", []),
        ("{pid}", "two", []),
        ("{pid}", "²", []),
        ("1", "2", []),
        ("", "2", []),
    ],
)
def test_passed_descriptors(pid: str, count: str, expected: list[int]) -> None:
    environ = {
        "LISTEN_PID": pid.format(pid=os.getpid()),
        "LISTEN_FDS": count,
        "LISTEN_FDNAMES": "http",
        "OTHER": "kept",
    }
    assert passed_fds(environ) == expected
    assert environ == {"OTHER": "kept"}, "child processes would take them for theirs"
