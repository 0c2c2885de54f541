"""Whose `runserver` it is."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from aserver.django import checks

STATIC = "django.contrib.staticfiles"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Install apps, by their names; those with a + have a runserver."""

    def do(*names: str) -> None:
        configs = []
        for name in names:
            path = tmp_path / name.strip("+")
            commands = path / "management" / "commands"
            commands.mkdir(parents=True)
            (commands / ("runserver.py" if "+" in name else "other.py")).touch()
            configs.append(SimpleNamespace(name=name.strip("+"), path=str(path)))
        monkeypatch.setattr(checks, "apps", SimpleNamespace(get_app_configs=lambda: configs))

    return do


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["aserver.django+", f"{STATIC}+", "daphne+"], []),
        (["channels", "aserver.django+", f"{STATIC}+"], []),
        ([f"{STATIC}+", "aserver.django+"], [("aserver.E001", STATIC)]),
        (["daphne+", "aserver.django+", f"{STATIC}+"], [("aserver.W001", "daphne")]),
        (
            ["daphne+", f"{STATIC}+", "channels", "aserver.django+"],
            [("aserver.W001", "daphne"), ("aserver.E001", STATIC)],
        ),
    ],
)
def test_the_first_app_with_a_runserver_has_it(
    install: object, names: list[str], found: list[tuple[str, str]]
) -> None:
    assert callable(install)
    install(*names)
    messages = checks.check_order(None)
    assert [message.id for message in messages] == [identity for identity, _ in found]
    for message, (_, name) in zip(messages, found, strict=True):
        assert message.msg.startswith(f"'{name}' stands before 'aserver.django'")
        assert message.hint.startswith(f"Put \"aserver.django\" before '{name}' in INSTALLED_APPS")
        assert message.is_serious() == (message.id == "aserver.E001")
