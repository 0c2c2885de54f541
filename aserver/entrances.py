"""What is spoken at each listener: the protocol of its connections, and their certificates."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from .addresses import Kind
from .config import Config
from .connection import Connection
from .context import Context
from .declarations import ConfigError
from .listener import Listener
from .redirecting import RedirectingConnection
from .tls_contexts import load_certificates

NewProtocol = Callable[[], asyncio.Protocol]


class Entrances:
    """Those of one server.

    Args:
        config: The configuration.
        listeners: Where the server listens.

    Raises:
        ConfigError: A certificate cannot be loaded, or there is no TLS to redirect to.
    """

    def __init__(self, config: Config, listeners: Sequence[Listener]) -> None:
        self._https_ports = [each.port for each in listeners if each.kind is Kind.TLS]
        if not self._https_ports and any(each.kind is Kind.REDIRECT for each in listeners):
            raise ConfigError("--redirect-bind: no other address speaks TLS; unix sockets never do")
        self.certificates = load_certificates(config, [each.pairs for each in listeners])

    def new_protocol(self, context: Context, listener: Listener) -> NewProtocol:
        """What is called for each connection that the listener accepts."""
        match listener.kind:
            case Kind.PLAIN:
                return partial(Connection, context)
            case Kind.TLS:
                return partial(Connection, context, self.certificates[listener.pairs])
            case Kind.REDIRECT:
                port = self._https_ports[0]
                assert port is not None  # unix sockets have none, and never speak TLS
                return partial(RedirectingConnection, context, port)

    def check(self) -> None:
        """Once a second: load certificates whose files have changed."""
        for certificates in self.certificates.values():
            certificates.check()

    def reload(self) -> None:
        """Load all certificates anew."""
        for certificates in self.certificates.values():
            certificates.reload()
