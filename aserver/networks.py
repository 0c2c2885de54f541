"""Which addresses are trusted: those of a list of addresses and networks."""

import ipaddress

from .declarations import ConfigError
from .hosts import parse_peer
from .types import Address

# What nginx says of a client at a unix socket.
_UNIX_PEER = "unix:"
# Answers that are remembered; proxies are few, but whom they speak for may be anybody.
_MOST_KNOWN = 1024
_LONGEST_KNOWN = 64  # characters; addresses and ports are shorter
_MAPPED_BITS = 96  # RFC 4291 section 2.5.5.2: in front of an address of IPv4


class Networks:
    """The addresses that an option names.

    Args:
        label: The option, for messages.
        texts: Addresses, networks (`10.0.0.0/8`), `unix` for unix sockets, `*` for any peer.

    Raises:
        ConfigError: One of them is none of these.
    """

    __slots__ = ("_everybody", "_judged", "_known", "_networks", "_unix")

    def __init__(self, label: str, texts: tuple[str, ...]) -> None:
        self._everybody = "*" in texts
        self._unix = "unix" in texts
        self._networks = [_network(label, each) for each in texts if each not in ("*", "unix")]
        self._known: dict[str, bool] = {}
        self._judged: dict[str, tuple[Address | None, bool]] = {}

    def trust(self, peer: Address | None) -> bool:
        """Whether an address is one of them; None is the peer of a unix socket."""
        if self._everybody:
            return True
        if peer is None:
            return self._unix
        host = peer[0]
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[host] = self._has(host)
        return known

    def judge(self, text: str) -> tuple[Address | None, bool]:
        """What `parse_peer` makes of a text, and whether it is one of those that are named.

        `*` names nobody: that any peer is a proxy does not make one of whoever calls it.
        """
        judged = self._judged.get(text)
        if judged is None:
            if len(self._judged) >= _MOST_KNOWN:
                self._judged.clear()
            peer = parse_peer(text)
            is_named = self._has(peer[0]) if peer is not None else self._unix and text == _UNIX_PEER
            judged = peer, is_named
            if len(text) <= _LONGEST_KNOWN:
                self._judged[text] = judged
        return judged

    def _has(self, host: str) -> bool:
        try:
            # A link-local address names its interface behind a percent sign.
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _network(label: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        hint = "" if "host bits" not in str(error) else ": it has bits behind the network's"
        raise ConfigError(
            f"{label}: {text!r} is no address or network{hint}; what is: 192.0.2.1, 10.0.0.0/8, "
            "fd00::/8, unix, *"
        ) from None
    first = network.network_address
    mapped = first.ipv4_mapped if isinstance(first, ipaddress.IPv6Address) else None
    if mapped is None:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
