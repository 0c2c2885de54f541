"""What a proxy in front says of its clients, and whether it is believed.

A header is worth what its last writer is. So headers count only where the connection comes from a
trusted proxy, and of a list only what trusted proxies have added: it is read from the right, where
each has put the address that it was called from, up to the first that is not trusted. That is the
client; whatever stands to the left of it, the client has said itself.

Who is trusted is decided once for a connection, in `Forwarding.of`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .engines.guard import is_authority
from .forwarded import Said, header_names, reader
from .hosts import parse_port
from .logs import server_log
from .networks import Networks
from .prefixes import clean_prefix
from .proxy_options import Proxy
from .scope import unquote
from .types import Address

Scope = dict[str, Any]
Amend = Callable[[Scope], None]

_MOST_HOPS = 100  # nobody has more proxies, and a header may be long
_IS_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_SCHEMES = {"http": ("http", "https"), "websocket": ("ws", "wss")}


class Forwarding:
    """One worker's way with these headers.

    Args:
        proxy: The options; `proxy_headers` is on.

    Raises:
        ConfigError: They name what is no network, or no header.
    """

    __slots__ = ("_is_said", "_names", "_proxies", "_read")

    def __init__(self, proxy: Proxy) -> None:
        self._proxies = Networks("--forwarded-allow-ips", proxy.forwarded_allow_ips)
        self._names = header_names(proxy)
        self._read = reader(proxy)
        self._is_said = False

    def of(self, peer: Address | None) -> Amend | None:
        """What amends each scope of a connection from this peer; None: nothing does."""
        if self._proxies.trust(peer):
            return self._amend
        return None if self._is_said else self._warn

    def _warn(self, scope: Scope) -> None:
        """The peer is nobody to be believed; if it says something, say so, once."""
        said = [name for name, _ in scope["headers"] if name in self._names]
        if said and not self._is_said:
            self._is_said = True
            server_log.warning(
                "Ignoring %s from %s, which is no trusted proxy (--forwarded-allow-ips); "
                "this is said once",
                said[0].decode().title(),
                scope["client"][0] if scope["client"] else "a unix socket",
            )

    def _amend(self, scope: Scope) -> None:
        """Let the scope say what the proxies do."""
        said = self._read(scope["headers"])
        if not said:
            return
        client, place, hops = self._walk(said.get("for", ()))
        if client is not None:
            host, port = client
            scope["client"] = host, port or parse_port(_at(said, "port", place))
        is_secure = _IS_SECURE.get(_at(said, "proto", hops).lower())
        if is_secure is not None:
            scope["scheme"] = _SCHEMES[scope["type"]][is_secure]
        if "root-path" in said:
            _take_root_path(scope, _path(said["root-path"][0]))
        if "prefix" in said:
            _put_in_front(scope, said["prefix"][-hops:])
        host = _at(said, "host", hops)
        if host and is_authority(host.encode("latin-1")) is not None:
            scope["headers"] = [(b"host", host.encode("latin-1")), *_without(scope, b"host")]

    def _walk(self, peers: Sequence[str]) -> tuple[Address | None, int, int]:
        """From the right to the first peer that is not trusted.

        Returns it, or the last before what is no address; and two places, counted from the right:
        its own, and that of the end. In the same place stands whatever else the proxy has said that
        was called from there.
        """
        client: Address | None = None
        place = hops = 0
        for text in reversed(peers[-_MOST_HOPS:]):
            hops += 1
            peer, is_trusted = self._proxies.judge(text)
            if peer is not None:
                client, place = peer, hops
            if not is_trusted:
                break
        return client, place, hops or 1


def _at(said: Said, field: str, hops: int) -> str:
    """An item by its place from the right; not every proxy adds one to each list."""
    items = said.get(field)
    return items[-min(hops, len(items))] if items else ""


def _path(text: str) -> str:
    """A path as the scope has it: its bytes are UTF-8, with or without percent signs."""
    return unquote(text.encode("latin-1").decode("utf-8", "replace"))


def _take_root_path(scope: Scope, root_path: str) -> None:
    """It is told in the header's place; what is no path is not told at all."""
    cleaned = clean_prefix(root_path)
    if cleaned is not None:
        scope["root_path"] = cleaned
    scope["headers"] = _without(scope, b"daphne-root-path")


def _put_in_front(scope: Scope, prefixes: Sequence[str]) -> None:
    """What the proxies have taken off the path belongs to it (ASGI: `path` has the root_path).

    `raw_path` stays as it was received.
    """
    cleaned = [clean_prefix(_path(each)) for each in prefixes]
    known = [each for each in cleaned if each is not None]
    if len(known) < len(cleaned):
        return
    prefix = "".join(known)
    scope["root_path"] = prefix + scope["root_path"]
    if scope["path"] != "*":
        scope["path"] = prefix + scope["path"]


def _without(scope: Scope, name: bytes) -> list[tuple[bytes, bytes]]:
    return [field for field in scope["headers"] if field[0] != name]
