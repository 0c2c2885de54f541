"""Static files in development: the options of `runserver`, and what is put around applications."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.apps import apps
from django.conf import settings

Application = TypeVar("Application")


def add_options(parser: ArgumentParser) -> None:
    """Add the options, if the project has static files at all."""
    if not _is_installed():
        return
    parser.add_argument(
        "--nostatic",
        action="store_false",
        dest="use_static_handler",
        help="Do not serve static files at STATIC_URL.",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        dest="insecure_serving",
        help="Serve static files even if DEBUG is off.",
    )


def wrapped(
    application: Application,
    wrapper: Callable[[Application], Application],
    options: Mapping[str, Any],
) -> Application:
    """The application, and static files before it if the options say so."""
    wanted = options.get("use_static_handler", _is_installed())
    if wanted and (settings.DEBUG or options.get("insecure_serving", False)):
        return wrapper(application)
    return application


def _is_installed() -> bool:
    installed: bool = apps.is_installed("django.contrib.staticfiles")
    return installed
