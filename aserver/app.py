"""The application: from an import string to a callable of ASGI 3, whatever it speaks itself."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from .interfaces import guess, unfitness
from .logs import one_line
from .types import ASGIApplication, ServerError

_Failures = type[BaseException] | tuple[type[BaseException], ...]


class AppImportError(ServerError):
    """The application cannot be imported.

    Attributes:
        details: The application's own traceback, where its import raised; else empty.
    """

    exit_code = 3

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def load_app(
    path: str,
    *,
    app_dir: str = ".",
    factory: bool = False,
    interface: str = "auto",
    threads: int | None = None,
    has_signals: bool = False,
) -> ASGIApplication:
    """Import `MODULE:OBJECT`; OBJECT may be dotted.

    Args:
        path: The import string.
        app_dir: Put first on `sys.path`, so that the current directory is importable by default.
        factory: OBJECT is called, without arguments, and returns the application.
        interface: What the application speaks: see `adapted`.
        threads: For those of WSGI.
        has_signals: Ctrl-C is a signal handler's, so a KeyboardInterrupt is the application's own.

    Raises:
        AppImportError: It cannot be imported, or is no application.
        ConfigError: The bridge to it is not installed.
    """
    module_name, _, attributes = path.partition(":")
    if not module_name or not attributes or module_name.startswith("."):
        raise AppImportError(
            f"{path!r} does not name an application; it must look like MODULE:OBJECT"
        )
    directory = os.path.abspath(app_dir)
    if not os.path.isdir(directory):
        raise AppImportError(f"--app-dir: there is no directory {app_dir!r}")
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    # A module that calls sys.exit() has failed, too: its code, perhaps 0, must not become ours.
    failures: _Failures = BaseException if has_signals else (Exception, SystemExit)
    found: object = _import(module_name, path, directory, failures)
    for name in attributes.split("."):
        found = _attribute(found, name, path, failures)
    if factory:
        if not callable(found):
            raise AppImportError(f"{path!r} is not a factory (--factory): it cannot be called")
        try:
            found = found()
        except failures as error:
            raise AppImportError(
                f"the factory {path!r} raised {one_line(error)}", _details(error)
            ) from error
    if not callable(found):
        what = f"what {path!r} returned" if factory else repr(path)
        raise AppImportError(f"{what} is not an application: it cannot be called")
    return adapted(found, path, interface, threads=threads, factory=factory)


def adapted(
    app: Callable[..., Any],
    path: str,
    interface: str,
    *,
    threads: int | None = None,
    factory: bool = False,
) -> ASGIApplication:
    """An application as one of ASGI 3, whichever it is.

    Args:
        app: The application.
        path: What messages call it.
        interface: "asgi3", "asgi2" or "wsgi"; "auto": one of the first two, by what it takes.
        threads: For those of WSGI.
        factory: A factory has made it.

    Raises:
        AppImportError: It does not speak that.
        ConfigError: The bridge to it is not installed.
    """
    if interface == "auto":
        interface = guess(app)
    if problem := unfitness(app, path, interface, factory=factory):
        raise AppImportError(problem)
    if interface == "asgi3":
        return app
    from .bridges import WsgiBridge, bridge_asgi2  # not at the top: most starts need none of it

    return bridge_asgi2(app) if interface == "asgi2" else WsgiBridge(app, threads)


def _import(module_name: str, path: str, directory: str, failures: _Failures) -> object:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise AppImportError(
                f"cannot import {path!r}: there is no module {error.name!r} "
                f"(looked in {directory} first)"
            ) from None
        raise AppImportError(
            f"cannot import {path!r}: {one_line(error)}", _details(error)
        ) from error
    except failures as error:
        raise AppImportError(
            f"cannot import {path!r}: {one_line(error)}", _details(error)
        ) from error


def _attribute(found: object, name: str, path: str, failures: _Failures) -> object:
    try:
        return getattr(found, name)
    except AttributeError:
        raise AppImportError(f"cannot import {path!r}: {_name(found)} has no {name!r}") from None
    except failures as error:  # a module's or an object's own __getattr__
        raise AppImportError(
            f"cannot import {path!r}: {one_line(error)}", _details(error)
        ) from error


def _details(error: BaseException) -> str:
    """The traceback without the frames of this module and of the import machinery."""
    ours = (__file__, importlib.__file__)
    trace = traceback.TracebackException.from_exception(error)
    kept = [
        frame
        for frame in trace.stack
        if frame.filename not in ours and not frame.filename.startswith("<frozen importlib")
    ]
    trace.stack = traceback.StackSummary.from_list(kept)
    return "".join(trace.format())


def _name(found: object) -> str:
    name = getattr(found, "__name__", None) or type(found).__name__
    return f"{name!r}"
