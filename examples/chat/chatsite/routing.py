"""Where the WebSockets are."""

from django.urls import path, re_path

from chatsite import rooms  # noqa: F401 - for <room:...>
from chatsite.consumers import ChatConsumer, Nowhere

websocket_urlpatterns = [
    path("ws/chat/<room:room>/", ChatConsumer.as_asgi()),
    # Without it, each such request would be an error of the application, with a traceback.
    re_path("", Nowhere.as_asgi()),
]
