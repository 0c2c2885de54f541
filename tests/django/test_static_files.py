"""Whether static files are served."""

import argparse
from types import SimpleNamespace

import pytest

from aserver.django import static_files


def parse(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser(add_help=False)
    static_files.add_options(parser)
    return vars(parser.parse_args(arguments))


def install(monkeypatch: pytest.MonkeyPatch, *, installed: bool, debug: bool) -> None:
    apps = SimpleNamespace(is_installed={"django.contrib.staticfiles": installed}.get)
    monkeypatch.setattr(static_files, "apps", apps)
    monkeypatch.setattr(static_files, "settings", SimpleNamespace(DEBUG=debug))


@pytest.mark.parametrize(
    ("debug", "arguments", "expected"),
    [
        (True, [], "static app"),
        (True, ["--nostatic"], "app"),
        (False, [], "app"),
        (False, ["--insecure"], "static app"),
        (False, ["--insecure", "--nostatic"], "app"),
    ],
)
def test_by_the_options(
    monkeypatch: pytest.MonkeyPatch, debug: bool, arguments: list[str], expected: str
) -> None:
    install(monkeypatch, installed=True, debug=debug)
    assert static_files.wrapped("app", "static {}".format, parse(*arguments)) == expected


def test_without_the_app_there_are_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, installed=False, debug=True)
    assert parse() == {}
    assert static_files.wrapped("app", "static {}".format, parse()) == "app"


def test_called_without_a_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, installed=True, debug=True)
    assert static_files.wrapped("app", "static {}".format, {}) == "static app"
