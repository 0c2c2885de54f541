"""A proxy in front of the servers of a test: a real one, which runs a recipe of docs/deploy."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.deploy.programs import free_port
from tests.processes import Program

# What visitors ask for, and where the proxy is.
HOST = "example.com"
HOST_ADDRESS = "127.0.0.1"


class Front(Program):
    """A proxy, as it is seen from outside. It must not end before the block, where it is asked to.

    Args:
        command: With a configuration that has the addresses of the sockets, or the sockets.
        directory: Where it works.
        sockets: In cleartext and with TLS; it inherits them, by the same numbers.
        environ: Variables beside those of this process.

    Attributes:
        address: In cleartext.
        tls_address: With TLS.
        asked_to_end: Its exit code then.
    """

    asked_to_end: ClassVar[int] = 0

    def __init__(
        self,
        command: Sequence[str | Path],
        directory: Path,
        sockets: Sequence[socket.socket],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.address: tuple[str, int]
        self.tls_address: tuple[str, int]
        self.address, self.tls_address = (each.getsockname() for each in sockets)
        self.url = "http://{}:{}".format(*self.address)
        self.tls_url = "https://{}:{}".format(*self.tls_address)
        numbers = [each.fileno() for each in sockets]
        super().__init__(command, cwd=directory, environ=environ, pass_fds=numbers)

    def __exit__(self, *failure: object) -> None:
        was_there = not self.has_ended
        super().__exit__(*failure)
        assert was_there, self.output
        assert self.exit_code() == self.asked_to_end, self.output


@contextmanager
def two_ports(*, listening: bool = True) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Sockets for a proxy, at free ports; nobody else can take these in between.

    A proxy that does not inherit sockets opens its own with SO_REUSEPORT: at the ports of two that
    do not listen.
    """
    with socket.socket() as plain, socket.socket() as tls:
        for each in (plain, tls):
            if not listening:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # One that listens at all addresses needs a port that no client of another has.
            each.bind((HOST_ADDRESS, 0 if listening else free_port()))
            if listening:
                each.listen(128)
        yield plain, tls
