"""Servers of a test with HTTP/2, over TLS or in cleartext, and ways to them that others wrote."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aserver.testing import serve
from aserver.types import ASGIApplication
from tests.certificates import Authority
from tests.h2_clients import H2Client, connect
from tests.processes import DEADLINE, Process, many_files
from tests.services import require_program
from tests.test_clients import curl

# What is spoken, and the event loop: each with each would only take longer.
MATRIX = ["tls-asyncio", "tls-uvloop", "cleartext-uvloop"]
# For what takes its time.
SHORT_MATRIX = ["tls-uvloop", "cleartext-uvloop"]


class Place:
    """Where a server is, and how a client comes to trust it."""

    def __init__(self, url: str, address: tuple[str, int], authority: Authority | None) -> None:
        self.url = url
        self.address = address
        self.authority = authority

    def connect(self, **options: Any) -> H2Client:
        """The h2 library."""
        trusted = None if self.authority is None else self.authority.client(alpn=("h2",))
        return connect(self.address, trusted, **options)

    def httpx_options(self) -> dict[str, Any]:
        """For a client of httpx."""
        options: dict[str, Any] = {"base_url": self.url, "trust_env": False, "http2": True}
        if self.authority is None:
            return {**options, "http1": False}  # prior knowledge
        return {**options, "verify": self.authority.client()}

    def curl_options(self) -> list[str]:
        """For curl."""
        if self.authority is None:
            return ["--http2-prior-knowledge"]
        return ["--http2", "--cacert", self.authority.file]

    def curl(self, target: str, *arguments: str, body: bytes = b"") -> bytes:
        """What curl says."""
        return curl(*self.curl_options(), *arguments, self.url + target, body=body)

    def nghttp(self, target: str, *arguments: str) -> str:
        """What nghttp says: bodies, and with `--verbose` frames and heads."""
        how = [require_program("nghttp"), "--no-verify-peer", "--timeout=20", *arguments]
        done = subprocess.run(
            [*how, self.url + target], capture_output=True, timeout=2 * DEADLINE, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode("latin-1")


@contextmanager
def placed(app: ASGIApplication, authority: Authority, how: str, **options: Any) -> Iterator[Place]:
    """Serve an application, as one of `MATRIX` says."""
    security, _, loop = how.partition("-")
    if security == "tls":
        options |= authority.issue("localhost", "127.0.0.1").options
    with serve(app, loop=loop, **options) as server:
        trusted = authority if security == "tls" else None
        yield Place(server.url, (server.host, server.port), trusted)


@contextmanager
def processed(
    app: str, authority: Authority, how: str, *options: str
) -> Iterator[tuple[Process, Place]]:
    """The same with a process of its own, without an access log."""
    security, _, loop = how.partition("-")
    options = ("--loop", loop, "--no-access-log", *options)
    if security == "tls":
        issued = authority.issue("localhost", "127.0.0.1")
        options = (*options, "--certfile", issued.certificate, "--keyfile", issued.key)
    with many_files(2000), Process(app, *options) as server:
        trusted = authority if security == "tls" else None
        yield server, Place(server.url, server.address, trusted)
