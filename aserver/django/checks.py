"""System checks: whose `runserver` it is that `manage.py` takes.

Of several apps with a command of the same name, Django takes that of the first in INSTALLED_APPS.
"""

from collections.abc import Sequence
from pathlib import Path

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Warning
from django.core.management import find_commands

OURS = "aserver.django"
_STATIC_FILES = "django.contrib.staticfiles"
_HINT = f'Put "{OURS}" before {{name!r}} in INSTALLED_APPS, best as the first of all.'


def check_order(app_configs: Sequence[AppConfig] | None, **options: object) -> list[CheckMessage]:
    """Find the apps that stand before ours and have a `runserver` of their own.

    Django's is an error: whoever has installed us does not want it. Any other may be meant, as one
    that a project has made of ours.
    """
    found: list[CheckMessage] = []
    for name in _names_before_ours():
        if name == _STATIC_FILES:
            message = f"{name!r} stands before {OURS!r}, so runserver is Django's own."
            found.append(Error(message, hint=_HINT.format(name=name), id="aserver.E001"))
        else:
            message = f"{name!r} stands before {OURS!r} and has a runserver, which is used."
            found.append(Warning(message, hint=_HINT.format(name=name), id="aserver.W001"))
    return found


def _names_before_ours() -> list[str]:
    names = []
    for config in apps.get_app_configs():
        if config.name == OURS:
            break
        if "runserver" in find_commands(str(Path(config.path, "management"))):
            names.append(config.name)
    return names
