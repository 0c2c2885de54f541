"""The kinds of addresses, as messages show them."""

import pytest

from aserver.targets import InheritedFd, SystemdSocket, Target, TcpAddress, UnixAddress


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (TcpAddress("localhost", 80), "localhost:80"),
        (TcpAddress("::1", 80), "[::1]:80"),
        (TcpAddress("*", 80), "*:80"),
        (TcpAddress("", 80), "*:80"),
        (UnixAddress("/run/s"), "unix:/run/s"),
        (InheritedFd(3), "file descriptor 3"),
        (SystemdSocket("web"), "name 'web'"),
        (SystemdSocket(number=1), "index 1"),
    ],
)
def test_a_target_is_shown_as_it_is_typed(target: Target, text: str) -> None:
    assert str(target) == text


@pytest.mark.parametrize(("host", "expected"), [("localhost", False), ("*", True), ("", True)])
def test_every_interface(host: str, expected: bool) -> None:
    assert TcpAddress(host, 80).is_everywhere is expected
