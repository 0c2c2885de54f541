"""What all tests have in common."""

import asyncio
import compileall
import contextlib
import gc
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aserver.config import Bind
from aserver.event_loops import new_loop
from aserver.listener import Listener
from aserver.sockets import open_listeners
from tests.certificates import authority as authority
from tests.inside import Open, Run, nothing_left, open_files
from tests.processes import ROOT


def pytest_configure(config: pytest.Config) -> None:
    """Compile what the hundreds of servers import, if they may not keep what they compile.

    Each would take 0.3 s longer where PYTHONDONTWRITEBYTECODE is set.
    """
    if sys.dont_write_bytecode and not hasattr(config, "workerinput"):
        for directory in ("aserver", "examples", "tests"):
            compileall.compile_dir(ROOT / directory, quiet=2, rx=re.compile(r"/test_[^/]*$"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Without the garbage collector, which would go through what stays, again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        spare_collections()


@pytest.fixture(scope="module", autouse=True)
def spared_collections() -> Iterator[None]:
    """What a module leaves behind is collected, and complained of, with the last of its tests."""
    yield
    spare_collections()


def spare_collections() -> None:
    """Let them pass over what there is by now.

    Hundreds of tests look for leaks with full ones, and each would go through all modules and all
    tests: 0.2 s. What the tests themselves leave behind is seen as before.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_name(request: pytest.FixtureRequest) -> str:
    """Each event loop, by its name in `--loop`."""
    return str(request.param)


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    """Each HTTP/1 parser, by its name in `--http`."""
    return str(request.param)


@pytest.fixture
def options(loop_name: str, parser: str) -> dict[str, str]:
    """An event loop and a parser, for `serve`."""
    return {"loop": loop_name, "http": parser}


@pytest.fixture
def run_in_loop(loop_name: str) -> Iterator[Run[Any]]:
    """Run a coroutine in each kind of loop; it leaves no task and no file descriptor behind."""
    new_loop(loop_name).close()  # uvloop's first opens two files for ever
    before = open_files()
    with asyncio.Runner(loop_factory=lambda: new_loop(loop_name)) as runner:
        yield lambda coroutine: runner.run(nothing_left(coroutine))
    assert open_files() == before


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write modules into the current directory; the test's end forgets that they were imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    # A cache of bytecode would outlive a module that is written twice in a second.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write_module(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    yield write_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def own_loggers() -> Iterator[None]:
    """For tests that set logging up, or take it apart: put the `aserver` loggers back."""
    names = ("aserver", "aserver.server", "aserver.app", "aserver.peer")
    before = [
        (each, each.handlers.copy(), each.level, each.propagate, each.disabled)
        for each in map(logging.getLogger, names)
    ]
    last = logging.lastResort
    assert last is not None
    formatter = last.formatter
    yield
    last.setFormatter(formatter)
    for logger, handlers, level, propagate, disabled in before:
        logger.handlers, logger.propagate, logger.disabled = handlers, propagate, disabled
        logger.setLevel(level)


@pytest.fixture
def open_all() -> Iterator[Open]:
    """`open_listeners`, with the options of `Bind`; the test's end closes them."""
    with contextlib.ExitStack() as stack:

        def opened(environ: dict[str, str] | None = None, **options: Any) -> list[Listener]:
            listeners = open_listeners(Bind(**options), environ)
            for listener in listeners:
                stack.callback(listener.close)
            return listeners

        yield opened


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A name for a socket; relative, for those that must be short."""
    monkeypatch.chdir(tmp_path)
    return "socket"
