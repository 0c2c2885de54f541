"""Addresses of hosts as texts: as proxies write them, and as sockets spell them."""

import ipaddress

from .types import Address


def parse_peer(text: str) -> Address | None:
    """The host and port that a proxy names: `192.0.2.1`, `192.0.2.1:80`, `[::1]:80`, `::1`.

    The port is 0 where there is none. None: this is no address, as `unknown` is none, nor one with
    a zone: that names an interface of somebody else's machine (RFC 4007), in any characters.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if "%" in host:
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return spelled(address), parse_port(port)


def spelled(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address as sockets spell it; one of IPv4 as such, as it is to everybody else."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def parse_port(text: str) -> int:
    """A port, or 0 for what is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= 5
    return port if is_number and (port := int(text)) <= 65535 else 0
