"""What live servers serve."""

from types import SimpleNamespace

import pytest

from aserver.django import conf, live_application
from aserver.types import ASGIApplication


@pytest.fixture(autouse=True)
def applications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_application, "application", lambda: "the project's")
    monkeypatch.setattr(live_application, "get_asgi_application", lambda: "Django's")


def wrap(application: ASGIApplication) -> ASGIApplication:
    return lambda scope, receive, send: application(scope, receive, send)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ASGI_APPLICATION": "mysite.asgi.application"}, "the project's"),
        ({"ASGI_APPLICATION": None}, "Django's"),
        ({}, "Django's"),
    ],
)
def test_the_application(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], expected: str
) -> None:
    monkeypatch.setattr(live_application, "settings", SimpleNamespace(**settings))
    assert str(live_application.live_application(None)) == expected
    assert callable(live_application.live_application(wrap))


def test_options_are_those_of_the_settings_but_for_certificates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"server_name": "live", "certfile": "a.pem", "ciphers": "ALL"}
    settings = SimpleNamespace(FORCE_SCRIPT_NAME=None, ASERVER=options)
    monkeypatch.setattr(conf, "settings", settings)
    assert live_application.live_options() == {"server_name": "live"}


def test_the_address_of_websockets() -> None:
    assert live_application.websocket_url("http://http.test:80") == "ws://http.test:80"
