"""The ASGI application: `aserver --app-dir examples/chat chatsite.asgi:application`."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")

# First, for it sets Django up; what is imported below needs models.
django_application = get_asgi_application()

from chatsite.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        # Serves the style sheet and the scripts too, with DEBUG on or off: no other server needed.
        "http": ASGIStaticFilesHandler(django_application),
        # A page of any site may open a WebSocket to this one, and the browser sends our cookies
        # along: neither the same-origin policy nor a CSRF token stands in between. So look where
        # the page is from, before the session says whom it would speak for.
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        ),
    }
)
