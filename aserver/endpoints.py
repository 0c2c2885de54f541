"""Twisted's endpoint strings, as far as they say where to listen here. No IO.

`ssl:443:privateKey=key.pem:certKey=crt.pem`: a kind, and its arguments, which have a name or are
known by their place: `ssl:443:key.pem:crt.pem`. A backslash takes the meaning from the character
behind it, as in `interface=\\:\\:1`.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from .declarations import INT_MAX, ConfigError
from .targets import InheritedFd, SystemdSocket, Target, TcpAddress, UnixAddress
from .tls_options import KeyPair

_LABELS = ("--endpoint certKey", "--endpoint privateKey")
_ANY_TLS = ("SSLv23_METHOD", "TLS_METHOD", "TLS_SERVER_METHOD")  # they negotiate the version
_WITHOUT_DH = "dhParameters has no effect: keys are exchanged with ECDHE, which needs none"
_DOMAINS = ("", "INET", "INET6", "UNIX")
_MAX_MODE = 0o777
# What no interface means to Twisted: somebody's firewall may have rules for no more than that.
_EVERY_IPV4 = "0.0.0.0"
_EVERY_IPV6 = "::"
# What is before the first colon of an IPv6 address that is not escaped.
_CUT_ADDRESS = re.compile(r"\[?[0-9a-fA-F]{0,4}")
_CERTFILE = "give the certificates to --certfile, repeated, which loads renewed ones by itself"
# Known from plugins of Twisted, and what to use in their place.
_INSTEAD = {
    "haproxy": "--proxy-protocol-bind ADDRESS listens for the PROXY protocol",
    "le": _CERTFILE,
    "lets": _CERTFILE,
    "txsni": _CERTFILE,
}


class Endpoint(NamedTuple):
    """What one string asks for.

    Attributes:
        target: Where to listen.
        pair: The certificate; None: without TLS.
        notes: What the log shall say of it.
    """

    target: Target
    pair: KeyPair | None = None
    notes: tuple[str, ...] = ()


def parse_endpoint(text: str) -> Endpoint:
    """What an endpoint string asks for.

    Raises:
        ConfigError: It cannot be understood; the message says what can.
    """
    kind, *arguments = _split(text)
    if kind.name is not None or kind.value not in _KINDS:
        instead = _INSTEAD.get(kind.value, "")
        advice = f"; {instead}" if instead else f"; what is: {', '.join(_FORMS)}"
        raise ConfigError(f"--endpoint: {text!r} is not understood{advice}")
    known = _KINDS[kind.value]
    return known.read(_Arguments(text, _named(text, known, arguments)))


def endpoint_string(target: Target, *, has_tls: bool = False) -> str:
    """An address as an endpoint string: no more of it than where it is."""
    match target:
        case UnixAddress(path):
            return f"unix:{_escaped(path)}"
        case InheritedFd(fd):
            return f"fd:fileno={fd}"
        case SystemdSocket(name, number):
            return f"systemd:index={number}" if name is None else f"systemd:name={_escaped(name)}"
        case TcpAddress(host, port):
            kind = "ssl" if has_tls else "tcp6" if target.is_ipv6 else "tcp"
            # `tcp:` without an interface is IPv4 only, and `::` takes IPv4 as well.
            interface = _EVERY_IPV6 if target.is_everywhere else host
            return f"{kind}:port={port}:interface={_escaped(interface)}"


def _escaped(value: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", value)


# From a string to its arguments


class _Argument(NamedTuple):
    name: str | None  # None: it has none
    value: str


def _split(text: str) -> list[_Argument]:
    arguments = []
    name, value = None, ""
    characters = iter(text)
    for character in characters:
        if character == ":":
            arguments.append(_Argument(name, value))
            name, value = None, ""
        elif character == "=" and name is None:
            name, value = value, ""
        elif character == "\\":
            following = next(characters, "")
            if not following:
                raise ConfigError(
                    f"--endpoint: {text!r} ends in a backslash, which escapes nothing"
                )
            value += following
        else:
            value += character
    return [*arguments, _Argument(name, value)]


def _named(text: str, kind: "_Kind", arguments: Sequence[_Argument]) -> dict[str, str]:
    """The values by their names; of a repeated name the last counts."""
    for argument, following in pairwise(arguments):
        is_cut = argument.name == "interface" and _CUT_ADDRESS.fullmatch(argument.value)
        if is_cut and following.name is None:
            raise ConfigError(
                f"--endpoint: {text!r}: escape the colons of an address with a backslash, as in "
                r"interface=\:\:1"
            )
    unnamed = [each.value for each in arguments if each.name is None]
    by_place = dict(zip(kind.names, unnamed, strict=False))
    by_name = {each.name: each.value for each in arguments if each.name is not None}
    unknown = [*(name for name in by_name if name not in kind.names), *unnamed[len(kind.names) :]]
    if unknown:
        raise ConfigError(
            f"--endpoint: {text!r}: {unknown[0]!r} is not understood; what is: {kind.form}"
        )
    for name in by_place.keys() & by_name.keys():
        raise ConfigError(f"--endpoint: {text!r} has two values for {name}")
    return by_place | by_name


class _Arguments(NamedTuple):
    """Those of one string, by their names."""

    text: str
    values: dict[str, str]

    def get(self, name: str) -> str:
        return self.values.get(name, "")

    def wrong(self, what: str) -> ConfigError:
        return ConfigError(f"--endpoint: {self.text!r} {what}")

    def number(self, name: str, most: int, least: int = 0) -> int:
        digits = self.get(name)
        # int() itself refuses thousands of digits.
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(INT_MAX))
        if not is_number or not least <= int(digits) <= most:
            raise self.wrong(f"has no {name} from {least} to {most}")
        return int(digits)

    @property
    def backlog(self) -> int | None:
        return self.number("backlog", INT_MAX, 1) if "backlog" in self.values else None

    def tcp(self, interface: str = _EVERY_IPV4, *, is_ipv6: bool = False) -> TcpAddress:
        host = self.get("interface")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        host = host or interface
        if host.isdigit():
            raise self.wrong(f"has {host!r} for an interface, which is no host")
        return TcpAddress(host, self.number("port", 65535), self.backlog, is_ipv6)

    def check_domain(self) -> None:
        """The socket says itself what it is: nothing depends on this."""
        if self.get("domain").removeprefix("AF_") not in _DOMAINS:
            raise self.wrong("has a domain that is not INET, INET6 or UNIX")


# From its arguments to an address, for each kind


def _tcp(arguments: _Arguments) -> Endpoint:
    return Endpoint(arguments.tcp())


def _tcp6(arguments: _Arguments) -> Endpoint:
    return Endpoint(arguments.tcp(_EVERY_IPV6, is_ipv6=True))


def _unix(arguments: _Arguments) -> Endpoint:
    path = arguments.get("address")
    if not path:
        raise arguments.wrong("has no path")
    if arguments.values.get("lockfile", "0") not in ("0", "1"):
        raise arguments.wrong("has a lockfile that is neither 0 nor 1")
    return Endpoint(UnixAddress(path, _mode(arguments), arguments.backlog))


def _mode(arguments: _Arguments) -> int | None:
    if "mode" not in arguments.values:
        return None
    digits = arguments.get("mode")
    if not re.fullmatch(r"(0o)?[0-7]{1,5}", digits) or int(digits, 8) > _MAX_MODE:
        raise arguments.wrong(f"has no mode from 0 to {_MAX_MODE:o}, in octal")
    return int(digits, 8)


def _ssl(arguments: _Arguments) -> Endpoint:
    key = arguments.get("privateKey")
    if not key:
        raise arguments.wrong("has no privateKey=FILE")
    method = arguments.values.get("sslmethod", _ANY_TLS[0])
    if method not in _ANY_TLS:
        # Without it, more might be spoken than was asked for, or less.
        raise arguments.wrong(
            f"has sslmethod={method}; leave it out, and choose versions with --tls-min-version"
        )
    certificate = arguments.get("certKey")
    labels = _LABELS if certificate else (_LABELS[1], _LABELS[1])
    pair = KeyPair(certificate or key, key, arguments.get("extraCertChain"), labels)
    notes = (_WITHOUT_DH,) if "dhParameters" in arguments.values else ()
    return Endpoint(arguments.tcp(), pair, notes)


def _fd(arguments: _Arguments) -> Endpoint:
    arguments.check_domain()
    return Endpoint(InheritedFd(arguments.number("fileno", INT_MAX)))


def _systemd(arguments: _Arguments) -> Endpoint:
    arguments.check_domain()
    if ("index" in arguments.values) == ("name" in arguments.values):
        raise arguments.wrong("must have either index=N or name=NAME")
    if "index" in arguments.values:
        return Endpoint(SystemdSocket(number=arguments.number("index", INT_MAX)))
    return Endpoint(SystemdSocket(arguments.get("name")))


class _Kind(NamedTuple):
    read: Callable[[_Arguments], Endpoint]
    names: tuple[str, ...]  # of its arguments, in the order of those that have no name
    form: str


_KINDS = {
    "tcp": _Kind(_tcp, ("port", "interface", "backlog"), "tcp:PORT[:interface=HOST][:backlog=N]"),
    "tcp6": _Kind(
        _tcp6, ("port", "backlog", "interface"), "tcp6:PORT[:interface=HOST][:backlog=N]"
    ),
    "unix": _Kind(
        _unix,
        ("address", "mode", "backlog", "lockfile"),
        "unix:PATH[:mode=OCTAL][:backlog=N][:lockfile=0|1]",
    ),
    "ssl": _Kind(
        _ssl,
        (
            *("port", "privateKey", "certKey", "sslmethod", "interface", "backlog"),
            *("extraCertChain", "dhParameters"),
        ),
        "ssl:PORT:privateKey=FILE:certKey=FILE[:extraCertChain=FILE][:interface=HOST][:backlog=N]",
    ),
    "fd": _Kind(_fd, ("fileno", "domain"), "fd:fileno=N"),
    "systemd": _Kind(_systemd, ("domain", "index", "name"), "systemd:name=NAME, systemd:index=N"),
}
_FORMS = [kind.form for kind in _KINDS.values()]
