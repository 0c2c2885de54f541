"""What an application speaks: guessed where nobody says it, and checked where somebody does.

Nothing is called for that. What it takes is seen in its signature; what it returns is certain for a
coroutine function, and for a class that is called as any class is. What is not known speaks for an
application: if it is none, each request says so.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from types import CoroutineType, FunctionType
from typing import Any, NamedTuple

Application = Callable[..., Any]


class _Call(NamedTuple):
    """What is known of a call of an application.

    Attributes:
        signature: What it takes; None: it does not say.
        returned: The type of what it returns; None: nobody knows.
    """

    signature: inspect.Signature | None
    returned: type | None

    def takes(self, count: int) -> bool:
        """Whether it may be called with as many arguments."""
        return _takes(self.signature, count)

    def returns(self, *methods: str) -> bool:
        """Whether what it returns may have one of these methods."""
        return self.returned is None or any(_method(self.returned, name) for name in methods)

    @property
    def second_call(self) -> object:
        """The method that makes what it returns callable; None: there is none, or nobody knows."""
        return None if self.returned is None else _method(self.returned, "__call__")

    def returns_asgi2(self) -> bool:
        """Whether what it returns may be called with (receive, send)."""
        call = self.second_call
        if isinstance(call, FunctionType):
            return _takes(_signature(call), 3)  # with self
        return self.returns("__call__")


def _call_of(app: Application) -> _Call:
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        return _Call(_signature(app), CoroutineType)
    if isinstance(app, type) and _makes_instances(app):
        return _Call(_signature(app), app)
    return _Call(_signature(app), None)


def _makes_instances(kind: type) -> bool:
    """Whether a class, called, makes an instance of it: it might make anything."""
    has_new = _method(kind, "__new__") is not vars(object)["__new__"]
    return type(kind).__call__ is type.__call__ and not has_new


class _Interface(NamedTuple):
    """How an application is called."""

    name: str
    arity: int
    arguments: str
    is_returned: Callable[[_Call], bool]
    use: str  # of what it returns

    def fits(self, call: _Call) -> bool:
        return call.takes(self.arity) and self.is_returned(call)


_INTERFACES = {
    "asgi3": _Interface(
        "ASGI",
        3,
        "(scope, receive, send)",
        lambda call: call.returns("__await__"),
        "awaited",
    ),
    "asgi2": _Interface(
        "ASGI 2",
        1,
        "(scope)",
        _Call.returns_asgi2,
        "called with (receive, send)",
    ),
    "wsgi": _Interface(
        "WSGI",
        2,
        "(environ, start_response)",
        lambda call: call.returns("__iter__", "__getitem__"),
        "iterated over",
    ),
}
_HINTS = {
    "asgi3": "is it one of ASGI 3? (--interface asgi3)",
    "asgi2": "is it one of ASGI 2? (--interface asgi2)",
    "wsgi": "is it a WSGI application? (--interface wsgi)",
    "factory": "is it a factory? (--factory)",
}


def guess(app: Application) -> str:
    """Either "asgi3" or "asgi2"; asgiref's marks come first, as they do with Daphne.

    To asgiref, whatever is no coroutine function is one of ASGI 2, unless it is marked. But there
    are wrappers of ASGI 3 that take anything, and factories with an argument that has a default.
    """
    if getattr(app, "_asgi_single_callable", False):
        return "asgi3"
    if getattr(app, "_asgi_double_callable", False):
        return "asgi2"
    likely = (each for each in _likely(_call_of(app)) if each in ("asgi3", "asgi2"))
    return next(likely, "asgi3")


def _likely(call: _Call) -> Iterator[str]:
    """What it may be, the likeliest first: who can take more arguments is not called with fewer."""
    if _INTERFACES["asgi3"].fits(call):
        yield "asgi3"
    if _INTERFACES["wsgi"].fits(call):
        yield "wsgi"
    # An argument that may be left out is rather a factory's than a scope, unless ASGI comes behind.
    has_scope = not call.takes(0) or inspect.iscoroutinefunction(call.second_call)
    if has_scope and _INTERFACES["asgi2"].fits(call):
        yield "asgi2"
    if call.takes(0) and call.returns("__call__"):
        yield "factory"


def unfitness(app: Application, path: str, interface: str, *, factory: bool) -> str:
    """Why it cannot be such an application, in a sentence; empty if it may be one.

    Args:
        app: The application.
        path: What messages call it.
        interface: "asgi3", "asgi2" or "wsgi".
        factory: A factory has made it.
    """
    wanted = _INTERFACES[interface]
    call = _call_of(app)
    if wanted.fits(call):
        return ""
    if call.takes(wanted.arity):
        reason = f"what it returns cannot be {wanted.use}"
    else:
        reason = f"it takes {call.signature}, not {wanted.arguments}"
    hint = _hint(app, path, call, factory=factory)
    return f"{path!r} is no {wanted.name} application: {reason}{hint and '; '}{hint}"


def _hint(app: Application, path: str, call: _Call, *, factory: bool) -> str:
    """What it is more likely."""
    if hasattr(app, "as_asgi"):  # as consumers of Channels have
        return f"give it what {getattr(app, '__name__', 'its')}.as_asgi() returns"
    likely = next(_likely(call), "")
    if not likely or (likely == "factory" and factory):
        return ""
    asgi = re.sub(r"(?<![^._])wsgi(?=:)", "asgi", path)
    has_twin = likely == "wsgi" and asgi != path
    return _HINTS[likely] + (f" The ASGI one may be {asgi!r}" if has_twin else "")


def _method(kind: type, name: str) -> object:
    """What instances of a class have by this name; a class has methods of its own class, too."""
    return next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), None)


def _signature(app: Application) -> inspect.Signature | None:
    try:
        return inspect.signature(app)
    except (TypeError, ValueError):  # some callables have none
        return None


def _takes(signature: inspect.Signature | None, count: int) -> bool:
    if signature is None:
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
