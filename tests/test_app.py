"""From an import string to an application, and what is said when there is none."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aserver.app import AppImportError, load_app
from aserver.bridges import WsgiBridge

Write = Callable[[str, str], None]

APP = "async def app(scope, receive, send): ...\n"


def refused(path: str, *, factory: bool = False) -> AppImportError:
    with pytest.raises(AppImportError) as caught:
        load_app(path, factory=factory)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_current_directory_is_importable(write: Write, tmp_path: Path) -> None:
    write("site_a.py", APP)
    app = load_app("site_a:app")
    assert app is sys.modules["site_a"].app
    assert sys.path[0] == str(tmp_path)


def test_app_dir_comes_first_and_once(write: Write, tmp_path: Path) -> None:
    write("site_a.py", "")
    write("src/site_a.py", APP)
    sys.path.insert(0, str(tmp_path))
    sys.path.append(str(tmp_path / "src"))
    before = len(sys.path)
    assert load_app("site_a:app", app_dir="src") is load_app("site_a:app", app_dir="./src")
    assert sys.path[0] == str(tmp_path / "src")
    assert len(sys.path) == before + 1


def test_modules_and_objects_may_be_dotted(write: Write) -> None:
    write("site_a/asgi.py", f"class Holder:\n    {APP}")
    assert load_app("site_a.asgi:Holder.app").__name__ == "app"


def test_factory(write: Write) -> None:
    write("site_a.py", f"{APP}def make(): return app\n")
    assert load_app("site_a:make", factory=True) is sys.modules["site_a"].app


@pytest.mark.parametrize("path", ["", "site_a", "site_a:", ":app", ".site_a:app", "./site_a:app"])
def test_what_names_no_application(path: str) -> None:
    error = refused(path)
    assert str(error).endswith("does not name an application; it must look like MODULE:OBJECT")
    assert error.details == ""


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nowhere:app",
            "cannot import 'nowhere:app': there is no module 'nowhere' (looked in {cwd}",
        ),
        ("nowhere.asgi:app", "cannot import 'nowhere.asgi:app': there is no module 'nowhere' "),
        ("site_a.asgi:app", "cannot import 'site_a.asgi:app': there is no module 'site_a.asgi' "),
        ("site_a.py:app", "cannot import 'site_a.py:app': there is no module 'site_a.py' "),
        ("site_a:other", "cannot import 'site_a:other': 'site_a' has no 'other'"),
        ("site_a:app.b", "cannot import 'site_a:app.b': 'app' has no 'b'"),
        ("site_a:number.b", "cannot import 'site_a:number.b': 'int' has no 'b'"),
        ("site_a:a..b", "cannot import 'site_a:a..b': 'site_a' has no 'a'"),
        ("site_a:number", "'site_a:number' is not an application: it cannot be called"),
    ],
)
def test_what_is_not_there(write: Write, tmp_path: Path, path: str, message: str) -> None:
    write("site_a.py", f"{APP}number = 1\n")
    error = refused(path)
    assert str(error).startswith(message.format(cwd=tmp_path))
    assert error.details == ""


@pytest.mark.parametrize(
    ("text", "message", "details"),
    [
        ("def f(): 1 / 0\nf()", "ZeroDivisionError: division by zero", "in f"),
        (
            "import no_such_module",
            "ModuleNotFoundError: No module named 'no_such_module'",
            "line 1",
        ),
        ("import site_a.more", "ModuleNotFoundError: No module named 'site_a.more'", "line 1"),
        ("from os import nothing", "ImportError: cannot import name 'nothing'", "line 1"),
        ("def (:", "SyntaxError: invalid syntax", "^"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines", "two\nlines"),
        ("import sys; sys.exit(0)", "SystemExit: 0", "line 1"),
        ("import sys; sys.exit('no settings')", "SystemExit: no settings", "line 1"),
        ("def __getattr__(name): raise RuntimeError(name)", "RuntimeError: app", "__getattr__"),
    ],
)
def test_an_import_that_fails_shows_the_applications_own_traceback(
    write: Write, text: str, message: str, details: str
) -> None:
    write("site_a.py", text)
    error = refused("site_a:app")
    assert str(error).startswith(f"cannot import 'site_a:app': {message}")
    assert details in error.details
    assert "site_a.py" in error.details
    assert "aserver" not in error.details, "a frame of ours"
    assert "importlib" not in error.details
    assert error.details.endswith("\n")


@pytest.mark.parametrize(
    ("text", "message", "details"),
    [
        ("make = 1", "'site_a:make' is not a factory (--factory): it cannot be called", ""),
        ("def make(): pass", "what 'site_a:make' returned is not an application: it", ""),
        (
            "def make():\n    raise OSError('no database')",
            "the factory 'site_a:make' raised OSError: no database",
            "line 2, in make",
        ),
        (
            "def make(): raise SystemExit",
            "the factory 'site_a:make' raised SystemExit:",
            "line 1, in make",
        ),
        ("def make(x): pass", "the factory 'site_a:make' raised TypeError: make() missing 1", ""),
    ],
)
def test_a_factory_that_fails(write: Write, text: str, message: str, details: str) -> None:
    write("site_a.py", text)
    error = refused("site_a:make", factory=True)
    assert str(error).startswith(message)
    assert details in error.details


def test_callable_that_is_no_application(write: Write) -> None:
    write("site_wsgi.py", "def app(environ, start_response): ...\ndef make(): return make")
    assert str(refused("site_wsgi:app")) == (
        "'site_wsgi:app' is no ASGI application: it takes (environ, start_response), not (scope, "
        "receive, send); is it a WSGI application? (--interface wsgi) The ASGI one may be "
        "'site_asgi:app'"
    )
    assert "is it a factory? (--factory)" in str(refused("site_wsgi:make"))
    assert str(refused("site_wsgi:make", factory=True)).endswith("not (scope, receive, send)")


@pytest.mark.parametrize("interface", ["auto", "asgi3"])
def test_asgi_3_is_left_as_it_is(write: Write, interface: str) -> None:
    write("site_a.py", APP)
    assert load_app("site_a:app", interface=interface) is sys.modules["site_a"].app


@pytest.mark.parametrize("interface", ["auto", "asgi2"])
@pytest.mark.parametrize("arguments", ["scope", "scope, a=None, b=None", "*any"])
def test_asgi_2_is_bridged(write: Write, interface: str, arguments: str) -> None:
    write(
        "site_a.py",
        f"class app:\n    def __init__(self, {arguments}): ...\n"
        "    async def __call__(self, receive, send): await send(await receive())\n",
    )
    app = load_app("site_a:app", interface=interface)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def call() -> None:
        await app({"type": "http", "asgi": {"version": "3.0"}}, receive, send)

    asyncio.run(call())
    assert sent == [{"type": "http.request"}]


def test_a_factory_of_what_is_no_asgi_3(write: Write) -> None:
    write("site_a.py", "def make(): return lambda environ, start_response: []")
    app = load_app("site_a:make", factory=True, interface="wsgi", threads=3)
    assert isinstance(app, WsgiBridge)


def test_another_interface_than_was_asked_for(write: Write) -> None:
    write("site_a.py", APP)
    with pytest.raises(AppImportError, match="'site_a:app' is no WSGI application: it takes"):
        load_app("site_a:app", interface="wsgi")


INTERRUPTED = {
    "site_a:app": "raise KeyboardInterrupt",
    "site_a:make": "def make(): raise KeyboardInterrupt",
    "site_a:other": "def __getattr__(name): raise KeyboardInterrupt",
}


@pytest.mark.parametrize("path", INTERRUPTED)
def test_ctrl_c_is_not_the_applications_failure(write: Write, path: str) -> None:
    write("site_a.py", INTERRUPTED[path])
    with pytest.raises(KeyboardInterrupt):
        load_app(path, factory=True)


@pytest.mark.parametrize("path", INTERRUPTED)
def test_keyboard_interrupt_where_signals_have_handlers(write: Write, path: str) -> None:
    """Then it is the application's own."""
    write("site_a.py", INTERRUPTED[path])
    with pytest.raises(AppImportError, match="KeyboardInterrupt") as caught:
        load_app(path, factory=True, has_signals=True)
    assert "site_a.py" in caught.value.details
