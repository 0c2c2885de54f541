"""What is spoken at each listener: the protocol of its connections, and their certificates."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from .addresses import Kind
from .config import Config
from .connection import Connection
from .context import Context
from .declarations import ConfigError
from .listener import Listener
from .logs import server_log
from .proxy_options import NEARBY
from .redirecting import RedirectingConnection
from .tls_contexts import Certificates, load_certificates
from .tls_options import KeyPair
from .worker_seams import Trust

NewProtocol = Callable[[], asyncio.Protocol]

_SPEAKS_TLS = "speaks TLS; unix sockets never do, -e only with ssl:"


class Spoken(Protocol):
    """An address, as far as it counts here: a listener, or the place of one to be."""

    @property
    def kind(self) -> Kind:
        """What is spoken there."""

    @property
    def pairs(self) -> tuple[KeyPair, ...]:
        """The certificates, where that is TLS."""

    @property
    def is_proxied(self) -> bool:
        """Whether each connection begins with a PROXY header."""


def proxies_for(config: Config, spoken: Sequence[Spoken]) -> Trust | None:
    """Who is trusted where connections begin with PROXY headers.

    Raises:
        ConfigError: --proxy-protocol-allow-ips names what is no network, or is for nothing.
    """
    allowed = config.proxy.proxy_protocol_allow_ips
    if not any(each.is_proxied for each in spoken):
        if allowed != NEARBY:
            raise ConfigError(
                "--proxy-protocol-allow-ips: no address begins with PROXY headers "
                "(--proxy-protocol-bind)"
            )
        return None
    from .networks import Networks  # 4 ms, for those who have proxies

    return Networks("--proxy-protocol-allow-ips", allowed).trust


def certificates_for(
    config: Config, spoken: Sequence[Spoken], directory: str = ""
) -> dict[tuple[KeyPair, ...], Certificates]:
    """Judge what is to be spoken, and load the certificates for it.

    The one judge for a server that starts and for --check-config, which opens no sockets.

    Raises:
        ConfigError: A certificate cannot be loaded, or what was asked for is spoken nowhere.
    """
    tls = config.tls
    if not any(each.kind is Kind.TLS for each in spoken):
        if any(each.kind is Kind.REDIRECT for each in spoken):
            raise ConfigError(f"--redirect-bind: no other address {_SPEAKS_TLS}")
        if tls.client_certs != "none":
            # Whoever asks for them believes that nobody comes in without one.
            raise ConfigError(f"--client-certs {tls.client_certs}: no address {_SPEAKS_TLS}")
        if tls.certfile:
            server_log.warning("--certfile: no address %s", _SPEAKS_TLS)
    return load_certificates(config, [each.pairs for each in spoken], directory)


class Entrances:
    """Those of one server.

    Args:
        config: The configuration.
        listeners: Where the server listens.
        directory: Where relative paths begin; empty: in the current one.

    Raises:
        ConfigError: As `certificates_for` and `proxies_for`.
    """

    def __init__(self, config: Config, listeners: Sequence[Listener], directory: str = "") -> None:
        ports = [each.port for each in listeners if each.kind is Kind.TLS]
        self._https_port = config.bind.redirect_port or next(iter(ports), None)
        self._proxies = proxies_for(config, listeners)
        self.certificates = certificates_for(config, listeners, directory)

    def new_protocol(self, context: Context, listener: Listener) -> NewProtocol:
        """What is called for each connection that the listener accepts."""
        certificates = self.certificates.get(listener.pairs)  # where that is TLS
        match listener.kind:
            case Kind.PLAIN | Kind.TLS if listener.is_proxied:
                return self._new_proxied(context, certificates)
            case Kind.PLAIN | Kind.TLS:
                return partial(Connection, context, certificates)
            case Kind.REDIRECT:
                assert self._https_port is not None  # there is TLS, and not on unix sockets
                return partial(RedirectingConnection, context, self._https_port)

    def _new_proxied(self, context: Context, certificates: Certificates | None) -> NewProtocol:
        from .proxied import ProxiedConnection

        assert self._proxies is not None

        return partial(ProxiedConnection, context, self._proxies, certificates)

    def check(self) -> None:
        """Once a second: load certificates whose files have changed."""
        for certificates in self.certificates.values():
            certificates.check()

    def reload(self) -> None:
        """Load all certificates anew."""
        for certificates in self.certificates.values():
            certificates.reload()
