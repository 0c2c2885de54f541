"""An application for tests of TLS, and clients that look closely at what they are shown."""

import base64
import hashlib
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from aserver.types import Receive, Scope, Send
from tests.certificates import HELLO, Authority, Issued
from tests.processes import DEADLINE, get, read_all
from tests.served import answer, inspect, lifespan, stream, wait
from tests.services import require_program

PIECE = bytes(range(256)) * 256
ADDRESS = "127.0.0.1"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await VIEWS[scope["path"]](scope, receive, send)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


def facts(scope: Scope) -> str:
    """What a scope says of its connection, as JSON."""
    told = {name: scope[name] for name in ("type", "scheme", "http_version", "server")}
    return json.dumps({**told, "tls": scope["extensions"].get("tls")})


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Send the scope back."""
    await answer(send, facts(scope).encode())


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell the scope, then send back what comes."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": facts(scope)})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def digest(scope: Scope, receive: Receive, send: Send) -> None:
    """The digest of what is sent."""
    found = hashlib.sha256()
    while (message := await receive())["more_body"]:
        found.update(message["body"])
    found.update(message["body"])
    await answer(send, found.hexdigest().encode())


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """So many pieces."""
    await send({"type": "http.response.start", "status": 200})
    for _ in range(int(scope["query_string"])):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body"})


def _named(scope: Scope) -> str:
    return base64.urlsafe_b64decode(scope["query_string"]).decode()


async def path(scope: Scope, receive: Receive, send: Send) -> None:
    """The file that is asked for, by its name."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.pathsend", "path": _named(scope)})


async def descriptor(scope: Scope, receive: Receive, send: Send) -> None:
    """A part of the file that is asked for, by its descriptor."""
    await send({"type": "http.response.start", "status": 200})
    with open(_named(scope), "rb") as file:
        part = {"file": file, "offset": 1000, "count": 100_000}
        await send({"type": "http.response.zerocopysend", **part})


VIEWS = {
    "/": hello,
    "/scope": tell,
    "/digest": digest,
    "/large": large,
    "/path": path,
    "/descriptor": descriptor,
    "/inspect": inspect,
    "/stream": stream,
    "/wait": wait,
}


def named(file: Path) -> str:
    """A file, in a query."""
    return base64.urlsafe_b64encode(os.fsencode(file)).decode()


def expected_digest(pieces: int) -> str:
    """Of what `large` sends."""
    found = hashlib.sha256()
    for _ in range(pieces):
        found.update(PIECE)
    return found.hexdigest()


# Clients


@contextmanager
def secured(
    address: tuple[str, int], context: ssl.SSLContext, name: str | None = HELLO
) -> Iterator[ssl.SSLSocket]:
    """A connection behind its handshake."""
    with (
        socket.create_connection(address, DEADLINE) as sock,
        context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False) as secure,
    ):
        yield secure


def ask_securely(
    address: tuple[str, int], context: ssl.SSLContext, path: str = "/", name: str | None = HELLO
) -> tuple[bytes, int]:
    """GET over a connection of its own, until its end; with the server's serial number."""
    with secured(address, context, name) as sock:
        sock.sendall(get(path, "Connection: close"))
        return read_all(sock), shown_serial(sock)


def shown_serial(sock: ssl.SSLSocket) -> int:
    """The serial number of the certificate that the server has shown."""
    der = sock.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def serial_of(issued: Issued) -> int:
    return x509.load_pem_x509_certificate(issued.leaf.encode()).serial_number


def first_flight(context: ssl.SSLContext, name: str | None = HELLO) -> bytes:
    """What a client begins with."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a server")


def odd_name(context: ssl.SSLContext) -> bytes:
    """The first flight of a client that calls the server by a name which is no ASCII."""
    return first_flight(context, "bXXcher.test").replace(b"bXXcher", "b\u00fccher".encode())


def curl(authority: Authority, port: int, *arguments: str) -> tuple[int, str]:
    """Run curl against https://hello.test; returns its exit code and what it wrote."""
    command = [
        require_program("curl"),
        *("--silent", "--show-error", "--max-time", "20", "--cacert", authority.file),
        *("--resolve", f"{HELLO}:{port}:{ADDRESS}"),
        *arguments,
    ]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )
    return done.returncode, done.stdout


def s_client(port: int, *arguments: str, send: str = "") -> str:
    """Run OpenSSL's client until the server closes; returns what it wrote."""
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        _s_client(port, *arguments),
        input=send.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=2 * DEADLINE,
        check=False,
    )
    return done.stdout.decode("latin-1")


def _s_client(port: int, *arguments: str) -> list[str]:
    return [require_program("openssl"), "s_client", "-connect", f"{ADDRESS}:{port}", *arguments]


class Talk:
    """What is said to a program and what it answers."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def say(self, text: str, answer: str) -> str:
        """Say it, and wait for the answer; returns all that was heard.

        It is a read of its own for the program.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()
        heard = b""
        while answer.encode() not in heard:
            piece = os.read(self._process.stdout.fileno(), 65536)
            assert piece, heard.decode("latin-1")
            heard += piece
        return heard.decode("latin-1")


@contextmanager
def s_client_open(port: int, *arguments: str) -> Iterator[Talk]:
    """OpenSSL's client, to talk to."""
    command = _s_client(port, *arguments)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield Talk(process)
        finally:
            process.kill()
