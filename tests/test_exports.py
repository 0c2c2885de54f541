"""The public surface, frozen: whoever changes it decides so here, and says it in the change log."""

import importlib.metadata
import inspect
import subprocess
import sys
from importlib.resources import files
from types import ModuleType

import pytest

import aserver
import aserver.testing
import aserver.types
from aserver import __main__, cli
from aserver.config import DECLARATIONS

PUBLIC = {
    aserver: ["Config", "Server", "__version__", "run"],
    aserver.testing: ["DaphneProcess", "ServerProcess", "serve"],
}

SIGNATURES = {
    aserver.run: "(app, config=None, *, environ=None, access_log=None)",
    aserver.Server: "(app, config=None, *, environ=None, access_log=None, observer=None)",
    aserver.Config: (
        "(bind=..., http=..., http2=..., tls=..., proxy=..., limits=..., websocket=..., log=..., "
        "process=...)"
    ),
    aserver.testing.serve: "(app, **options)",
    aserver.testing.ServerProcess: (
        "(host, get_application, kwargs=None, setup=None, teardown=None, port=None)"
    ),
}

MEMBERS = {
    aserver.Server: {
        "reload_certificates": "(self)",
        "reopen_logs": "(self)",
        "request_stop": "(self)",
        "serve": "(self)",
        "sockets": "",
        "start": "(self)",
        "stop": "(self)",
        "url": "",
        "wait_for_stop_request": "(self)",
    },
    aserver.Config: {
        "flat": "(self)",
        "of": "(**options)",
        "sections": "",
    },
    aserver.testing.serve: {"host": "", "port": "", "url": ""},
}

# Names on the command line, in the environment and in files. More may come, none may go.
OPTIONS = {
    *("bind", "port", "unix_socket", "unix_socket_mode", "unix_socket_group", "fd", "backlog"),
    *("v6only", "http", "root_path", "server_name", "header_timeout", "keep_alive"),
    *("write_timeout", "http_timeout", "application_close_timeout", "graceful_timeout"),
    *("verbosity", "access_log", "app", "app_dir", "factory", "lifespan", "loop"),
}


def shape(called: object) -> str:
    """A signature without its types; "..." is a default that is made anew for each call."""
    assert callable(called)
    parts = []
    for parameter in inspect.signature(called).parameters.values():
        plain = str(parameter.replace(annotation=parameter.empty))
        parts.append(plain.replace("<factory>", "..."))
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.insert(-1, "*")
    return f"({', '.join(parts)})"


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_public_names(module: ModuleType) -> None:
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    assert sorted(names) == PUBLIC[module]
    for name in names:
        assert hasattr(module, name)


def test_the_package_has_no_other_names() -> None:
    names = {
        name
        for name, value in vars(aserver).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert names == {*PUBLIC[aserver]} - {"__version__"}


@pytest.mark.parametrize("called", SIGNATURES, ids=lambda called: called.__name__)
def test_signatures(called: object) -> None:
    assert shape(called) == SIGNATURES[called]


@pytest.mark.parametrize("owner", MEMBERS, ids=lambda owner: owner.__name__)
def test_members(owner: type) -> None:
    found = {}
    for name in dir(owner):
        if not name.startswith("_"):
            member = inspect.getattr_static(owner, name)
            if isinstance(member, classmethod):
                member = getattr(owner, name)
            found[name] = shape(member) if callable(member) else ""
    assert found == MEMBERS[owner]


def test_options() -> None:
    assert set(DECLARATIONS) >= OPTIONS


def test_exit_codes() -> None:
    assert sorted(cli.EXIT_CODES) == [0, 1, 2, 3, 4, 5, 6]


def test_errors_are_of_these_kinds() -> None:
    assert issubclass(aserver.types.ClientDisconnected, OSError)  # ASGI HTTP & WebSocket 2.4
    assert issubclass(aserver.types.AppError, ValueError)
    assert aserver.types.ServerError.exit_code == 1


def test_distribution() -> None:
    assert importlib.metadata.version("aserver") == aserver.__version__
    assert files("aserver").joinpath("py.typed").is_file()
    scripts = importlib.metadata.entry_points(group="console_scripts", name="aserver")
    assert [script.value for script in scripts] == ["aserver.__main__:entrypoint"]
    assert scripts["aserver"].load() is __main__.entrypoint


def test_names_of_the_package() -> None:
    assert set(dir(aserver)) >= {*PUBLIC[aserver]}
    with pytest.raises(AttributeError, match="module 'aserver' has no attribute 'nothing'"):
        _ = aserver.nothing  # type: ignore[attr-defined]


def test_importing_the_package_changes_nothing_and_loads_no_engine() -> None:
    code = """if True:
        import asyncio, logging, signal, sys, threading
        signals = [signal.getsignal(number) for number in signal.valid_signals()]
        import aserver, aserver.testing
        not_needed = {"uvloop", "httptools", "h11", "pytest", "django", "multiprocessing"}
        assert not not_needed & set(sys.modules)
        assert logging.root.handlers == logging.getLogger("aserver").handlers == []
        assert signals == [signal.getsignal(number) for number in signal.valid_signals()]
        assert threading.active_count() == 1
    """
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=20)
