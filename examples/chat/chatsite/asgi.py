"""The ASGI application: `aserver --app-dir examples/chat chatsite.asgi:application`."""

import os

from channels.routing import ProtocolTypeRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")

application = ProtocolTypeRouter(
    {
        # Serves the style sheet and the scripts too, with DEBUG on or off: no other server needed.
        "http": ASGIStaticFilesHandler(get_asgi_application()),
    }
)
