"""From request and connection to the scope."""

from typing import Any

import pytest

from aserver.scope import Facts, http_scope, websocket_scope
from aserver.types import Request

EXTENSIONS: dict[str, Any] = {
    "http.response.pathsend": {},
    "http.response.zerocopysend": {},
    "http.response.early_hint": {},
}
FACTS = Facts("http", ("192.0.2.2", 50000), ("192.0.2.1", 80), "")


def scope_of(target: bytes = b"/", state: dict[str, Any] | None = None) -> dict[str, Any]:
    request = Request("GET", target, "1.1", [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")])
    return http_scope(request, FACTS, state)


def test_scope() -> None:
    assert scope_of(b"/a%20b?c=%20d") == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20d",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")],
        "client": ("192.0.2.2", 50000),
        "server": ("192.0.2.1", 80),
        "extensions": EXTENSIONS,
    }


def test_types() -> None:
    """What the specification has as `str`, `bytes`, `dict` is no subclass of it."""
    scope = scope_of(b"/a?b", state={})
    kinds = {name: type(value) for name, value in scope.items()}
    assert kinds == {
        "type": str,
        "asgi": dict,
        "http_version": str,
        "method": str,
        "scheme": str,
        "path": str,
        "raw_path": bytes,
        "query_string": bytes,
        "root_path": str,
        "headers": list,
        "client": tuple,
        "server": tuple,
        "extensions": dict,
        "state": dict,
    }
    assert type(scope) is dict


def test_what_the_connection_says() -> None:
    request = Request("POST", b"/", "1.0", [])
    scope = http_scope(request, Facts("https", None, ("/run/a.sock", None), "/app"), None)
    assert scope["http_version"] == "1.0"
    assert scope["method"] == "POST"
    assert scope["scheme"] == "https"
    assert scope["client"] is None
    assert scope["server"] == ("/run/a.sock", None)
    assert scope["root_path"] == "/app"


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/?", "/", b"/", b""),
        (b"/??a", "/", b"/", b"?a"),
        (b"/a?b?c", "/a", b"/a", b"b?c"),
        (b"/%3Fa?b", "/?a", b"/%3Fa", b"b"),
        (b"/%2Fa", "//a", b"/%2Fa", b""),
        (b"/%c3%a9", "/é", b"/%c3%a9", b""),
        (b"/%E9", "/\ufffd", b"/%E9", b""),
        (b"/%00%0a", "/\x00\n", b"/%00%0a", b""),
        (b"/%", "/%", b"/%", b""),
        (b"/%zz%4", "/%zz%4", b"/%zz%4", b""),
        (b"/a+b", "/a+b", b"/a+b", b""),
        (b"/%2541", "/%41", b"/%2541", b""),
        (b"//a", "//a", b"//a", b""),
        (b"*", "*", b"*", b""),
    ],
)
def test_paths(target: bytes, path: str, raw_path: bytes, query: bytes) -> None:
    scope = scope_of(target)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


def test_state_is_there_only_if_there_is_one() -> None:
    assert "state" not in scope_of()
    assert scope_of(state={})["state"] == {}


def test_state_is_a_shallow_copy() -> None:
    pool: list[str] = []
    state = {"pool": pool}
    first, second = scope_of(state=state), scope_of(state=state)
    first["state"]["mine"] = 1
    first["state"]["pool"].append("shared")
    assert second["state"] == {"pool": ["shared"]}
    assert state == {"pool": ["shared"]}


def test_no_mutation_reaches_the_request() -> None:
    """The access log reads its fields, when the application is done with its own."""
    request = Request("GET", b"/", "1.1", [(b"host", b"a")])
    http_scope(request, FACTS, None)["headers"].append(("not", "bytes", "at all"))
    assert request.headers == [(b"host", b"a")]


def test_no_mutation_reaches_another_scope() -> None:
    state: dict[str, Any] = {"a": 1}
    first = scope_of(state=state)
    for value in first.values():
        if isinstance(value, dict):
            value.clear()
            value["x"] = "y"
        elif isinstance(value, list):
            value.clear()
    first.clear()
    assert scope_of(state=state) == {**scope_of(), "state": {"a": 1}}
    assert scope_of()["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert scope_of()["extensions"] == EXTENSIONS


@pytest.mark.parametrize(
    ("version", "accepts_trailers", "expected"),
    [
        ("1.0", False, {"http.response.pathsend", "http.response.zerocopysend"}),
        ("1.1", False, {*EXTENSIONS}),
        ("1.1", True, {*EXTENSIONS, "http.response.trailers"}),
        ("2", False, {*EXTENSIONS}),
        ("2", True, {*EXTENSIONS, "http.response.trailers"}),
    ],
)
def test_extensions(version: str, accepts_trailers: bool, expected: set[str]) -> None:
    """What is advertised works; what would not, is not."""
    request = Request("GET", b"/", version, [], accepts_trailers=accepts_trailers)
    extensions = http_scope(request, FACTS, None)["extensions"]
    assert set(extensions) == expected
    assert all(value == {} for value in extensions.values())


def test_extensions_are_made_anew() -> None:
    first = scope_of()["extensions"]
    for value in first.values():
        value["x"] = "y"
    first.clear()
    assert scope_of()["extensions"] == EXTENSIONS


# WebSockets


def websocket_scope_of(
    target: bytes = b"/",
    subprotocols: tuple[str, ...] = (),
    state: dict[str, Any] | None = None,
    facts: Facts = FACTS,
) -> dict[str, Any]:
    request = Request("GET", target, "1.1", [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")])
    return websocket_scope(request, facts, state, subprotocols)


def test_websocket_scope() -> None:
    assert websocket_scope_of(b"/a%20b?c=%20d", ("superchat", "chat")) == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20d",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")],
        "client": ("192.0.2.2", 50000),
        "server": ("192.0.2.1", 80),
        "subprotocols": ["superchat", "chat"],
        "extensions": {"websocket.http.response": {}},
    }


def test_types_of_a_websocket_scope() -> None:
    """There is no method in it, and the rest is of the same types as that of a request."""
    scope = websocket_scope_of(state={})
    kinds = {name: type(value) for name, value in scope_of(state={}).items() if name != "method"}
    found = {name: type(value) for name, value in scope.items()}
    assert found == {**kinds, "subprotocols": list}
    assert type(scope) is dict


def test_scheme_of_a_websocket() -> None:
    secure = Facts("https", None, ("/run/a.sock", None), "/app")
    scope = websocket_scope_of(facts=secure)
    assert scope["scheme"] == "wss"
    assert scope["client"] is None
    assert scope["server"] == ("/run/a.sock", None)
    assert scope["root_path"] == "/app"


def test_state_of_a_websocket() -> None:
    assert "state" not in websocket_scope_of()
    state: dict[str, Any] = {"pool": []}
    scope = websocket_scope_of(state=state)
    scope["state"]["mine"] = 1
    assert state == {"pool": []}
    assert scope["state"]["pool"] is state["pool"]


def test_no_mutation_of_a_websocket_scope_reaches_another() -> None:
    names = ["chat"]
    request = Request("GET", b"/", "1.1", [(b"host", b"a")])
    first = websocket_scope(request, FACTS, None, names)
    for value in first.values():
        if isinstance(value, dict | list):
            value.clear()
    again = websocket_scope(request, FACTS, None, names)
    assert again["subprotocols"] == names == ["chat"]
    assert again["headers"] == [(b"host", b"a")]
    assert again["extensions"] == {"websocket.http.response": {}}
    assert again["asgi"] == {"version": "3.0", "spec_version": "2.5"}
