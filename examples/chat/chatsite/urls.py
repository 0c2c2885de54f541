"""Where everything is."""

from django.urls import path

from chatsite import views

urlpatterns = [
    path("", views.home, name="home"),
    path("async/", views.wait, name="wait"),
    path("upload/", views.upload, name="upload"),
    path("stream/", views.stream, name="stream"),
    path("stream/tokens/", views.stream_tokens, name="stream-tokens"),
    path("stream/status/", views.stream_status, name="stream-status"),
    path("health/", views.health, name="health"),
]
