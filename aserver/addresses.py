"""Where to listen: from the options, and from what systemd passed, to addresses. No IO."""

import os
import re
from collections.abc import Iterable, MutableMapping, Sequence
from enum import Enum
from itertools import zip_longest
from typing import NamedTuple

from .config import DEFAULT_HOST, DEFAULT_PORT, Bind, Tls
from .declarations import ConfigError
from .endpoints import endpoint_string, parse_endpoint
from .targets import InheritedFd, SystemdSocket, Target, TcpAddress, UnixAddress
from .tls_options import KeyPair

_find_argument = re.compile(r":(?:mode|lockfile|backlog)=").search  # of an endpoint

_FIRST_PASSED_FD = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START
_MAX_DIGITS = 5  # of a port or a descriptor; int() itself refuses thousands of them
_UNNAMED = "unknown"  # sd_listen_fds(3): what a descriptor is called where nobody names it


class PassedFd(NamedTuple):
    """A file descriptor from systemd, and the name that its unit gives it."""

    fd: int
    name: str


class Kind(Enum):
    """What is spoken at a listener."""

    PLAIN = "http"
    TLS = "https"
    REDIRECT = "redirect"  # plain, and every answer is where to go for TLS


class Place(NamedTuple):
    """Where to listen, and what to speak there.

    Attributes:
        target: Where.
        pairs: The certificates; with none, no TLS. An inherited unix socket has no use for them.
        is_redirect: Whether every answer is a redirect.
        is_proxied: Whether each connection begins with a PROXY header.
        endpoint: The string of --endpoint that asks for it; empty: another option does.
    """

    target: Target
    pairs: tuple[KeyPair, ...] = ()
    is_redirect: bool = False
    is_proxied: bool = False
    endpoint: str = ""

    @property
    def kind(self) -> Kind:
        """What is spoken there, if an inherited socket is not a unix socket."""
        if self.is_redirect:
            return Kind.REDIRECT
        return Kind.TLS if self.pairs else Kind.PLAIN

    @property
    def description(self) -> str:
        """An endpoint string for it: the one that asks for it, if there is one."""
        return self.endpoint or endpoint_string(self.target, has_tls=self.kind is Kind.TLS)

    def within(self, directory: str) -> "Place":
        """The same, with relative paths that begin in this directory; empty: the current one."""
        target = self.target
        if isinstance(target, UnixAddress):
            target = target._replace(path=os.path.join(directory, target.path))
        return self._replace(
            target=target, pairs=tuple(pair.within(directory) for pair in self.pairs)
        )


def places(bind: Bind, tls: Tls, passed: Sequence[PassedFd] = ()) -> list[Place]:
    """Where to listen, by Daphne's rules: without an address it is 127.0.0.1:8000.

    A host without a port has port 8000, a port without a host is on 127.0.0.1. Only a unix socket,
    a file descriptor or an endpoint, and there is no other TCP listener. What systemd passed is
    listened on, whether it is named or not.

    Args:
        bind: The addresses.
        tls: The certificates.
        passed: File descriptors from systemd.

    Raises:
        ConfigError: An address cannot be understood, or options do not fit together.
    """
    pairs = tls.pairs
    label = "--proxy-protocol-bind"
    proxied = [_parse(text, None, label) for text in bind.proxy_protocol_bind]
    found = [_place(target, pairs) for target in _targets(bind)]
    found += [_place(target, pairs)._replace(is_proxied=True) for target in proxied]
    for text in bind.endpoint:
        found += _of_endpoint(text, passed)
    beside = [
        *(Place(_parse(text, None, "--insecure-bind")) for text in bind.insecure_bind),
        *(Place(_parse(text, None, "--redirect-bind"), (), True) for text in bind.redirect_bind),
    ]
    named = {place.target for place in found + beside}
    unnamed = [InheritedFd(fd) for fd, _ in passed if InheritedFd(fd) not in named]
    found += [_place(target, pairs) for target in unnamed]
    if not found:
        found = [Place(TcpAddress(DEFAULT_HOST, DEFAULT_PORT), pairs)]
    _check_twice(found + beside)
    has_certificate = bool(pairs) or any(place.pairs for place in found)
    tls.check(has_certificate=has_certificate)
    if beside and not has_certificate:
        label = "--redirect-bind" if beside[0].is_redirect else "--insecure-bind"
        raise ConfigError(f"{label}: there is no certificate (--certfile)")
    if bind.redirect_port is not None and not bind.redirect_bind:
        raise ConfigError("--redirect-port: nothing is redirected (--redirect-bind)")
    return found + beside


def _place(target: Target, pairs: tuple[KeyPair, ...]) -> Place:
    return Place(target) if isinstance(target, UnixAddress) else Place(target, pairs)


def _of_endpoint(text: str, passed: Sequence[PassedFd]) -> list[Place]:
    """Several only where systemd passed several sockets of one name."""
    endpoint = parse_endpoint(text)
    pairs = () if endpoint.pair is None else (endpoint.pair,)
    return [Place(each, pairs, endpoint=text) for each in _resolved(endpoint.target, passed)]


def _resolved(target: Target, passed: Sequence[PassedFd]) -> list[Target]:
    """The descriptors of a socket from systemd; itself, if it was not passed."""
    if not isinstance(target, SystemdSocket):
        return [target]
    found: list[Target] = [
        InheritedFd(each.fd)
        for number, each in enumerate(passed)
        if number == target.number or each.name == target.name
    ]
    return found or [target]


def _check_twice(found: Iterable[Place]) -> None:
    """The kernel would say that the address is in use, and leave everybody to look for whom."""
    seen = set()
    for place in found:
        shown = str(place.target)
        if isinstance(place.target, TcpAddress) and not place.target.port:
            continue  # each takes a port of its own
        if shown in seen:
            raise ConfigError(
                f"{shown} is given twice, by --bind, --endpoint or another option that says where "
                "to listen"
            )
        seen.add(shown)


def names_certificate(bind: Bind, tls: Tls) -> bool:
    """Whether there is any, without a look at what else is asked for."""
    return bool(tls.certfile) or any(text.startswith("ssl:") for text in bind.endpoint)


def _targets(bind: Bind) -> list[Target]:
    """What speaks TLS if there is a certificate."""
    port = DEFAULT_PORT if bind.port is None else bind.port
    found: list[Target] = [_parse(text, port) for text in bind.bind]
    if bind.port is not None and not any(isinstance(each, TcpAddress) for each in found):
        found.append(TcpAddress(DEFAULT_HOST, port))
    if bind.unix_socket is not None:
        found.append(_unix("--unix-socket", bind.unix_socket))
    if bind.fd is not None:
        found.append(InheritedFd(bind.fd))
    return found


def _parse(text: str, default_port: int | None, label: str = "--bind") -> Target:
    if text.startswith("unix:"):
        return _unix(label, text.removeprefix("unix:"))
    if text.startswith("fd://"):
        return InheritedFd(_number(label, text, text.removeprefix("fd://")))
    if not text or "/" in text:
        raise ConfigError(
            f"{label}: {text!r} is not HOST, HOST:PORT, [IPV6]:PORT, unix:PATH, fd://N"
        )
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if ":" not in host or not bracket or (rest and not rest.startswith(":")):
            raise ConfigError(f"{label}: {text!r} is not [IPV6]:PORT")
        if rest:
            return TcpAddress(host, _number(label, text, rest[1:]))
        return _without_port(host, default_port, label)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return TcpAddress(host, _number(label, text, port))
    if text.isdigit():
        raise ConfigError(f"{label}: {text!r} is no host; for a port there is --port")
    # A name, an IPv4 address, an IPv6 one without brackets.
    return _without_port(text, default_port, label)


def _without_port(host: str, default_port: int | None, label: str) -> TcpAddress:
    if default_port is None:  # it is another address's
        raise ConfigError(f"{label}: {host!r} has no port, as in {host}:80")
    return TcpAddress(host, default_port)


def _unix(label: str, path: str) -> UnixAddress:
    if not path:
        # The kernel would choose a name that nobody knows.
        raise ConfigError(f"{label}: a unix socket must have a path")
    if found := _find_argument(path):
        # Daphne's -u takes it for one. Who keeps others out by it must not let them in unawares.
        raise ConfigError(
            f"{label}: {path!r} is a path, and {found[0]!r} would be a part of it; what is meant "
            f"may be --endpoint unix:{path}"
        )
    return UnixAddress(path)


def _number(label: str, text: str, digits: str) -> int:
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    if not is_number or int(digits) > 65535:
        raise ConfigError(f"{label}: {text!r} does not end in a number from 0 to 65535")
    return int(digits)


def passed_fds(environ: MutableMapping[str, str]) -> list[PassedFd]:
    """The file descriptors that systemd passed to this very process (sd_listen_fds(3)).

    The variables are removed, so that child processes do not take them for theirs.
    """
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    is_number = count.isdecimal() and len(count) <= _MAX_DIGITS
    if pid != str(os.getpid()) or not is_number:
        return []
    fds = range(_FIRST_PASSED_FD, _FIRST_PASSED_FD + int(count))
    return [PassedFd(fd, name or _UNNAMED) for fd, name in zip_longest(fds, names[: len(fds)])]
