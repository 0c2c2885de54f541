"""What the live servers of tests serve, and how: as the project's settings say."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application

from ..config import DECLARATIONS
from ..types import ASGIApplication
from .conf import application, server_options

Wrapper = Callable[[ASGIApplication], ASGIApplication]

# When the tests of a class have ended, nobody waits for the answers that they have left behind.
GRACE_SECONDS = 0.1


def live_application(wrapper: Wrapper | None) -> ASGIApplication:
    """The project's application, with this around it."""
    # Projects without WebSockets may never have needed the setting.
    is_named = getattr(settings, "ASGI_APPLICATION", None)
    served = application() if is_named else get_asgi_application()
    return wrapper(served) if wrapper else served


def live_options() -> dict[str, Any]:
    """What the settings ask for, without certificates: nobody knows them at `localhost`."""
    return {
        name: value
        for name, value in server_options().items()
        if DECLARATIONS[name].section != "tls"
    }


def websocket_url(url: str) -> str:
    """The same address, for WebSockets."""
    return url.replace("http", "ws", 1)
