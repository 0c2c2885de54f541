"""What `runserver` says when it serves."""

import re
from types import SimpleNamespace

import django
import pytest

from aserver import __version__
from aserver.django import banner


def test_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banner, "settings", SimpleNamespace(SETTINGS_MODULE="site.settings"))
    date, version, start, leave = banner.banner("https://[::1]:8000/").splitlines()
    assert re.fullmatch(r"\w+ \d\d, \d{4} - .*\d.*", date)
    assert version == f"Django version {django.get_version()}, using settings 'site.settings'"
    assert start == (
        f"Starting ASGI/aserver version {__version__} development server at https://[::1]:8000/"
    )
    assert leave in ("Quit the server with CONTROL-C.", "Quit the server with CTRL-BREAK.")
