"""What a project's settings say: the application, and options of the server.

`ASGI_APPLICATION` names the application. `ASERVER` has options by their names, for `runserver` and
the live-server test case alike. Of what Daphne reads, the sizes of WebSocket messages are heeded
where `ASERVER` does not say otherwise.
"""

import re
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ..app import AppImportError, load_app
from ..config import DECLARATIONS
from ..declarations import ConfigError
from ..prefixes import clean_prefix
from ..types import ASGIApplication
from .option_places import ELSEWHERE

# Options that the command line would have for it, and what helps here.
_FLAG = re.compile(r" \((--(?:interface \w+|factory))\)")
_ADVICE = {
    "--interface wsgi": " django.core.asgi.get_asgi_application() makes one of ASGI.",
    "--factory": " Name what it returns.",
}

# Daphne's settings, by the options that they are.
_DAPHNES = {
    "websocket_max_message_size": "DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE",
    "websocket_max_frame_size": "DAPHNE_WEBSOCKET_MAX_FRAME_SIZE",
}


class SettingError(ImproperlyConfigured):
    """A setting that cannot be; the message is all that there is to say."""


def application_path() -> str:
    """What `ASGI_APPLICATION` says.

    Raises:
        SettingError: It is missing.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        raise SettingError(
            "The setting ASGI_APPLICATION is missing. It names the application to serve, as in "
            'ASGI_APPLICATION = "mysite.asgi.application".'
        )
    return str(path)


def application() -> ASGIApplication:
    """The application that `ASGI_APPLICATION` names.

    Raises:
        ImproperlyConfigured: The setting is missing, or names nothing that can be called. What the
            module itself raises is not caught: the autoreloader learns from it which file to watch.
            Only what is no Exception, such as SystemExit, would mean something else to others.
    """
    path = application_path()
    module, _, name = path.replace(":", ".").rpartition(".")
    if not module:
        raise SettingError(
            f"ASGI_APPLICATION = {path!r} does not name an object in a module, as "
            "'mysite.asgi.application' does."
        )
    # Python interrupts the main thread only: in any other one, nobody has pressed Ctrl-C.
    is_main = threading.current_thread() is threading.main_thread()
    try:
        # With the directory that is first already: the command has set up where to import from.
        return load_app(f"{module}:{name}", app_dir=sys.path[0], has_signals=not is_main)
    except AppImportError as error:
        cause = error.__cause__
        if isinstance(cause, Exception):
            raise cause from None
        problem = f"ASGI_APPLICATION = {path!r}: {_advised(str(error))}"
        if cause is None:
            raise SettingError(problem) from None
        failure = ImproperlyConfigured(problem)
        failure.filename = _broken_file(cause)  # the autoreloader watches it
        raise failure from cause


def _advised(problem: str) -> str:
    return _FLAG.sub(lambda found: _ADVICE.get(found[1], ""), problem)


def _broken_file(error: BaseException | None) -> str | None:
    """The innermost module whose import this has ended."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    files = [frame.filename for frame in frames if frame.name == "<module>"]
    return files[-1] if files else None


def server_options() -> dict[str, Any]:
    """The options that the settings ask for, by name.

    Raises:
        SettingError: There is no such option, or it cannot have this value.
    """
    values: dict[str, Any] = {}
    if settings.FORCE_SCRIPT_NAME:
        values["root_path"] = clean_prefix(settings.FORCE_SCRIPT_NAME)
        if values["root_path"] is None:
            raise SettingError("FORCE_SCRIPT_NAME is no prefix of paths, as '/shop' is one.")
    for name, setting in _DAPHNES.items():
        if (size := getattr(settings, setting, None)) is not None:
            values[name] = _checked(name, size, setting)
    given = getattr(settings, "ASERVER", {})
    if not isinstance(given, Mapping):
        raise SettingError(
            'The setting ASERVER must be a dictionary, as in ASERVER = {"http_timeout": 30}.'
        )
    for name, value in given.items():
        if name in ELSEWHERE:
            raise SettingError(f"ASERVER: {name!r} has no place here: {ELSEWHERE[name]}.")
        values[name] = _checked(name, value, "ASERVER")
    return values


def _checked(name: str, value: object, setting: str) -> Any:
    if name not in DECLARATIONS:
        raise SettingError(f"{setting}: there is no option {name!r}.")
    try:
        return DECLARATIONS[name].checked(value)
    except ConfigError as error:
        raise SettingError(f"{setting}: {error}.") from None
