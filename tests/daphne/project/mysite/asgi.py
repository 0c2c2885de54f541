"""Pages and WebSockets, as the documentation of Channels puts them together."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
pages = get_asgi_application()

from .consumers import ChatConsumer  # noqa: E402 - it needs the settings

sockets = AuthMiddlewareStack(URLRouter([path("ws/chat/", ChatConsumer.as_asgi())]))
application = ProtocolTypeRouter({"http": pages, "websocket": sockets})
