"""What an application speaks: the guess, and what is said of one that speaks something else."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from aserver.interfaces import guess, unfitness


async def asgi3(scope: object, receive: object, send: object) -> None: ...


def asgi2(scope: object) -> Any: ...


def wsgi(environ: object, start_response: object) -> Any: ...


def anything(*arguments: object) -> Any: ...


def with_defaults(scope: object, receive: object = None, send: object = None) -> Any: ...


def unlike_either(a: object, b: object, c: object, d: object) -> Any: ...


async def nothing() -> None: ...


async def coroutine_of_scope(scope: object) -> None: ...


def maker(settings: object = None) -> Any: ...


class Endpoint:
    """As Starlette's: an instance is a request, and awaited."""

    def __init__(self, scope: object, receive: object, send: object) -> None: ...

    def __await__(self) -> Generator[None, None, None]:
        yield


class Lazy(Endpoint):
    def __init__(self, *arguments: object) -> None: ...


class Consumer:
    """As those of Channels 2: an instance is a connection."""

    def __init__(self, scope: object) -> None: ...

    async def __call__(self, receive: object, send: object) -> None: ...


class Configurable(Consumer):
    def __init__(self, scope: object, a: object = None, b: object = None) -> None: ...


class Variadic(Consumer):
    def __init__(self, *args: object, **kwargs: object) -> None: ...


class Plain:
    """ASGI 2 does not say how the coroutine comes about."""

    def __init__(self, scope: object, a: object = None, b: object = None) -> None: ...

    def __call__(self, receive: object, send: object) -> Awaitable[None]:
        return nothing()


class Router:
    """As Starlette's: an instance is the application."""

    def __init__(self, routes: object = None, a: object = None, b: object = None) -> None: ...

    async def __call__(self, scope: object, receive: object, send: object) -> None: ...


class ConsumerOfToday:
    """As those of Channels 4: as_asgi() is the application."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    async def __call__(self, scope: object, receive: object, send: object) -> None: ...

    @classmethod
    def as_asgi(cls) -> Any: ...


class WsgiSite:
    def __init__(self, settings: object = None, a: object = None, b: object = None) -> None: ...

    def __call__(self, environ: object, start_response: object) -> list[bytes]:
        return []


class WsgiResponse:
    """PEP 3333 has such a class: an instance is a response."""

    def __init__(self, environ: object, start_response: object) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        yield b""


class Inert:
    def __init__(self, scope: object, receive: object, send: object) -> None: ...


class Disguised:
    """What it makes is none of its instances."""

    def __new__(cls, scope: object, receive: object, send: object) -> Any:
        return asgi3(scope, receive, send)


class _Making(type):
    def __call__(cls, scope: object, receive: object, send: object) -> Any:
        return asgi3(scope, receive, send)


class Metaclassed(metaclass=_Making): ...


class TakesScope:
    def __call__(self, scope: object) -> Any: ...


def marked(app: Any, mark: str) -> Any:
    setattr(app, mark, True)
    return app


ASGI3 = {
    "function": asgi3,
    "wrapper": anything,
    "partial": functools.partial(asgi3),
    "defaults": with_defaults,
    "object": Router(),
    "marked": marked(lambda scope: None, "_asgi_single_callable"),
    "class": Endpoint,
    "class that takes anything": Lazy,
    "class with a __new__": Disguised,
    "class with a metaclass": Metaclassed,
    "type": type,  # says nothing about what it takes
}
ASGI2 = {
    "function": asgi2,
    "object": TakesScope(),
    "marked": marked(lambda *any: None, "_asgi_double_callable"),
    "class": Consumer,
    "class with further arguments": Configurable,
    "class that takes anything": Variadic,
    "class without a coroutine function": Plain,
}


@pytest.mark.parametrize("app", ASGI3.values(), ids=ASGI3)
def test_asgi_3(app: Callable[..., object]) -> None:
    assert guess(app) == "asgi3"


@pytest.mark.parametrize("name", sorted(ASGI3.keys() - {"marked"}))
def test_who_may_be_asgi_3_is_let_in(name: str) -> None:
    assert unfitness(ASGI3[name], "a:b", "asgi3", factory=False) == ""


@pytest.mark.parametrize("app", ASGI2.values(), ids=ASGI2)
def test_asgi_2(app: Callable[..., object]) -> None:
    assert guess(app) == "asgi2"
    assert unfitness(app, "a:b", "asgi2", factory=False) == ""


@pytest.mark.parametrize("app", [wsgi, WsgiSite(), WsgiResponse, anything, type])
def test_who_may_be_wsgi_is_let_in(app: Callable[..., object]) -> None:
    assert unfitness(app, "a:b", "wsgi", factory=False) == ""


TAKES = "'a:b' is no ASGI application: it takes {}, not (scope, receive, send)"
RETURNS = "'a:b' is no ASGI application: what it returns cannot be awaited"
FACTORY = "; is it a factory? (--factory)"
OF_WSGI = "; is it a WSGI application? (--interface wsgi)"


def takes(app: Callable[..., object]) -> str:
    return TAKES.format(inspect.signature(app))


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (wsgi, takes(wsgi) + OF_WSGI),
        (WsgiSite(), takes(WsgiSite()) + OF_WSGI),
        (WsgiResponse, takes(WsgiResponse) + OF_WSGI),
        (unlike_either, takes(unlike_either)),
        (coroutine_of_scope, takes(coroutine_of_scope)),
        (nothing, takes(nothing)),
        (maker, takes(maker) + FACTORY),
        (Router, RETURNS + FACTORY),
        (WsgiSite, RETURNS + FACTORY),
        (ConsumerOfToday, RETURNS + "; give it what ConsumerOfToday.as_asgi() returns"),
        (Inert, RETURNS),
    ],
)
def test_what_is_said_of_what_is_none_of_asgi(app: Callable[..., object], message: str) -> None:
    assert unfitness(app, "a:b", guess(app), factory=False) == message


def test_the_asgi_application_beside_a_wsgi_one() -> None:
    message = unfitness(wsgi, "site.wsgi:app", "asgi3", factory=False)
    assert message.endswith(f"{OF_WSGI} The ASGI one may be 'site.asgi:app'")
    message = unfitness(wsgi, "wsgisite.wsgi:wsgi", "asgi3", factory=False)
    assert message.endswith(f"{OF_WSGI} The ASGI one may be 'wsgisite.asgi:wsgi'")
    assert unfitness(wsgi, "site:wsgi", "asgi3", factory=False).endswith(OF_WSGI)


def test_what_a_factory_returned_is_called_no_factory() -> None:
    assert unfitness(maker, "a:b", "asgi3", factory=True) == takes(maker)


@pytest.mark.parametrize(
    ("interface", "app", "message"),
    [
        (
            "wsgi",
            asgi3,
            "'a:b' is no WSGI application: it takes {}, not (environ, start_response); is it one "
            "of ASGI 3? (--interface asgi3)",
        ),
        ("wsgi", asgi2, "start_response); is it one of ASGI 2? (--interface asgi2)"),
        ("wsgi", unlike_either, "start_response)"),
        (
            "asgi2",
            asgi3,
            "'a:b' is no ASGI 2 application: it takes {}, not (scope); is it one of ASGI 3? "
            "(--interface asgi3)",
        ),
        ("asgi2", wsgi, "not (scope); is it a WSGI application? (--interface wsgi)"),
        (
            "asgi2",
            coroutine_of_scope,
            "is no ASGI 2 application: what it returns cannot be called with (receive, send)",
        ),
        ("asgi2", Router, "cannot be called with (receive, send); is it a factory? (--factory)"),
        ("asgi3", asgi2, "send); is it one of ASGI 2? (--interface asgi2)"),
    ],
)
def test_another_interface_than_was_asked_for(
    interface: str, app: Callable[..., object], message: str
) -> None:
    expected = message.format(inspect.signature(app))
    assert unfitness(app, "a:b", interface, factory=False).endswith(expected)
