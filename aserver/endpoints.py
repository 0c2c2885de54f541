"""Twisted's endpoint strings, as far as they say where to listen here. No IO.

`ssl:443:privateKey=key.pem:certKey=crt.pem`: a kind, and its arguments, which have a name or are
known by their place: `ssl:443:key.pem:crt.pem`. A backslash takes the meaning from the character
behind it, as in `interface=\\:\\:1`.
"""

from itertools import pairwise
from typing import NamedTuple

from .declarations import ConfigError
from .tls_options import KeyPair

_LABELS = ("--endpoint certKey", "--endpoint privateKey")
_ARGUMENTS = {
    "tcp": {"port", "interface"},
    "ssl": {"port", "interface", "privateKey", "certKey", "extraCertChain"},
}
# Those without a name, in their order.
_PLACES = {"tcp": ("port",), "ssl": ("port", "privateKey", "certKey")}
_MAX_DIGITS = 5  # of a port; int() itself refuses thousands of them
_UNDERSTOOD = (
    "ssl:PORT:privateKey=FILE:certKey=FILE[:extraCertChain=FILE][:interface=HOST], "
    "tcp:PORT[:interface=HOST]"
)


class Endpoint(NamedTuple):
    """Listen on a host's addresses, with a certificate of its own or without TLS.

    Attributes:
        host: Empty: every interface.
        port: The port.
        pair: The certificate; None: plain TCP.
    """

    host: str
    port: int
    pair: KeyPair | None


def parse_endpoint(text: str) -> Endpoint:
    """What an endpoint string asks for.

    Raises:
        ConfigError: It cannot be understood; the message says what can.
    """
    kind, *arguments = _split(text)
    if kind.name or kind.value not in _ARGUMENTS:
        raise ConfigError(f"--endpoint: {text!r} is not understood; what is: {_UNDERSTOOD}")
    _check_colons(text, arguments)
    found = _named(text, kind.value, arguments)
    pair = _pair(text, found) if kind.value == "ssl" else None
    return Endpoint(_host(found), _port(text, found.get("port", "")), pair)


def _check_colons(text: str, arguments: "list[_Argument]") -> None:
    """An IPv6 address whose colons are not escaped is cut into pieces."""
    for argument, following in pairwise(arguments):
        if argument.name == "interface" and not following.name:
            raise ConfigError(
                f"--endpoint: {text!r}: escape the colons of an address with a backslash, as in "
                r"interface=\:\:1"
            )


def _named(text: str, kind: str, arguments: "list[_Argument]") -> dict[str, str]:
    """The values by their names; of a repeated name the last counts."""
    places = iter(_PLACES[kind])
    by_place = {next(places, ""): each.value for each in arguments if not each.name}
    by_name = {each.name: each.value for each in arguments if each.name}
    for name in [*by_place, *by_name]:
        if name not in _ARGUMENTS[kind]:
            shown = name or by_place[name]
            raise ConfigError(
                f"--endpoint: {text!r}: {shown!r} is not understood; what is: {_UNDERSTOOD}"
            )
        if name in by_place and name in by_name:
            raise ConfigError(f"--endpoint: {text!r} has two values for {name}")
    return by_place | by_name


def _host(found: dict[str, str]) -> str:
    host = found.get("interface", "")
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _pair(text: str, found: dict[str, str]) -> KeyPair:
    key = found.get("privateKey", "")
    if not key:
        raise ConfigError(f"--endpoint: {text!r} has no privateKey=FILE")
    certificate = found.get("certKey") or key
    return KeyPair(certificate, key, found.get("extraCertChain", ""), _LABELS)


def _port(text: str, digits: str) -> int:
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    if not is_number or int(digits) > 65535:
        raise ConfigError(f"--endpoint: {text!r} has no port from 0 to 65535")
    return int(digits)


class _Argument(NamedTuple):
    name: str  # empty: it has none
    value: str


def _split(text: str) -> list[_Argument]:
    arguments = []
    name = value = ""
    characters = iter(text)
    for character in characters:
        if character == ":":
            arguments.append(_Argument(name, value))
            name = value = ""
        elif character == "=" and not name:
            name, value = value, ""
        else:
            value += next(characters, "") if character == "\\" else character
    return [*arguments, _Argument(name, value)]
