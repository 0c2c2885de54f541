"""Where to listen: from the options, and from what systemd passed, to addresses. No IO.

Each kind is a class of its own; `aserver.sockets` makes sockets of them.
"""

import os
from collections.abc import MutableMapping
from typing import NamedTuple

from .config import DEFAULT_HOST, DEFAULT_PORT, Bind
from .declarations import ConfigError

_FIRST_PASSED_FD = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


class TcpAddress(NamedTuple):
    """Listen on a host's addresses; an empty host, or `*`, is every interface."""

    host: str
    port: int

    @property
    def is_everywhere(self) -> bool:
        """Whether it means every interface."""
        return self.host in ("", "*")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{host}:{self.port}"


class UnixAddress(NamedTuple):
    """Listen on a unix socket."""

    path: str


class InheritedFd(NamedTuple):
    """Listen on a socket that the process was started with."""

    fd: int


Target = TcpAddress | UnixAddress | InheritedFd


def targets(bind: Bind) -> list[Target]:
    """Where to listen, by Daphne's rules; an empty list is 127.0.0.1:8000.

    A host without a port has port 8000, a port without a host is on 127.0.0.1. Only a unix socket
    or a file descriptor, and there is no TCP listener.

    Raises:
        ConfigError: An address cannot be understood.
    """
    port = DEFAULT_PORT if bind.port is None else bind.port
    found: list[Target] = [_parse(text, port) for text in bind.bind]
    if bind.port is not None and not any(isinstance(each, TcpAddress) for each in found):
        found.append(TcpAddress(DEFAULT_HOST, port))
    if bind.unix_socket is not None:
        found.append(_unix("--unix-socket", bind.unix_socket))
    if bind.fd is not None:
        found.append(InheritedFd(bind.fd))
    return found


def _parse(text: str, default_port: int) -> Target:
    if text.startswith("unix:"):
        return _unix("--bind", text.removeprefix("unix:"))
    if text.startswith("fd://"):
        return InheritedFd(_number(text, text.removeprefix("fd://")))
    if not text or "/" in text:
        raise ConfigError(
            f"--bind: {text!r} is not HOST, HOST:PORT, [IPV6]:PORT, unix:PATH, fd://N"
        )
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if ":" not in host or not bracket or (rest and not rest.startswith(":")):
            raise ConfigError(f"--bind: {text!r} is not [IPV6]:PORT")
        return TcpAddress(host, _number(text, rest[1:]) if rest else default_port)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return TcpAddress(host, _number(text, port))
    if text.isdigit():
        raise ConfigError(f"--bind: {text!r} is no host; for a port there is --port")
    return TcpAddress(text, default_port)  # a name, an IPv4 address, an IPv6 one without brackets


def _unix(label: str, path: str) -> UnixAddress:
    if not path:
        # The kernel would choose a name that nobody knows.
        raise ConfigError(f"{label}: a unix socket must have a path")
    return UnixAddress(path)


def _number(text: str, digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or int(digits) > 65535:
        raise ConfigError(f"--bind: {text!r} does not end in a number from 0 to 65535")
    return int(digits)


def passed_fds(environ: MutableMapping[str, str]) -> list[int]:
    """The file descriptors that systemd passed to this very process (sd_listen_fds(3)).

    The variables are removed, so that child processes do not take them for theirs.
    """
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return list(range(_FIRST_PASSED_FD, _FIRST_PASSED_FD + int(count)))
