"""The server's own log: the `aserver.*` loggers, and what the command line makes of them.

Only loggers named `aserver` and below are touched, and only by the command line; a server that is
embedded leaves logging to its host. What other loggers have to say that nobody has configured is
seen, too: in our format, and Django's even without DEBUG. The access log is none of them: see
`aserver.access_log`.
"""

import logging
import sys
from typing import Any, TextIO

from .config import Log
from .declarations import ConfigError
from .escaping import printable_lines

server_log = logging.getLogger("aserver.server")  # the server's own life
app_log = logging.getLogger("aserver.app")  # what applications do wrong
peer_log = logging.getLogger("aserver.peer")  # what clients do wrong

_LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG, 3: logging.DEBUG}


def set_up_logging(log: Log) -> None:
    """Write the `aserver` loggers' records to stderr, or do what --log-config says.

    For the command line only.

    Raises:
        ConfigError: The format, or the file, is wrong.
    """
    if log.log_config is not None:
        _configure(log.log_config)
        return
    handler = _OwnHandler(sys.stderr)
    handler.setFormatter(new_formatter(log.log_fmt))
    logger = logging.getLogger("aserver")
    logger.handlers = [handler]
    logger.setLevel(_LEVELS[log.verbosity])
    logger.propagate = False
    if logging.lastResort is not None:  # where loggers write that have no handler
        logging.lastResort.setFormatter(handler.formatter)


class _OwnHandler(logging.StreamHandler[TextIO]):
    """Its presence says that logging is set up by us."""


class _Unmuted(logging.StreamHandler[TextIO]):
    """For the logger `django`: what its other handlers, and those below, do not write."""

    def filter(self, record: logging.LogRecord) -> Any:
        return super().filter(record) and _is_unwritten(record)


def unmute_django() -> None:
    """Let Django's loggers say what goes wrong, where nobody has configured them.

    They have handlers, but without DEBUG these write nothing, and the tracebacks of views would be
    nowhere. To be called when the application has started.
    """
    own = logging.getLogger("aserver").handlers
    django = logging.getLogger("django")
    if not own or not isinstance(own[0], _OwnHandler) or not any(map(_is_muted, django.handlers)):
        return
    if not isinstance(django.handlers[-1], _Unmuted):
        handler = _Unmuted(sys.stderr)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(own[0].formatter)
        django.addHandler(handler)


def _is_muted(handler: logging.Handler) -> bool:
    """Whether it is Django's for its development server, and there is no DEBUG."""
    record = logging.makeLogRecord({})
    return any(
        isinstance(each, logging.Filter)
        and type(each).__name__ == "RequireDebugTrue"
        and not each.filter(record)
        for each in handler.filters
    )


def _is_unwritten(record: logging.LogRecord) -> bool:
    """Whether neither the root logger's handlers write it nor one in between.

    Those that are muted do not, and the one that sends letters does something else.
    """
    if logging.root.handlers:
        return False
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for each in logger.handlers:
            is_log = not isinstance(each, _Unmuted) and type(each).__name__ != "AdminEmailHandler"
            if is_log and record.levelno >= each.level and not _is_muted(each):
                return False
        logger = logger.parent
    return True


class _Formatter(logging.Formatter):
    """Tracebacks quote what applications and their clients say.

    No control characters of theirs come through, and what is behind the first line is indented: so
    none of it looks like a record of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record)).replace("\n", "\n  ")


def new_formatter(template: str) -> logging.Formatter:
    """The formatter for `--log-fmt`.

    Raises:
        ConfigError: It is no format of `logging`, or has fields that no record has.
    """
    try:
        if not template:
            raise ValueError("it is empty")
        formatter = _Formatter(template)
        formatter.format(server_log.makeRecord("aserver.server", logging.INFO, "", 0, "", (), None))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--log-fmt: {template!r} is no format of Python's logging: {one_line(error)}"
        ) from None
    return formatter


def _configure(path: str) -> None:
    """Configure logging from a file: JSON or TOML for `dictConfig`, anything else is an INI file.

    Loggers that exist already go on unless the file says otherwise.
    """
    import logging.config  # not at the top: most starts need none of it

    try:
        # Opened here in any case: `fileConfig` would not tell what is wrong with it.
        with open(path, encoding="utf-8") as file:
            if not path.endswith((".json", ".toml")):
                logging.config.fileConfig(file, disable_existing_loggers=False)
                return
            settings = _parse(path, file.read())
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **settings})
    except OSError as error:
        raise ConfigError(f"--log-config: cannot read {path!r}: {error.strerror}") from None
    except Exception as error:  # there is no telling what handlers and formatters raise
        cause = f" ({one_line(error.__cause__)})" if error.__cause__ else ""
        raise ConfigError(f"--log-config: {path!r}: {one_line(error)}{cause}") from None


def _parse(path: str, text: str) -> dict[str, Any]:
    if path.endswith(".toml"):
        import tomllib

        return tomllib.loads(text)
    import json

    settings = json.loads(text)
    if not isinstance(settings, dict):
        raise ValueError("it is not an object")
    return settings


def enable_loggers() -> None:
    """Undo what an application's `logging.config` with `disable_existing_loggers` did to ours."""
    for logger in (server_log, app_log, peer_log, logging.getLogger("aserver")):
        logger.disabled = False


def one_line(error: BaseException) -> str:
    """An exception in one line, whatever its message is."""
    return " ".join(f"{type(error).__name__}: {error}".split())
