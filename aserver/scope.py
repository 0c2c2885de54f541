"""From a parsed request and the facts of its connection to the scope that the application gets."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from .types import Address, Request

SPEC_VERSION = "2.5"


class Facts(NamedTuple):
    """What a connection knows of every request that it carries; the scope's keys of these names.

    `extensions` are those of the connection: `tls`, `proxy_protocol`.
    """

    scheme: str
    client: Address | None
    server: Address | None
    root_path: str
    extensions: dict[str, dict[str, Any]] | None = None


def unquote(path: str) -> str:
    """Percent-decode a path."""
    from urllib.parse import unquote  # not at the top: it takes 2 ms of every start

    return unquote(path)


def http_scope(request: Request, facts: Facts, state: dict[str, Any] | None) -> dict[str, Any]:
    """The scope of an HTTP request (ASGI HTTP & WebSocket 2.5, "HTTP Connection Scope").

    Everything that an application could change in place is made anew for each request.
    """
    scheme, client, server, root_path, others = facts
    target = request.target
    path = target.decode("ascii")
    if "?" in path:
        raw_path, _, query_string = target.partition(b"?")
        path = raw_path.decode("ascii")
    else:
        raw_path, query_string = target, b""
    extensions: dict[str, dict[str, Any]] = {
        "http.response.pathsend": {},
        "http.response.zerocopysend": {},
        "http.response.early_hint": {},
    }
    if request.accepts_trailers:
        extensions["http.response.trailers"] = {}
    elif request.http_version == "1.0":  # it has no interim responses (RFC 9110 section 15.2)
        del extensions["http.response.early_hint"]
    if others is not None:
        for name, extension in others.items():
            extensions[name] = extension.copy()
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
        "http_version": request.http_version,
        "method": request.method,
        "scheme": scheme,
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query_string,
        "root_path": root_path,
        "headers": request.headers.copy(),  # the access log reads the request's own
        "client": client,
        "server": server,
        "extensions": extensions,
    }
    if state is not None:
        scope["state"] = state.copy()
    return scope


def websocket_scope(
    request: Request, facts: Facts, state: dict[str, Any] | None, subprotocols: Iterable[str]
) -> dict[str, Any]:
    """The scope of a WebSocket (the same, "Websocket Connection Scope"): its handshake's."""
    scope = http_scope(request, facts, state)
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if facts.scheme == "https" else "ws"
    scope["subprotocols"] = list(subprotocols)
    extensions: dict[str, dict[str, Any]] = {"websocket.http.response": {}}
    if facts.extensions is not None:
        for name, extension in facts.extensions.items():
            extensions[name] = extension.copy()
    scope["extensions"] = extensions
    return scope
