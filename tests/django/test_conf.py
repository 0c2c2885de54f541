"""What a project's settings say."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured

from aserver.django import conf
from tests.processes import DEADLINE

Give = Callable[..., None]
Write = Callable[[str, str], None]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    """Have these settings, and no others."""

    def do(**settings: object) -> None:
        given = {"FORCE_SCRIPT_NAME": None, **settings}
        monkeypatch.setattr(conf, "settings", SimpleNamespace(**given))

    return do


def test_the_application(give: Give, write: Write) -> None:
    write("site_of_conf.py", "async def application(scope, receive, send): pass\n")
    sys.path.insert(0, str(Path.cwd()))
    path = sys.path.copy()
    give(ASGI_APPLICATION="site_of_conf.application")
    assert conf.application() is sys.modules["site_of_conf"].application
    give(ASGI_APPLICATION="site_of_conf:application")
    assert conf.application() is sys.modules["site_of_conf"].application
    assert sys.path == path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "The setting ASGI_APPLICATION is missing"),
        ({"ASGI_APPLICATION": None}, "The setting ASGI_APPLICATION is missing"),
        ({"ASGI_APPLICATION": "application"}, "does not name an object in a module"),
        ({"ASGI_APPLICATION": "not_there.application"}, "there is no module 'not_there'"),
        ({"ASGI_APPLICATION": "site_of_conf.other"}, "'site_of_conf' has no 'other'"),
        (
            {"ASGI_APPLICATION": "site_of_conf.wsgi"},
            "is it a WSGI application? django.core.asgi.get_asgi_application() makes one of ASGI.",
        ),
        ({"ASGI_APPLICATION": "site_of_conf.make"}, "is it a factory? Name what it returns."),
    ],
)
def test_what_is_no_application(
    give: Give, write: Write, settings: dict[str, object], message: str
) -> None:
    write("site_of_conf.py", "def wsgi(environ, start_response): pass\ndef make(): pass\n")
    sys.path.insert(0, str(Path.cwd()))
    give(**settings)
    with pytest.raises(ImproperlyConfigured, match="ASGI_APPLICATION") as raised:
        conf.application()
    assert message in str(raised.value)
    assert "--" not in str(raised.value)  # the options of the command line are not there


@pytest.mark.parametrize(
    ("code", "error"),
    [("import not_there_either", ImportError), ("1 +", SyntaxError), ("1 / 0", ZeroDivisionError)],
)
def test_what_the_module_raises_is_left_alone(
    give: Give, write: Write, code: str, error: type[Exception]
) -> None:
    """Django's autoreloader watches the file in which it was raised."""
    write("site_of_conf.py", f"{code}\n")
    sys.path.insert(0, str(Path.cwd()))
    give(ASGI_APPLICATION="site_of_conf.application")
    with pytest.raises(error) as raised:
        conf.application()
    raised_in = getattr(raised.value, "filename", None) or str(raised.traceback[-1].path)
    assert Path(raised_in).name == "site_of_conf.py"


ENDS = "import argparse\nargparse.ArgumentParser(exit_on_error=True).parse_args(['x'])\n"


@pytest.mark.parametrize(
    ("files", "broken", "message"),
    [
        ({"site_of_conf": "raise SystemExit(3)"}, "site_of_conf", "SystemExit: 3"),
        ({"site_of_conf": ENDS}, "site_of_conf", "SystemExit: 2"),
        (
            {"site_of_conf": "import part_of_conf", "part_of_conf": "import sys; sys.exit('no')"},
            "part_of_conf",
            "SystemExit: no",
        ),
    ],
)
def test_a_module_that_ends_the_process_is_broken(
    give: Give, write: Write, files: dict[str, str], broken: str, message: str
) -> None:
    """A thread that ends by SystemExit ends without a word, and Django knows only Exceptions."""
    for name, code in files.items():
        write(f"{name}.py", f"{code}\n")
    sys.path.insert(0, str(Path.cwd()))
    give(ASGI_APPLICATION="site_of_conf.application")
    with pytest.raises(ImproperlyConfigured, match=f"'site_of_conf:application': {message}$") as it:
        conf.application()
    assert Path(it.value.filename) == Path.cwd() / f"{broken}.py"
    assert isinstance(it.value.__cause__, SystemExit)


def test_a_keyboard_interrupt_is_the_users_only_in_the_main_thread(
    give: Give, write: Write
) -> None:
    write("site_of_conf.py", "raise KeyboardInterrupt\n")
    sys.path.insert(0, str(Path.cwd()))
    give(ASGI_APPLICATION="site_of_conf.application")
    with pytest.raises(KeyboardInterrupt):
        conf.application()
    with ThreadPoolExecutor() as executor:
        failure = executor.submit(conf.application).exception(DEADLINE)
    assert isinstance(failure, ImproperlyConfigured)
    assert Path(failure.filename).name == "site_of_conf.py"


def test_options_by_name(give: Give) -> None:
    give()
    assert conf.server_options() == {}
    give(FORCE_SCRIPT_NAME="/site", ASERVER={"http_timeout": 30, "certfile": "a.pem"})
    assert conf.server_options() == {
        "root_path": "/site",
        "http_timeout": 30.0,
        "certfile": ("a.pem",),
    }
    give(FORCE_SCRIPT_NAME="/site", ASERVER={"root_path": ""})
    assert conf.server_options() == {"root_path": ""}


def test_sizes_as_daphne_is_told_them(give: Give) -> None:
    daphnes = {"DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE": 0, "DAPHNE_WEBSOCKET_MAX_FRAME_SIZE": 512}
    give(**daphnes)
    values = {"websocket_max_message_size": 0, "websocket_max_frame_size": 512}
    assert conf.server_options() == values
    give(**daphnes, ASERVER={"websocket_max_frame_size": 1024})
    assert conf.server_options() == {**values, "websocket_max_frame_size": 1024}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ASERVER": ["port"]}, "The setting ASERVER must be a dictionary"),
        ({"ASERVER": {"tiemout": 1}}, "ASERVER: there is no option 'tiemout'"),
        ({"ASERVER": {"keep_alive": "a"}}, "ASERVER: --keep-alive: 'a' is not a number"),
        ({"ASERVER": {"bind": "[::]"}}, "ASERVER: 'bind' has no place here: runserver's"),
        (
            {"ASERVER": {"graceful_timeout": 5}},
            "ASERVER: 'graceful_timeout' has no place here: who develops or tests does not wait",
        ),
        (
            {"DAPHNE_WEBSOCKET_MAX_FRAME_SIZE": -1},
            "DAPHNE_WEBSOCKET_MAX_FRAME_SIZE: --websocket-max-frame-size: -1 is not 0 or more",
        ),
    ],
)
def test_options_that_cannot_be(give: Give, settings: dict[str, object], message: str) -> None:
    give(**settings)
    with pytest.raises(ImproperlyConfigured) as raised:
        conf.server_options()
    assert str(raised.value).startswith(message)
