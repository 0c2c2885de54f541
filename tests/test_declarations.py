"""How options are declared: texts to values, values to texts, and the name in messages."""

from typing import Any

import pytest

from aserver.config import DECLARATIONS, Config
from aserver.declarations import ConfigError, Option


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("keep_alive", "1.5", 1.5),
        ("keep_alive", "2", 2.0),
        ("unix_socket_mode", "660", 0o660),
        ("unix_socket_mode", "0o660", 0o660),
        ("unix_socket_mode", "0660", 0o660),
        ("factory", "Yes", True),
        ("factory", "1", True),
        ("factory", " off ", False),
        ("factory", "false", False),
        ("server_name", "", ""),
        ("bind", "localhost", "localhost"),
    ],
)
def test_a_text_is_parsed_as_its_kind(name: str, text: str, value: Any) -> None:
    parsed = DECLARATIONS[name].parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("port", "http", "--port: 'http' is not a whole number"),
        ("port", "", "--port: '' is not a whole number"),
        ("unix_socket_mode", "888", "--unix-socket-mode: '888' is not an octal number"),
        ("keep_alive", "long", "--keep-alive: 'long' is not a number"),
        ("factory", "perhaps", "--factory: 'perhaps' is not true or false"),
    ],
)
def test_a_text_that_does_not_parse(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DECLARATIONS[name].parse(text)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("port", None, ""),
        ("bind", (), ""),
        ("backlog", 2048, "2048"),
        ("keep_alive", 75.0, "75"),
        ("keep_alive", 0.25, "0.25"),
        ("keep_alive", 1234567.5, "1234567.5"),
        ("unix_socket_mode", 0o666, "666"),
        ("factory", True, "true"),
        ("lifespan", "auto", "auto"),
    ],
)
def test_values_are_shown_as_they_are_typed(name: str, value: Any, shown: str) -> None:
    assert DECLARATIONS[name].show(value) == shown


@pytest.mark.parametrize("value", ["hidden\n", b"hidden"])
def test_a_secret_is_not_in_messages(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--keyfile-password: the value ") as raised:
        Config.of(keyfile_password=value)
    assert "hidden" not in str(raised.value)


def test_a_secret_is_not_in_the_configurations_repr() -> None:
    config = Config.of(keyfile_password="hidden", certfile="shown")
    assert config.tls.keyfile_password == "hidden"
    assert "hidden" not in repr(config)
    assert "shown" in repr(config)


def test_the_long_flag_names_an_option() -> None:
    assert Option(("-b", "--bind"), help="").long == "--bind"
    assert Option(("-b",), help="").long == "-b"
