"""What is spoken at each listener."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aserver.addresses import Kind
from aserver.config import Config
from aserver.connection import Connection
from aserver.declarations import ConfigError
from aserver.entrances import Entrances
from aserver.listener import Listener
from aserver.redirecting import RedirectingConnection
from aserver.sockets import open_listeners
from tests.certificates import Authority
from tests.fakes import new_context, nothing


@contextmanager
def opened(**options: Any) -> Iterator[tuple[Config, list[Listener]]]:
    config = Config.of(**options)
    with ExitStack() as stack:
        listeners = open_listeners(config.bind, None, config.tls)
        for listener in listeners:
            stack.callback(listener.close)
        yield config, listeners


def kinds(listeners: list[Listener]) -> list[Kind]:
    return [each.kind for each in listeners]


@pytest.mark.asyncio
async def test_without_a_certificate() -> None:
    with opened(port=0) as (config, listeners):
        entrances = Entrances(config, listeners)
        assert entrances.certificates == {}
        protocol = entrances.new_protocol(new_context(nothing), listeners[0])()
        assert type(protocol) is Connection
        entrances.check()
        entrances.reload()


@pytest.mark.asyncio
async def test_each_listener_has_its_own(authority: Authority, path: str, tmp_path: Path) -> None:
    issued, other = authority.issue(), authority.issue()
    options: dict[str, Any] = {
        **issued.options,
        "port": 0,
        "unix_socket": path,
        "endpoint": (
            f"ssl:0:interface=127.0.0.1:privateKey={other.key}:certKey={other.certificate}",
            "tcp:0:interface=127.0.0.1",
        ),
        "insecure_bind": "127.0.0.1:0",
        "redirect_bind": "127.0.0.1:0",
    }
    with opened(**options) as (config, listeners):
        tls, unix, ssl_endpoint, tcp_endpoint, insecure, redirect = listeners
        assert kinds(listeners) == [
            *(Kind.TLS, Kind.PLAIN, Kind.TLS, Kind.PLAIN, Kind.PLAIN, Kind.REDIRECT)
        ]
        entrances = Entrances(config, listeners)
        assert tls.pairs != ssl_endpoint.pairs
        assert set(entrances.certificates) == {tls.pairs, ssl_endpoint.pairs}
        context = new_context(nothing)
        for listener in (unix, tcp_endpoint, insecure):
            assert type(entrances.new_protocol(context, listener)()) is Connection
        redirecting = entrances.new_protocol(context, redirect)()
        assert isinstance(redirecting, RedirectingConnection)
        assert redirecting._port == tls.port
        for listener in (tls, ssl_endpoint):
            protocol: asyncio.Protocol = entrances.new_protocol(context, listener)()
            assert isinstance(protocol, Connection)


def test_all_are_loaded_anew(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    issued, other = authority.issue(), authority.issue()
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={other.key}:certKey={other.certificate}"
    with opened(**issued.options, port=0, endpoint=endpoint) as (config, listeners):
        entrances = Entrances(config, listeners)
        with caplog.at_level(logging.INFO, "aserver.server"):
            entrances.reload()
            assert len(caplog.messages) == 2
            for file in (issued.key, other.key):
                os.utime(file, ns=(1, 1))
            entrances.check()
            assert len(caplog.messages) == 2
            entrances.check()
            assert len(caplog.messages) == 4


def test_nowhere_to_redirect_to(authority: Authority, path: str) -> None:
    options = {**authority.issue().options, "unix_socket": path, "redirect_bind": "127.0.0.1:0"}
    with (
        opened(**options) as (config, listeners),
        pytest.raises(ConfigError, match="--redirect-bind: no other address speaks TLS"),
    ):
        Entrances(config, listeners)


def test_a_certificate_that_cannot_be_loaded(authority: Authority) -> None:
    with (
        opened(certfile="nothing.pem", port=0) as (config, listeners),
        pytest.raises(ConfigError, match=r"--certfile: cannot read '.*/nothing.pem': No such"),
    ):
        Entrances(config, listeners)
