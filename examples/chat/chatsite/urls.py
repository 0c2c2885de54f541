"""Where the pages are; routing.py has the WebSockets."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from chatsite import (
    chat,
    rooms,  # noqa: F401 - for <room:...>
    views,
)

urlpatterns = [
    path("", views.home, name="home"),
    path("chat/", chat.lobby, name="lobby"),
    path("chat/<room:room>/", chat.room, name="room"),
    path("name/", chat.choose_name, name="name"),
    path("login/", LoginView.as_view(template_name="chatsite/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("async/", views.wait, name="wait"),
    path("upload/", views.upload, name="upload"),
    path("stream/", views.stream, name="stream"),
    path("stream/tokens/", views.stream_tokens, name="stream-tokens"),
    path("stream/status/", views.stream_status, name="stream-status"),
    path("health/", views.health, name="health"),
]
