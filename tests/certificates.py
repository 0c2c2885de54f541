"""An authority of the tests' own, the certificates that it issues, and handshakes in memory."""

import itertools
import ssl
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
import trustme

HELLO = "hello.test"


class Issued(NamedTuple):
    """A certificate with its chain, and its key: files."""

    certificate: str
    key: str
    leaf: str  # PEM, of the certificate alone

    @property
    def options(self) -> dict[str, str]:
        """For `serve` and `Config.of`."""
        return {"certfile": self.certificate, "keyfile": self.key}


class Wrapping(Protocol):
    """The server's side: `Certificates`."""

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject: ...


class Authority:
    """A root and an intermediate authority."""

    def __init__(self, directory: Path) -> None:
        self.root = trustme.CA()
        self.intermediate = self.root.create_child_ca()
        self.file = str(directory / "root.pem")
        Path(self.file).write_bytes(self.root.cert_pem.bytes())
        self._directory = directory
        self._numbers = itertools.count(1)

    def issue(self, *names: str, directory: Path | None = None, stem: str = "") -> Issued:
        """A certificate for these names, by the intermediate authority."""
        made = self.intermediate.issue_cert(*(names or (HELLO,)))
        where = directory or self._directory
        stem = stem or f"{next(self._numbers)}"
        certificate, key = where / f"{stem}.pem", where / f"{stem}.key"
        certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        return Issued(str(certificate), str(key), made.cert_chain_pems[0].bytes().decode())

    def client(self, own: Issued | None = None, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A client that trusts the root; `own` is what it shows."""
        context = ssl.create_default_context(cafile=self.file)
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def shake_hands(
    server: Wrapping,
    client: ssl.SSLContext,
    name: str | None = HELLO,
    session: ssl.SSLSession | None = None,
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A whole handshake in memory: the server's side and the client's.

    Raises:
        ssl.SSLError: From the side that is not content.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap(to_server, to_client)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    waiting = [theirs, ours]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    ours.write(b"x")  # behind it, the client has the session's tickets
    assert theirs.read(1) == b"x"
    return ours, theirs


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One for all tests: keys take their time."""
    return Authority(tmp_path_factory.mktemp("certificates"))
