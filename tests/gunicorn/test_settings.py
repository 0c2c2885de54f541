"""gunicorn's settings as options: with gunicorn's own configuration, and none of its processes."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config as Settings

from aserver.config import DECLARATIONS, Config
from aserver.declarations import ConfigError
from aserver.gunicorn import Worker
from aserver.gunicorn.settings import (
    _OPTIONS,
    WITHOUT_EQUAL,
    from_environ,
    from_settings,
    has_plain_logger,
    is_set,
)
from tests.processes import ROOT

ALWAYS = {
    "graceful_timeout": 27.0,
    "proxy_headers": True,
    "forwarded_allow_ips": ("127.0.0.1", "::1", "unix"),
}
PROXIES = ("127.0.0.1", "::1", "unix")
COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


def given(**settings: Any) -> dict[str, Any]:
    """What is made of these settings, but for what is always there."""
    cfg = Settings()
    for name, value in settings.items():
        cfg.set(name, value)
    found = from_settings(cfg)
    Config.of(**found)
    return {name: value for name, value in found.items() if ALWAYS.get(name) != value}


def test_what_nobody_has_set_is_left_to_the_server() -> None:
    assert from_settings(Settings()) == ALWAYS


def test_every_setting_and_every_option_is_there() -> None:
    settings = Settings().settings
    assert set(_OPTIONS) | set(WITHOUT_EQUAL) <= set(settings)
    assert {option for option, _ in _OPTIONS.values()} <= set(DECLARATIONS)
    assert not set(_OPTIONS) & set(WITHOUT_EQUAL)


def test_the_documentation_has_the_same_table() -> None:
    page = (ROOT / "docs" / "howto" / "gunicorn.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)`.*? \| `(--[\w-]+)`", page, re.MULTILINE))
    flags = {name: DECLARATIONS[option].option.long for name, (option, _) in _OPTIONS.items()}
    assert rows == flags


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"keepalive": 5}, {"keep_alive": 5}),
        ({"keepalive": 0}, {"keep_alive": 0}),
        ({"backlog": 64}, {"backlog": 64}),
        ({"limit_request_line": 0}, {"max_request_line": 0}),
        ({"limit_request_fields": 50}, {"max_header_count": 50}),
        (
            {"limit_request_field_size": 1000},
            {"max_header_size": 1000, "max_headers_size": 65_536},
        ),
        (
            {"limit_request_field_size": 100_000},
            {"max_header_size": 100_000, "max_headers_size": 100_000},
        ),
        ({"limit_request_field_size": 0}, {"max_header_size": 0, "max_headers_size": 0}),
        ({"worker_connections": 10}, {"max_connections": 10}),
        ({"threads": 4}, {"threads": 4}),
        ({"graceful_timeout": 4}, {"graceful_timeout": 3.0}),
        ({"forwarded_allow_ips": "*"}, {"forwarded_allow_ips": ("*",)}),
        ({"forwarded_allow_ips": "10.0.0.0/8"}, {"forwarded_allow_ips": ("10.0.0.0/8", "unix")}),
        ({"proxy_allow_ips": "*"}, {}),
        ({"proxy_protocol": True}, {"proxy_protocol_allow_ips": PROXIES}),
        (
            {"proxy_protocol": True, "proxy_allow_ips": "*"},
            {"proxy_protocol_allow_ips": ("*",)},
        ),
        ({"http_parser": "python"}, {"http": "h11"}),
        ({"asgi_loop": "asyncio"}, {"loop": "asyncio"}),
        ({"asgi_lifespan": "off"}, {"lifespan": "off"}),
        ({"asgi_disconnect_grace_period": 0}, {"application_close_timeout": 0}),
        ({"certfile": "c", "keyfile": "k"}, {"certfile": "c", "keyfile": "k"}),
        ({"ca_certs": "ca"}, {}),
        ({"ca_certs": "ca", "cert_reqs": 2}, {"ca_certs": "ca", "client_certs": "required"}),
        ({"accesslog": "-"}, {"access_log": "-", "access_log_format": COMBINED}),
        ({"accesslog": "-", "access_log_format": "%(nothing)s"}, {}),
        ({"accesslog": "-", "syslog": True}, {}),
        ({"accesslog": "-", "statsd_host": "localhost:8125"}, {}),
    ],
)
def test_settings(settings: dict[str, Any], options: dict[str, Any]) -> None:
    assert given(**settings) == options


def test_an_access_log_that_only_the_arbiter_may_open(tmp_path: Path) -> None:
    """gunicorn's own logger has it open, and writes it."""
    log = tmp_path / "access.log"
    assert given(accesslog=str(log)) == {}
    log.touch()
    assert given(accesslog=str(log)) == {"access_log": str(log), "access_log_format": COMBINED}


def test_settings_that_another_gunicorn_has() -> None:
    cfg = Settings()
    del cfg.settings["root_path"]
    assert not is_set(cfg, "root_path")
    assert from_settings(cfg) == ALWAYS


def test_logger_classes() -> None:
    cfg = Settings()
    assert has_plain_logger(cfg)
    cfg.set("logger_class", "gunicorn.instrument.statsd.Statsd")
    assert not has_plain_logger(cfg)


def test_environment(tmp_path: Path) -> None:
    """Where to listen and what to serve is not taken from it, nor what others call ASERVER's."""
    file = tmp_path / "aserver.toml"
    file.write_text('[bind]\nendpoint = ["tcp:1"]\nbacklog = 5\n[http]\nserver_name = "mine"\n')
    environ = {
        "ASERVER_CONFIG": str(file),
        "ASERVER_PING_INTERVAL": "5",
        "ASERVER_BIND": "127.0.0.1:1",
        "ASERVER_PORT": "1",
        "ASERVER_PROXY_PROTOCOL_BIND": "127.0.0.1:2",
        "ASERVER_APP": "a:b",
        "ASERVER_FACTORY": "1",
        "ASERVER_SERVER_NAME": "",
        "FORWARDED_ALLOW_IPS": "192.0.2.1",
    }
    assert from_environ(environ) == {"ping_interval": 5.0, "server_name": "", "backlog": 5}


class Mine(Worker):
    """Of two values for one option, the class's counts."""

    options = {"keep_alive": 3}  # noqa: RUF012 - as the documentation shows it


def test_who_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = Settings()
    cfg.set("keepalive", 1)
    assert Worker._options(cfg, ["fd://3"]).limits.keep_alive == 1
    monkeypatch.setenv("ASERVER_KEEP_ALIVE", "2")
    assert Worker._options(cfg).limits.keep_alive == 2
    assert Mine._options(cfg).limits.keep_alive == 3


def test_proxy_protocol() -> None:
    cfg = Settings()
    assert Worker._options(cfg, ["fd://3"]).bind.bind == ("fd://3",)
    cfg.set("proxy_protocol", True)
    config = Worker._options(cfg, ["fd://3"])
    assert (config.bind.bind, config.bind.proxy_protocol_bind) == ((), ("fd://3",))


class Wrong(Worker):
    """With a mistake."""

    options = {"ping": 5}  # noqa: RUF012


class Listening(Worker):
    """Says what is gunicorn's to say: each worker would listen there on its own."""

    options = {"endpoint": ("tcp:80",)}  # noqa: RUF012


def check(worker: type[Worker], caplog: pytest.LogCaptureFixture, **settings: Any) -> str:
    cfg = Settings()
    for name, value in settings.items():
        cfg.set(name, value)
    worker.check_config(cfg, logging.getLogger("test"))  # type: ignore[arg-type]
    return caplog.text


def test_what_the_arbiter_hears(caplog: pytest.LogCaptureFixture) -> None:
    assert check(Worker, caplog) == ""
    with pytest.raises(RuntimeError, match="there is no option 'ping'"):
        check(Wrong, caplog)
    with pytest.raises(RuntimeError, match=r"^Listening.options: 'endpoint' is for gunicorn to s"):
        check(Listening, caplog)
    with pytest.raises(RuntimeError, match="speaks HTTP only"):
        check(Worker, caplog, protocol="uwsgi")
    assert "no use for these settings: header_map, casefold_http_method" in check(
        Worker, caplog, casefold_http_method=True, header_map="refuse"
    )


def test_a_variable_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASERVER_KEEP_ALIVE", "long")
    with pytest.raises(ConfigError, match="ASERVER_KEEP_ALIVE: --keep-alive: 'long' is not a num"):
        Worker._options(Settings())
