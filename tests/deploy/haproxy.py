"""A real HAProxy that runs a recipe of docs/deploy/haproxy, with its addresses exchanged.

What a distribution's haproxy.cfg has is ours; the recipe is the file of the docs.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.certificates import Authority
from tests.deploy.nginx import HOST
from tests.deploy.programs import Program, recipe
from tests.services import require_program

_MAIN = """
defaults
    log stdout format raw local0
    option log-health-checks
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""


class Haproxy(NamedTuple):
    """One that runs: a `Front`."""

    program: Program
    address: tuple[str, int]
    tls_address: tuple[str, int]

    @property
    def url(self) -> str:
        """Where it is, in cleartext."""
        return "http://{}:{}".format(*self.address)

    @property
    def tls_url(self) -> str:
        """The same with TLS."""
        return "https://{}:{}".format(*self.tls_address)


@contextmanager
def haproxy(
    file: str, directory: Path, places: Mapping[str, str], authority: Authority | None = None
) -> Iterator[Haproxy]:
    """A recipe, served. With the authority it has a certificate.

    Its sockets are bound here, and inherited: nobody else can take the ports in between.
    """
    directory.mkdir(exist_ok=True)
    with ExitStack() as stack:
        plain, tls = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in "ab")
        changes = {**places, "bind :443": f"bind fd@{tls.fileno()}"}
        if file != "passthrough.cfg":
            changes["bind :80"] = f"bind fd@{plain.fileno()}"
        if authority is not None:
            own = authority.issue(HOST)
            both = directory / "example.com.pem"
            both.write_bytes(Path(own.certificate).read_bytes() + Path(own.key).read_bytes())
            changes["/etc/haproxy/example.com.pem"] = str(both)
        (directory / "haproxy.cfg").write_text(_MAIN + recipe(f"haproxy/{file}", changes))
        command = [require_program("haproxy"), "-db", "-f", "haproxy.cfg"]
        program = stack.enter_context(Program(command, directory, sockets=(plain, tls)))
        yield Haproxy(program, plain.getsockname(), tls.getsockname())
        assert not program.has_ended, program.output
