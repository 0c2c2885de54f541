"""The tree of values: complete, frozen, and closed to what cannot be."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from aserver.config import (
    ADDRESS_OPTIONS,
    APPLICATION_OPTIONS,
    DECLARATIONS,
    Bind,
    Config,
    Http,
    Http2,
    Limits,
    Log,
    Process,
    Proxy,
    Tls,
    WebSocket,
)
from aserver.declarations import ConfigError, Declaration


def test_every_field_is_one_option_of_one_section() -> None:
    sections = [Bind, Http, Http2, Tls, Proxy, Limits, WebSocket, Log, Process]
    assert list(Config.sections.values()) == sections
    assert [f.name for f in fields(Config)] == list(Config.sections)
    names = [f.name for section in sections for f in fields(section)]
    assert list(DECLARATIONS) == names, "an option's name is unique, whatever its section"


def test_every_flag_means_one_thing() -> None:
    flags = [flag for each in DECLARATIONS.values() for flag in each.option.flags]
    flags += [flag for each in DECLARATIONS.values() for flag, _, _ in each.option.constants]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("declaration", DECLARATIONS.values(), ids=list(DECLARATIONS))
def test_every_option_is_described_and_has_a_possible_default(declaration: Declaration) -> None:
    assert declaration.option.help.endswith(".")
    assert declaration.checked(declaration.default) == declaration.default
    if declaration.option.flags:  # all but the application
        assert declaration.label == "--" + declaration.name.replace("_", "-")


def test_defaults() -> None:
    config = Config.of()
    assert config == Config()
    assert config.bind.bind == ()
    assert config.bind.port is None
    assert config.bind.unix_socket_mode == 0o666  # as Daphne's
    assert config.limits.keep_alive == 75
    assert config.log.access_log is None
    assert config.process.lifespan == "auto"


def test_of_finds_the_section() -> None:
    config = Config.of(port=0, server_name="", keep_alive=5, verbosity=2, factory=True)
    assert config == Config(
        bind=Bind(port=0),
        http=Http(server_name=""),
        limits=Limits(keep_alive=5.0),
        log=Log(verbosity=2),
        process=Process(factory=True),
    )


def test_flat_is_what_of_takes() -> None:
    config = Config.of(port=0, server_name="", keep_alive=5, factory=True, endpoint="tcp:80")
    flat = config.flat()
    assert list(flat) == list(DECLARATIONS)
    assert (flat["port"], flat["endpoint"], flat["http"]) == (0, ("tcp:80",), "auto")
    assert Config.of(**flat) == config


def test_what_a_host_of_the_server_says_itself() -> None:
    """An option more in this section must be in one of both sets: that is to be thought about."""
    assert {f.name for f in fields(Bind)} - ADDRESS_OPTIONS == {"backlog", "v6only"}
    assert {f.name for f in fields(Bind)} >= ADDRESS_OPTIONS
    assert {"app", "app_dir", "factory"} == APPLICATION_OPTIONS


def test_nothing_can_be_changed() -> None:
    config = Config()
    with pytest.raises(FrozenInstanceError):
        config.bind = Bind()  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        config.bind.port = 1  # type: ignore[misc]
    assert hash(config) == hash(Config())


def test_values_become_the_declared_type() -> None:
    config = Config.of(bind="unix:a", keep_alive=3)
    assert config.bind.bind == ("unix:a",)
    assert type(config.limits.keep_alive) is float
    assert Config.of(bind=["a", "b"]).bind.bind == ("a", "b")
    assert Config.of(port=None, unix_socket=None, access_log=None) == Config()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("colour", 1, "there is no option 'colour'"),
        ("port", "80", "--port: '80' is not a whole number"),
        ("port", True, "--port: True is not a whole number"),
        ("port", 80.0, "--port: 80.0 is not a whole number"),
        ("port", -1, "--port: -1 is not 0 or more"),
        ("port", 65536, "--port: 65536 is more than 65535"),
        ("fd", 2**31, "--fd: 2147483648 is more than 2147483647"),
        ("backlog", 0, "--backlog: 0 is not 1 or more"),
        ("backlog", None, "--backlog: None is not a whole number"),
        ("verbosity", 4, "--verbosity: 4 is more than 3"),
        ("factory", 1, "--factory: 1 is not true or false"),
        ("factory", "true", "--factory: 'true' is not true or false"),
        ("keep_alive", "1", "--keep-alive: '1' is not a number"),
        ("keep_alive", True, "--keep-alive: True is not a number"),
        ("keep_alive", -1.5, "--keep-alive: -1.5 is not -1 or more"),
        ("keep_alive", float("nan"), "--keep-alive: nan is not -1 or more"),
        ("header_timeout", -0.5, "--header-timeout: -0.5 is not 0 or more"),
        ("root_path", "shop", "--root-path: 'shop' is no prefix of paths, as /shop is one"),
        ("root_path", "//shop", "--root-path: '//shop' is no prefix of paths"),
        ("root_path", "http://a/", "--root-path: 'http://a/' is no prefix of paths"),
        ("root_path", "/a?b", "--root-path: '/a.b' is no prefix of paths"),
        ("keep_alive", float("inf"), "--keep-alive: inf is more than 2147483647"),
        ("keep_alive", 10**400, "--keep-alive: 1000.*0 is more than 2147483647"),
        ("unix_socket_mode", 0o1000, "--unix-socket-mode: 1000 is more than 777"),
        ("unix_socket_mode", "660", "--unix-socket-mode: '660' is not an octal number"),
        ("lifespan", "maybe", "--lifespan: 'maybe' is not one of auto, on, off"),
        ("bind", 8000, "--bind: 8000 is not a text"),
        ("bind", None, "--bind: None is not a text"),
        ("bind", ["a", 1], "--bind: 1 is not a text"),
        ("bind", {"a": "b"}, "--bind: {'a': 'b'} is not a text"),
        ("unix_socket", Path("socket"), "--unix-socket: .* is not a text"),
        ("unix_socket", "a\0b", "--unix-socket: .* has characters that are not allowed"),
        ("root_path", "/\n", "--root-path: .* is no prefix of paths"),
        ("access_log", "\udcff", "--access-log: .* has characters that are not allowed"),
        ("server_name", "a\r\nset-cookie: b", "--server-name: .* has characters that"),
        ("server_name", "sérver", "--server-name: .* has characters that are not allowed"),
        ("app", 1, "app: 1 is not a text"),
        ("http2", 1, "--http2: 1 is not true or false"),
        ("http2_max_streams", 0, "--http2-max-streams: 0 is not 1 or more"),
        ("tls_min_version", "1.1", "--tls-min-version: '1.1' is not one of 1.2, 1.3"),
        ("client_certs", "yes", "--client-certs: 'yes' is not one of none, optional, required"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.of(**{name: value})
