"""What a project's settings say: the application, and options of the server.

`ASGI_APPLICATION` names the application. `ASERVER` has options by their names, for `runserver` and
the live-server test case alike. Of what Daphne reads, the sizes of WebSocket messages are heeded
where `ASERVER` does not say otherwise.
"""

import sys
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ..app import AppImportError, load_app
from ..config import DECLARATIONS
from ..declarations import ConfigError
from ..types import ASGIApplication

_ADDRESS = "the command, or the test case, says where to listen"
_APPLICATION = "the setting ASGI_APPLICATION names the application"
_LOGGING = "the setting LOGGING says what is logged, how and where"

# Options of the command line that a Django project says otherwise, and how.
ELSEWHERE = {
    **dict.fromkeys(("bind", "port", "unix_socket", "fd", "endpoint"), _ADDRESS),
    **dict.fromkeys(("unix_socket_mode", "unix_socket_group"), _ADDRESS),
    **dict.fromkeys(("insecure_bind", "redirect_bind", "redirect_port"), _ADDRESS),
    **dict.fromkeys(("app", "app_dir", "factory", "interface"), _APPLICATION),
    **dict.fromkeys(("access_log", "access_log_format", "log_fmt", "log_config"), _LOGGING),
    **dict.fromkeys(
        ("proxy_protocol_bind", "proxy_protocol_allow_ips", "proxy_protocol_timeout"),
        "the PROXY protocol is spoken on addresses of its own",
    ),
    "verbosity": "it is an option of every command of Django's",
}

# Daphne's settings, by the options that they are.
_DAPHNES = {
    "websocket_max_message_size": "DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE",
    "websocket_max_frame_size": "DAPHNE_WEBSOCKET_MAX_FRAME_SIZE",
}


def application_path() -> str:
    """What `ASGI_APPLICATION` says.

    Raises:
        ImproperlyConfigured: The setting is missing.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        raise ImproperlyConfigured(
            "The setting ASGI_APPLICATION is missing. It names the application to serve, as in "
            'ASGI_APPLICATION = "mysite.asgi.application".'
        )
    return str(path)


def application() -> ASGIApplication:
    """The application that `ASGI_APPLICATION` names.

    Raises:
        ImproperlyConfigured: The setting is missing, or names nothing that can be called. What the
        module itself raises is not caught: the autoreloader learns from it which file to watch.
    """
    path = application_path()
    module, _, name = path.replace(":", ".").rpartition(".")
    if not module:
        raise ImproperlyConfigured(
            f"ASGI_APPLICATION = {path!r} does not name an object in a module, as "
            "'mysite.asgi.application' does."
        )
    try:
        # With the directory that is first already: the command has set up where to import from.
        return load_app(f"{module}:{name}", app_dir=sys.path[0])
    except AppImportError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise ImproperlyConfigured(f"ASGI_APPLICATION = {path!r}: {error}") from None


def server_options() -> dict[str, Any]:
    """The options that the settings ask for, by name.

    Raises:
        ImproperlyConfigured: There is no such option, or it cannot have this value.
    """
    values: dict[str, Any] = {}
    if settings.FORCE_SCRIPT_NAME:
        values["root_path"] = settings.FORCE_SCRIPT_NAME
    for name, setting in _DAPHNES.items():
        if (size := getattr(settings, setting, None)) is not None:
            values[name] = _checked(name, size, setting)
    given = getattr(settings, "ASERVER", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(
            'The setting ASERVER must be a dictionary, as in ASERVER = {"http_timeout": 30}.'
        )
    for name, value in given.items():
        if name in ELSEWHERE:
            raise ImproperlyConfigured(f"ASERVER: {name!r} has no place here: {ELSEWHERE[name]}.")
        values[name] = _checked(name, value, "ASERVER")
    return values


def _checked(name: str, value: object, setting: str) -> Any:
    if name not in DECLARATIONS:
        raise ImproperlyConfigured(f"{setting}: there is no option {name!r}.")
    try:
        return DECLARATIONS[name].checked(value)
    except ConfigError as error:
        raise ImproperlyConfigured(f"{setting}: {error}.") from None
