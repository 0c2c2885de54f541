"""Twisted's endpoint strings, as far as they say where to listen here. No IO.

`ssl:443:privateKey=key.pem:certKey=crt.pem`: a kind, and its arguments with or without a name. A
backslash takes the meaning from the character behind it, as in `interface=\\:\\:1`.
"""

from typing import NamedTuple

from .declarations import ConfigError
from .tls_options import KeyPair

_LABELS = ("--endpoint certKey", "--endpoint privateKey")
_ARGUMENTS = {
    "tcp": {"port", "interface"},
    "ssl": {"port", "interface", "privateKey", "certKey", "extraCertChain"},
}
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
    found: dict[str, str] = {}
    for place, argument in enumerate(arguments):
        name = argument.name or ("port" if not place else "")
        if name not in _ARGUMENTS[kind.value]:
            shown = argument.name or argument.value
            raise ConfigError(
                f"--endpoint: {text!r}: {shown!r} is not understood; what is: {_UNDERSTOOD}"
            )
        if name in found:
            raise ConfigError(f"--endpoint: {text!r} has two values for {name}")
        found[name] = argument.value
    pair = _pair(text, found) if kind.value == "ssl" else None
    return Endpoint(found.get("interface", ""), _port(text, found.get("port", "")), pair)


def _pair(text: str, found: dict[str, str]) -> KeyPair:
    key = found.get("privateKey", "")
    if not key:
        raise ConfigError(f"--endpoint: {text!r} has no privateKey=FILE")
    certificate = found.get("certKey") or key
    return KeyPair(certificate, key, found.get("extraCertChain", ""), _LABELS)


def _port(text: str, digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or int(digits) > 65535:
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
