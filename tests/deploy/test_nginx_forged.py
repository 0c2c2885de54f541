"""What a client says of itself in headers never reaches the application, whatever the recipe.

A forged request must look like an honest one, to the byte: so nothing of it was believed, and
nothing of it is left for anybody behind the server to believe.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.certificates import Authority
from tests.deploy.fronts import HOST
from tests.deploy.nginx import Nginx, serving, upstream
from tests.deploy.visitor import ADDRESS, HTTP2, KINDS, WEBSOCKET, Fields, Visitor
from tests.processes import Process

pytestmark = pytest.mark.services

APP = "tests.deploy.site:app"
# Each recipe, and where the application is asked for in it. Both halves of the split one are here.
PATHS = {
    "unified": "/ws/",
    "http2": "/ws/",
    "split": "/ws/",
    "split-pages": "/pages/",
    "prefix-kept": "/shop/ws/",
    "prefix-stripped": "/shop/ws/",
}
EVIL = "6.6.6.6"
FORGED: dict[str, Fields] = {
    "for": [("X-Forwarded-For", EVIL)],
    "for-chain": [("X-Forwarded-For", f"{EVIL}, 127.0.0.1, ::1")],
    "for-lines": [("X-Forwarded-For", EVIL), ("X-Forwarded-For", "127.0.0.1")],
    "for-unix": [("X-Forwarded-For", f"{EVIL}, unix:")],
    "for-with-port": [("X-Forwarded-For", f"{EVIL}:666")],
    "real-ip": [("X-Real-IP", EVIL), ("x-real-ip", "127.0.0.1")],
    "proto": [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")],
    "proto-wss": [("X-Forwarded-Proto", "wss")],
    "scheme-of-gunicorn": [("X-Forwarded-Protocol", "ssl"), ("X-Forwarded-Ssl", "on")],
    "host": [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Host", HOST)],
    "port": [("X-Forwarded-Port", "666")],
    "prefix": [("X-Forwarded-Prefix", "/evil"), ("X-Forwarded-Prefix", "/worse")],
    "forwarded": [("Forwarded", f'for={EVIL};proto=https;host="evil.example"')],
    "forwarded-lines": [("Forwarded", f"for={EVIL}"), ("Forwarded", "for=127.0.0.1")],
    "root-path": [("Daphne-Root-Path", "/evil")],
    "underscores": [("X_Forwarded_For", EVIL), ("X_Forwarded_Proto", "https")],
    "case": [("X-FORWARDED-FOR", EVIL), ("x-forwarded-proto", "https")],
}
FORGED["all"] = [field for fields in FORGED.values() for field in fields]


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Process]]:
    """The servers of the recipes, each by the command that its recipe has."""
    with ExitStack() as stack:
        yield {
            each: stack.enter_context(serving(f"{each}.conf", APP, tmp_path_factory.mktemp(each)))
            for each in ("unified", "http2", "split", "prefix-kept", "prefix-stripped")
        }


@pytest.fixture(scope="module", params=PATHS)
def place(
    request: pytest.FixtureRequest,
    recipes: dict[str, Process],
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Visitor, str]]:
    """Somebody in front of a recipe, and what there is to ask for."""
    name = str(request.param)
    recipe = name.removesuffix("-pages")
    where = upstream(recipes[recipe])
    own = authority.issue(HOST)
    with Nginx(
        f"{recipe}.conf",
        tmp_path_factory.mktemp("nginx"),
        server=where,
        pages=where,
        certificate=own.certificate,
        key=own.key,
    ) as nginx:
        yield Visitor(nginx, authority if recipe == "http2" else None), PATHS[name]
        assert not nginx.problems


@pytest.mark.parametrize("kind", KINDS)
def test_who_forges_looks_like_anybody(place: tuple[Visitor, str], kind: str) -> None:
    visitor, path = place
    if kind not in visitor.kinds:
        assert (kind, visitor.scheme) == (HTTP2, "http")  # browsers speak it with TLS only
        return
    honest = told(visitor, kind, path)
    scheme = visitor.scheme.replace("http", "ws") if kind == WEBSOCKET else visitor.scheme
    assert (honest["client"], honest["scheme"]) == ([ADDRESS, 0], scheme)
    assert honest["headers"].count(["host", HOST]) == 1
    for name, fields in FORGED.items():
        assert told(visitor, kind, path, fields) == honest, name


def told(visitor: Visitor, kind: str, path: str, fields: Fields = ()) -> dict[str, Any]:
    """What the application sees, but for what is new in each handshake."""
    seen = visitor.see(kind, path, fields)
    seen["headers"] = [each for each in seen["headers"] if each[0] != "sec-websocket-key"]
    return seen
