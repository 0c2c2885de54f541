"""What is spoken at each listener."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aserver.addresses import Kind, places
from aserver.config import Config
from aserver.connection import Connection
from aserver.declarations import ConfigError
from aserver.entrances import Entrances, Spoken, certificates_for
from aserver.listener import Listener
from aserver.redirecting import RedirectingConnection
from aserver.sockets import open_listeners
from tests.certificates import Authority
from tests.fakes import new_context, nothing
from tests.inside import make_listening

SPEAKS_TLS = "speaks TLS; unix sockets never do, -e only with ssl:"


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


@pytest.mark.asyncio
async def test_the_port_that_redirects_lead_to(authority: Authority) -> None:
    options: dict[str, Any] = {
        **authority.issue().options,
        "port": 0,
        "redirect_bind": "127.0.0.1:0",
        "redirect_port": 443,
    }
    with opened(**options) as (config, listeners):
        entrances = Entrances(config, listeners)
        redirecting = entrances.new_protocol(new_context(nothing), listeners[1])()
        assert isinstance(redirecting, RedirectingConnection)
        assert redirecting._port == 443


# Where nothing speaks TLS, though there is a certificate. --check-config has places to judge.


@contextmanager
def judged(**options: Any) -> Iterator[tuple[Config, list[Sequence[Spoken]]]]:
    with opened(**options) as (config, listeners):
        yield config, [listeners, places(config.bind, config.tls)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"redirect_bind": "127.0.0.1:0"},
            f"--redirect-bind: no other address {SPEAKS_TLS}",
        ),
        (
            {"client_certs": "required", "ca_certs": "none.pem"},
            f"--client-certs required: no address {SPEAKS_TLS}",
        ),
        (
            {"client_certs": "optional", "ca_certs": "none.pem", "insecure_bind": "127.0.0.1:0"},
            f"--client-certs optional: no address {SPEAKS_TLS}",
        ),
    ],
)
def test_what_needs_tls(path: str, options: dict[str, Any], message: str) -> None:
    with judged(certfile="none.pem", unix_socket=path, **options) as (config, both):
        for spoken in both:
            with pytest.raises(ConfigError) as caught:
                certificates_for(config, spoken)
            assert str(caught.value) == message


def test_a_certificate_without_tls_is_said_to_be_of_no_use(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with judged(certfile="none.pem", unix_socket=path) as (config, both):
        for spoken in both:
            caplog.clear()
            assert certificates_for(config, spoken) == {}
            (record,) = caplog.records
            assert record.levelno == logging.WARNING
            expected = f"--certfile: no address {SPEAKS_TLS}"
            assert record.getMessage() == expected


def test_an_endpoint_of_tcp_speaks_no_tls(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = "tcp:0:interface=127.0.0.1"
    with judged(certfile="none.pem", endpoint=endpoint) as (config, both):
        for spoken in both:
            assert certificates_for(config, spoken) == {}
    expected = f"--certfile: no address {SPEAKS_TLS}"
    assert caplog.messages == [expected] * 2


def test_inherited_unix_sockets_speak_no_tls(
    authority: Authority, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {**authority.issue().options, "ca_certs": authority.file, "client_certs": "required"}
    with (
        make_listening(socket.AF_UNIX, path) as sock,
        opened(**options, fd=sock.fileno()) as (config, listeners),
        pytest.raises(ConfigError, match="--client-certs required: no address speaks TLS"),
    ):
        Entrances(config, listeners)


def test_beside_tls_a_unix_socket_is_nothing_to_speak_of(
    authority: Authority, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {**authority.issue().options, "ca_certs": authority.file, "client_certs": "required"}
    with judged(**options, unix_socket=path, port=0) as (config, both):
        for spoken in both:
            assert len(certificates_for(config, spoken)) == 1
    assert caplog.messages == []


def test_a_certificate_that_cannot_be_loaded(authority: Authority) -> None:
    with (
        opened(certfile="nothing.pem", port=0) as (config, listeners),
        pytest.raises(ConfigError, match=r"--certfile: cannot read '.*/nothing.pem': No such"),
    ):
        Entrances(config, listeners)
