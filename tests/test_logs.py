"""The server's own log: whose loggers are touched, and what --log-fmt and --log-config do."""

import json
import logging
import logging.config
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aserver.config import Config, Log
from aserver.declarations import ConfigError
from aserver.logs import (
    app_log,
    enable_loggers,
    one_line,
    peer_log,
    server_log,
    set_up_logging,
    unmute_django,
)
from tests.django.projects import make_project
from tests.processes import Process

# The loggers


State = tuple[int, list[logging.Handler], list[Any], bool, bool]


def state_of(logger: logging.Logger) -> State:
    return (
        logger.level,
        logger.handlers.copy(),
        logger.filters.copy(),
        logger.propagate,
        logger.disabled,
    )


def all_loggers() -> dict[str, tuple[object, ...]]:
    """Everything in `logging` that somebody could change, but for our loggers."""
    names = [name for name in logging.root.manager.loggerDict if not name.startswith("aserver")]
    states = {name: state_of(logging.getLogger(name)) for name in names}
    return states | {"": state_of(logging.root), "disabled": (logging.root.manager.disable,)}


@pytest.mark.usefixtures("own_loggers")
def test_only_our_loggers_are_touched() -> None:
    logging.getLogger("somebody.else").setLevel(logging.CRITICAL)
    before = all_loggers()
    set_up_logging(Log(verbosity=3))
    enable_loggers()
    assert all_loggers() == before


@pytest.mark.usefixtures("own_loggers")
@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (0, ["WARNING"]),
        (1, ["INFO", "WARNING"]),
        *((n, ["DEBUG", "INFO", "WARNING"]) for n in (2, 3)),
    ],
)
def test_verbosity(verbosity: int, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Log(verbosity=verbosity))
    set_up_logging(Log(verbosity=verbosity))  # again, and still each record is written once
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        server_log.log(level, "message of %s", "level")
    lines = capsys.readouterr().err.splitlines()
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) +message of level"
    matches = [re.fullmatch(pattern, line) for line in lines]
    assert [match and match[1] for match in matches] == shown


@pytest.mark.usefixtures("own_loggers")
def test_our_records_are_not_written_a_second_time_by_the_root_logger(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(Log(verbosity=1))
    app_log.error("once")
    assert capsys.readouterr().err.count("once") == 1
    assert caplog.records == []


@pytest.mark.usefixtures("own_loggers")
def test_an_applications_logging_configuration_does_not_silence_us(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.root.handlers.copy(), logging.root.level
    set_up_logging(Log(verbosity=1))
    others = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    were_disabled = [(each, each.disabled) for each in others]
    try:
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
        for logger in (server_log, app_log, peer_log):
            logger.warning("silence")
        enable_loggers()
        for logger in (server_log, app_log, peer_log):
            logger.warning("%s speaks", logger.name)
    finally:
        for each, disabled in were_disabled:
            each.disabled = disabled
        logging.root.handlers, logging.root.level = root
    text = capsys.readouterr().err
    assert "silence" not in text
    for name in ("server", "app", "peer"):
        assert f"aserver.{name} speaks" in text


# --log-fmt


@pytest.mark.usefixtures("own_loggers")
def test_a_format_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Config.of(log_fmt="%(levelname)s|%(name)s|%(message)s").log)
    peer_log.warning("100 %")
    assert capsys.readouterr().err == "WARNING|aserver.peer|100 %\n"


@pytest.mark.usefixtures("own_loggers")
@pytest.mark.parametrize(
    "template", ["", "plain", "%(message)", "%(nonsense)s", "%(message)d", "%"]
)
def test_a_format_that_is_none(template: str) -> None:
    before = logging.getLogger("aserver").handlers.copy()
    with pytest.raises(ConfigError, match=r"^--log-fmt: '.*' is no format of Python's logging: "):
        set_up_logging(Config.of(log_fmt=template).log)
    assert logging.getLogger("aserver").handlers == before


@pytest.mark.usefixtures("own_loggers")
def test_control_characters_do_not_reach_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Log(log_fmt="%(message)s"))
    try:
        raise ValueError("\x1b[31mred\r")
    except ValueError:
        app_log.exception("It says %s", "\x1b]0;title\x07é")
    text = capsys.readouterr().err
    assert text.startswith(
        "It says \\x1b]0;title\\x07é\n  Traceback (most recent call last):\n    File"
    )
    assert text.endswith("  ValueError: \\x1b[31mred\\x0d\n")


@pytest.mark.usefixtures("own_loggers")
@pytest.mark.parametrize("formatted_before", [False, True])
def test_no_record_can_be_forged(
    formatted_before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = "2026-11-20 18:00:00,000 INFO     Listening on http://evil"
    set_up_logging(Log())
    try:
        raise ValueError(f"no such page: /\n{forged}")
    except ValueError as error:
        record = app_log.makeRecord(
            *("aserver.app", logging.ERROR, "", 0, f"message\n{forged}", ()),
            exc_info=(type(error), error, error.__traceback__),
            sinfo=f"Stack:\n{forged}",
        )
    if formatted_before:  # by another handler's formatter, which leaves its traceback there
        logging.Formatter().format(record)
    app_log.handle(record)
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR    message")
    assert sum(forged in line for line in others) == 3
    assert all(line.startswith("  ") for line in others)


# --log-config


@pytest.fixture
def all_of_logging() -> Iterator[None]:
    """For tests that configure all of it: put everything back."""
    names = ["", *logging.root.manager.loggerDict]
    before = [(each, state_of(each)) for each in map(logging.getLogger, names)]
    yield
    for logger, (level, handlers, filters, propagate, disabled) in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers, logger.filters = handlers.copy(), filters.copy()
        logger.propagate, logger.disabled = propagate, disabled
        logger.setLevel(level)


def dict_config(path: Path) -> dict[str, object]:
    return {
        "version": 1,
        "formatters": {"short": {"format": "%(levelname)s:%(message)s"}},
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(path), "formatter": "short"}
        },
        "loggers": {"aserver": {"handlers": ["file"], "level": "ERROR", "propagate": False}},
    }


def as_json(path: Path) -> str:
    return json.dumps(dict_config(path))


def as_toml(path: Path) -> str:
    return f"""\
[formatters.short]
format = "%(levelname)s:%(message)s"
[handlers.file]
class = "logging.FileHandler"
filename = "{path}"
formatter = "short"
[loggers.aserver]
handlers = ["file"]
level = "ERROR"
propagate = false
"""


def as_ini(path: Path) -> str:
    return f"""\
[loggers]
keys = root, aserver
[handlers]
keys = file
[formatters]
keys = short
[logger_root]
handlers =
[logger_aserver]
handlers = file
level = ERROR
qualname = aserver
propagate = 0
[handler_file]
class = FileHandler
args = ("{path}",)
formatter = short
[formatter_short]
format = %(levelname)s:%(message)s
"""


@pytest.mark.usefixtures("all_of_logging")
@pytest.mark.parametrize(
    ("name", "make"), [("l.json", as_json), ("l.toml", as_toml), ("l.ini", as_ini), ("l", as_ini)]
)
def test_files(
    name: str, make: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("somebody.else")
    (tmp_path / name).write_text(make(tmp_path / "log"))
    set_up_logging(Config.of(log_config=str(tmp_path / name), verbosity=3).log)
    assert not logger.disabled, "loggers that exist go on"
    server_log.warning("not asked for")
    server_log.error("written")
    assert (tmp_path / "log").read_text() == "ERROR:written\n"
    assert capsys.readouterr().err == "", "the file alone decides"


@pytest.mark.usefixtures("all_of_logging")
def test_a_file_may_disable_existing_loggers(tmp_path: Path) -> None:
    logger = logging.getLogger("somebody.else")
    (tmp_path / "l.json").write_text('{"version": 1, "disable_existing_loggers": true}')
    set_up_logging(Config.of(log_config=str(tmp_path / "l.json")).log)
    assert logger.disabled


@pytest.mark.usefixtures("all_of_logging")
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.json", None, "cannot read '{path}': No such file or directory"),
        ("l.json", "{", "'{path}': JSONDecodeError: Expecting"),
        ("l.json", "[]", "'{path}': ValueError: it is not an object"),
        ("l.json", '{"version": 2}', "'{path}': ValueError: Unsupported version: 2"),
        ("l.json", '{"handlers": {"a": {"class": "a.b"}}}', "'{path}': ValueError: Unable to conf"),
        ("l.toml", "a", "'{path}': TOMLDecodeError: "),
        ("l.ini", "a", "'{path}': "),
        ("l.ini", "", "'{path}': "),
        ("l.ini", "\udcff", "'{path}': UnicodeDecodeError: "),
    ],
)
def test_files_that_are_wrong(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError) as caught:
        set_up_logging(Config.of(log_config=str(path)).log)
    assert str(caught.value).startswith("--log-config: " + message.format(path=path))


def test_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text(as_json(tmp_path / "log"))
    with Process("tests.served:no_lifespan", "--log-config", "/nowhere/l.json") as server:
        assert server.exit_code() == 2
    assert server.stderr == (
        "aserver: error: --log-config: cannot read '/nowhere/l.json': No such file or directory\n"
    )
    with Process("tests.served:nothing", "--log-config", str(tmp_path / "l.json")) as server:
        assert server.exit_code() == 3


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a"), "ValueError: a"),
        (ValueError(), "ValueError:"),
        (OSError(2, "a\nb"), "FileNotFoundError: [Errno 2] a b"),
    ],
)
def test_an_exception_in_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


# What nobody has configured


class Debug:
    """Django's setting."""

    is_on = False


class RequireDebugTrue(logging.Filter):
    """As Django's own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return Debug.is_on


class AdminEmailHandler(logging.Handler):
    """As Django's own, which sends no letter if there is nobody to get it."""

    def emit(self, record: logging.LogRecord) -> None: ...


class Kept(logging.Handler):
    """One of somebody's own, as those for queues and consoles are; it asks its filters once."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.asked = 0
        self.addFilter(self.count)

    def count(self, record: logging.LogRecord) -> bool:
        self.asked += 1
        return True

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def django(all_of_logging: None, own_loggers: None) -> logging.Logger:
    """The logger `django` with the handlers of Django's default."""
    assert logging.lastResort is not None
    console = type(logging.lastResort)()  # which looks for sys.stderr when it writes
    console.addFilter(RequireDebugTrue())
    logger = logging.getLogger("django")
    logger.handlers = [console, AdminEmailHandler()]
    logger.propagate = True
    return logger


def no_root_handlers() -> None:
    """What pytest has given it is taken away; for tests to begin with."""
    logging.root.handlers = []


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    stamp = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
    return [re.sub(stamp, "at some time ", line) for line in capsys.readouterr().err.splitlines()]


def test_django_without_debug_says_what_goes_wrong(
    django: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_root_handlers()
    set_up_logging(Log())
    for _ in range(2):
        unmute_django()
    request = logging.getLogger("django.request")
    request.error("of a view")
    django.setLevel(logging.INFO)
    django.info("not asked for")
    monkeypatch.setattr(Debug, "is_on", True)
    request.error("of its own")
    assert lines_of(capsys) == ["at some time ERROR    of a view", "of its own"]


def test_what_somebody_writes_is_written_once(
    django: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    no_root_handlers()
    set_up_logging(Log())
    unmute_django()
    request = logging.getLogger("django.request")
    request.handlers = [own := Kept()]
    own.setLevel(logging.ERROR)
    request.error("one")
    request.warning("below its level")
    request.handlers = []
    logging.root.handlers = [of_root := Kept()]  # by an application, in its first request
    request.error("two")
    assert (own.texts, own.asked) == (["one"], 1)
    assert (of_root.texts, of_root.asked) == (["two"], 1)
    assert lines_of(capsys) == ["at some time WARNING  below its level"]


@pytest.mark.parametrize("handlers", [[], [logging.NullHandler()]])
def test_who_has_silenced_django_meant_it(
    handlers: list[logging.Handler], django: logging.Logger
) -> None:
    no_root_handlers()
    django.handlers = handlers.copy()
    set_up_logging(Log())
    unmute_django()
    assert django.handlers == handlers


@pytest.mark.parametrize("log_config", ["l.json", None])
def test_who_sets_logging_up_decides(
    log_config: str | None, django: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is a file's word, or the program's that has the server in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "l.json").write_text("{}")
    no_root_handlers()
    logging.getLogger("aserver").handlers = []
    if log_config is not None:
        set_up_logging(Log(log_config=log_config))
    before = django.handlers.copy()
    unmute_django()
    assert django.handlers == before


@pytest.mark.usefixtures("all_of_logging", "own_loggers")
def test_loggers_without_any_handler_have_our_format(capsys: pytest.CaptureFixture[str]) -> None:
    no_root_handlers()
    set_up_logging(Log())
    logging.getLogger("an.application").warning("of an application")
    assert lines_of(capsys) == ["at some time WARNING  of an application"]


APPLICATION = """
import logging, os

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if os.environ["BASIC"] == "lifespan":
            logging.basicConfig(format="mine: %(message)s")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        if os.environ["BASIC"] == "request":
            logging.basicConfig(format="mine: %(message)s")
        logging.getLogger("site").warning("asked")
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})
"""


@pytest.mark.parametrize(
    ("basic", "line"),
    [("never", "WARNING  asked"), ("lifespan", "mine: asked"), ("request", "mine: asked")],
)
def test_applications_set_logging_up_when_they_like(
    basic: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logging_site.py").write_text(APPLICATION)
    monkeypatch.setenv("BASIC", basic)
    with Process("logging_site:application", "--app-dir", str(tmp_path)) as server:
        assert httpx.get(server.url).status_code == 204
        server.wait_for(line)
    assert server.stderr.count("asked") == 1


def test_errors_of_django_without_debug(tmp_path: Path) -> None:
    """Its loggers have handlers, which write nothing then."""
    make_project(tmp_path, "DEBUG = False\nALLOWED_HOSTS = ['*']")
    with Process("mysite.asgi:application", "--app-dir", str(tmp_path)) as server:
        assert httpx.get(f"{server.url}/broken/").status_code == 500
        assert httpx.get(f"{server.url}/nowhere/").status_code == 404
        server.wait_for("WARNING  Not Found: /nowhere/")
    assert "ERROR    Internal Server Error: /broken/\n  Traceback (most recent" in server.stderr
