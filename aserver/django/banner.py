"""What `runserver` says when it serves: Django's lines, with the server's name."""

import sys
from datetime import datetime

import django
from django.conf import settings

from .. import __version__

_QUIT = "CTRL-BREAK" if sys.platform == "win32" else "CONTROL-C"


def banner(url: str) -> str:
    """The lines, with the URL where it listens."""
    return (
        f"{datetime.now():%B %d, %Y - %X}\n"
        f"Django version {django.get_version()}, using settings {settings.SETTINGS_MODULE!r}\n"
        f"Starting ASGI/aserver version {__version__} development server at {url}\n"
        f"Quit the server with {_QUIT}."
    )
