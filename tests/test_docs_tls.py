"""What the documentation says of TLS: its commands are run, its messages provoked."""

import ast
import logging
import os
import re
import shlex
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from aserver.cli import main
from aserver.options import load
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.certificates import Authority
from tests.processes import Process, wait_until
from tests.services import require_program
from tests.test_docs import DOCS, codes, nothing, section, table, text_of, write_files
from tests.test_entrances import SPEAKS_TLS

pytestmark = pytest.mark.usefixtures("own_loggers")

PAGE = DOCS / "howto" / "tls.md"
TEXT = PAGE.read_text(encoding="utf-8")

RUN = re.findall(r"^<!-- run -->\n```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SERVE = re.findall(r"^<!-- serve -->\n    aserver (.*)$", TEXT, re.MULTILINE)
ASK = re.findall(r"^<!-- ask -->\n    (curl .*)$", TEXT, re.MULTILINE)
CHECK = re.findall(r"^<!-- check -->\n    aserver (.*)$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody has who does what the page says, and a second certificate."""
    require_program("openssl")
    directory = tmp_path_factory.mktemp("tls")
    for block in RUN:
        for line in block.splitlines():
            subprocess.run(shlex.split(line), cwd=directory, check=True, capture_output=True)
    write_files(PAGE, directory)
    for old, new in (("cert", "shop"), ("key", "shop-key")):
        content = (directory / f"{old}.pem").read_bytes()
        (directory / f"{new}.pem").write_bytes(content)
    return directory


def test_the_page_has_all_kinds_of_commands() -> None:
    assert (len(RUN), len(SERVE), len(ASK), len(CHECK)) == (3, 6, 2, 1)


@pytest.mark.parametrize("command", SERVE)
def test_commands_that_serve(command: str, directory: Path) -> None:
    """On free ports, with the page's own application. Processes start in another directory."""
    *options, app = shlex.split(re.sub(r"\b8(443|080)\b", "0", command))
    assert app == "mysite.asgi:application"
    options = [_absolute(each, directory) for each in options]
    with Process("whoami:application", *options, "--app-dir", str(directory)) as server:
        server.wait_for("Listening on https://")


def _absolute(argument: str, directory: Path) -> str:
    return re.sub(r"[\w-]+\.pem", lambda found: str(directory / found[0]), argument)


@pytest.mark.parametrize("command", CHECK)
def test_commands_that_check(
    command: str,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(directory)
    assert main([*shlex.split(command.replace("mysite.asgi", "whoami"))]) == 0
    assert "configuration is good" in capsys.readouterr().out


@pytest.mark.parametrize("command", SERVE)
def test_options_of_commands(command: str) -> None:
    assert load(shlex.split(command), {}).config.process.app == "mysite.asgi:application"


def ask(command: str, port: int, directory: Path) -> str:
    """What a command with curl on the page gets."""
    require_program("curl")
    arguments = shlex.split(command.replace(":8443/", f":{port}/"))
    done = subprocess.run([*arguments, "-sS"], cwd=directory, capture_output=True, text=True)
    return done.stdout or done.stderr


def options_of(directory: Path, **options: Any) -> dict[str, Any]:
    own = {"certfile": str(directory / "cert.pem"), "keyfile": str(directory / "key.pem")}
    return own | options


def test_client_certificates(directory: Path) -> None:
    application = _whoami(directory)
    without, with_one = ASK
    (name,) = re.findall(r"certificate above it is `(.*?)`", TEXT)
    for how, anybody, other in CLIENTS:
        options = options_of(directory)
        if how != "none":
            options |= {"ca_certs": str(directory / "ca.pem"), "client_certs": how}
        with serve(application, **options) as server:
            assert (ask(without, server.port, directory) == "nobody") == anybody, how
            known = "nobody" if how == "none" else name
            assert ask(with_one, server.port, directory) == known, how
            foreign = re.sub(
                r"anna(-key)?", lambda found: f"{'key' if found[1] else 'cert'}", with_one
            )
            assert (ask(foreign, server.port, directory) == "nobody") == other, how


CLIENTS = [
    (
        codes(row[0])[0],
        row[1].startswith("is served"),
        row[2].startswith("is served"),
    )
    for row in table(
        TEXT,
        "`--client-certs`",
        "a client without a certificate",
        "one with a certificate of another authority",
    )
]


def _whoami(directory: Path) -> Any:
    space: dict[str, Any] = {}
    exec((directory / "whoami.py").read_text(), space)
    return space["application"]


# What goes wrong

Start = Callable[[Authority, Path], list[str]]


def _pair(authority: Authority) -> list[str]:
    issued = authority.issue()
    return ["--certfile", issued.certificate, "--keyfile", issued.key]


def _encrypted(authority: Authority, directory: Path, *more: str) -> list[str]:
    from cryptography.hazmat.primitives import serialization as to

    issued = authority.issue()
    key = to.load_pem_private_key(Path(issued.key).read_bytes(), None)
    lock = to.BestAvailableEncryption(b"secret")
    form = (to.Encoding.PEM, to.PrivateFormat.PKCS8, lock)
    (directory / "locked.pem").write_bytes(key.private_bytes(*form))
    return ["--certfile", issued.certificate, "--keyfile", str(directory / "locked.pem"), *more]


STARTS: dict[str, Start] = {
    "--certfile: cannot read '…': No such file or directory": lambda made, where: [
        *("--certfile", str(where / "nothing.pem"))
    ],
    "--keyfile: cannot read '…'": lambda made, where: [*_pair(made)[:3], str(where)],
    "--certfile: cannot read '…': it is no regular file": lambda made, where: [
        *("--certfile", os.devnull)
    ],
    "--certfile: '…' has no certificate in PEM": lambda made, where: [
        *("--certfile", made.issue().key)
    ],
    "--keyfile: '…' has no private key in PEM": lambda made, where: _pair(made)[:2],
    "--keyfile: '…' is not the key of the certificate '…'": lambda made, where: [
        *_pair(made)[:3],
        made.issue().key,
    ],
    "--keyfile: '…' is encrypted: give --keyfile-password": _encrypted,
    "--keyfile-password: it is not the password of '…'": lambda made, where: _encrypted(
        made, where, "--keyfile-password", "wrong"
    ),
    "--client-certs required: whose certificates? Give --ca-certs": lambda made, where: [
        *_pair(made),
        *("--client-certs", "required"),
    ],
    "--ca-certs: no client is asked for a certificate (--client-certs)": lambda made, where: [
        *_pair(made),
        *("--ca-certs", made.file),
    ],
    f"--client-certs required: no address {SPEAKS_TLS}": (
        lambda made, where: [
            *_pair(made),
            *("--client-certs", "required", "--ca-certs", made.file, "-u", str(where / "s")),
        ]
    ),
    "--redirect-bind: there is no certificate (--certfile)": lambda made, where: [
        *("--redirect-bind", "127.0.0.1:0")
    ],
    f"--redirect-bind: no other address {SPEAKS_TLS}": (
        lambda made, where: [
            *_pair(made),
            *("--redirect-bind", "127.0.0.1:0", "-u", str(where / "s")),
        ]
    ),
    "--tls-min-version: there is no certificate of the server (--certfile)": lambda made, where: [
        *("--tls-min-version", "1.3")
    ],
    "--ciphers: OpenSSL knows no cipher of TLS 1.2 in '…'": lambda made, where: [
        *_pair(made),
        *("--ciphers", "NONE-SUCH"),
    ],
    "--ciphers: they are for TLS 1.2, which is not spoken (--tls-min-version 1.3)": lambda a, _: [
        *_pair(a),
        *("--ciphers", "ECDHE", "--tls-min-version", "1.3"),
    ],
}


@pytest.mark.parametrize("message", [row[0].strip("`") for row in table(TEXT, "it says", "do")])
def test_messages_at_the_start(
    message: str, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([*STARTS[message](authority, tmp_path), "tests.test_docs:nothing"])
    assert code == 2
    error = capsys.readouterr().err
    pattern = re.escape(message).replace("…", "[^']+")
    assert re.search(f"^aserver: error: {pattern}", error, re.MULTILINE), error


def _quietly(client: ssl.SSLContext, port: int, name: str = "hello.test") -> None:
    """Try to get an answer."""
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        client.wrap_socket(sock, server_hostname=name) as tls,
    ):
        tls.recv(1)


def _strangers(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context()


def _old(authority: Authority) -> ssl.SSLContext:
    client = authority.client()
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    return client


def _weak(authority: Authority) -> ssl.SSLContext:
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("AES128-SHA")
    return client


def _impostor(authority: Authority) -> ssl.SSLContext:
    client = authority.client()
    trustme.CA().issue_cert("impostor.test").configure_cert(client)
    return client


def _trusting(authority: Authority) -> ssl.SSLContext:
    return authority.client()


HANDSHAKES: dict[str, Callable[[Authority], ssl.SSLContext]] = {
    "tlsv1 alert unknown ca": _strangers,
    "sslv3 alert certificate expired": _trusting,
    "unsupported protocol": _old,
    "no shared cipher": _weak,
    "peer did not return a certificate": _trusting,
    "certificate verify failed": _impostor,
}


@pytest.mark.parametrize(
    "reason",
    [row[0].strip("`") for row in table(TEXT, "`TLS with 192.0.2.7:52960 failed:`", "means")],
)
def test_messages_of_handshakes(
    reason: str, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {**authority.issue().options}
    if reason == "sslv3 alert certificate expired":
        options = _expired(authority, tmp_path)
    if "certificate" in reason and "expired" not in reason:
        options |= {"ca_certs": authority.file, "client_certs": "required"}
    client = HANDSHAKES[reason](authority)
    with caplog.at_level(logging.INFO, "aserver"), serve(nothing, **options) as server:
        _quietly(client, server.port)
        wait_until(lambda: any("TLS with" in each for each in caplog.messages))
    (line,) = [each for each in caplog.messages if "TLS with" in each]
    assert re.fullmatch(rf"TLS with 127\.0\.0\.1:\d+ failed: {reason}", line)


def _expired(authority: Authority, directory: Path) -> dict[str, Any]:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    made = authority.intermediate.issue_cert("hello.test", not_after=yesterday)
    certificate, key = directory / "old.pem", directory / "old-key.pem"
    certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return {"certfile": str(certificate), "keyfile": str(key)}


def test_messages_to_those_who_speak_no_tls(
    authority: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aserver.server.TICK", 0.05)
    options = {**authority.issue().options, "tls_handshake_timeout": 0.1}
    with caplog.at_level(logging.INFO, "aserver"), serve(nothing, **options) as server:
        with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(("127.0.0.1", server.port), 10) as sock, suppress(OSError):
            assert sock.recv(1) == b""
        wait_until(lambda: any("took too long" in each for each in caplog.messages))
    said = "\n".join(caplog.messages)
    described = re.findall(r"^    ((?:Refused|Closed) .*192\.0\.2\.7.*)$", TEXT, re.MULTILINE)
    assert len(described) == 2
    for each in described:
        assert re.search(re.escape(each).replace(r"192\.0\.2\.7:52960", r"127\.0\.0\.1:\d+"), said)


# Renewal


def test_messages_of_renewal(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A change is noticed without being told, and what was wrong with it is said."""
    section_text = section(TEXT, "Renewal without a restart")
    loaded, failed = re.findall(r"^    \S+ \S+ \w+ +(.*)$", section_text, re.MULTILINE)
    issued = authority.issue(directory=tmp_path, stem="own")
    with (
        caplog.at_level(logging.INFO, "aserver"),
        serve(nothing, **issued.options) as server,
    ):
        authority.issue(directory=tmp_path, stem="own")
        wait_until(lambda: any("Certificates loaded" in each for each in caplog.messages))
        Path(issued.key).write_text("nothing")
        server.server.reload_certificates()
        wait_until(lambda: any("stay as they were" in each for each in caplog.messages))
    said = "\n".join(caplog.messages)
    assert re.search(re.sub(r"[0-9A-F]{40}", "[0-9A-F]+", loaded), said)
    assert re.search(re.sub(r"'.*'", "'.*'", re.escape(failed)), said)


# The scope


@contextmanager
def scopes(**options: Any) -> Iterator[tuple[serve, list[Scope]]]:
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            seen.append(scope)
            await nothing(scope, receive, send)

    with serve(application, lifespan="off", **options) as server:
        yield server, seen


def test_extension(authority: Authority) -> None:
    page = text_of("reference", "asgi.md")
    extension = section(page, "Extensions").partition("### `tls`")[2].partition("\n### ")[0]
    described = {row[0].strip("`"): row[1] for row in table(extension, "key", "")}
    http = {row[0]: row[1] for row in table(section(page, "The HTTP scope"), "key", "value")}
    websocket = dict(table(section(page, "The WebSocket scope"), "key", "value"))
    with (
        scopes(**authority.issue().options) as (server, seen),
        socket.create_connection(("127.0.0.1", server.port), 10) as sock,
        authority.client().wrap_socket(sock, server_hostname="hello.test") as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: hello.test\r\n\r\n")
        assert tls.recv(100).startswith(b"HTTP/1.1 200 ")
        tls.sendall(
            b"GET / HTTP/1.1\r\nHost: hello.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        wait_until(lambda: len(seen) == 2)
    first, second = seen
    assert first["scheme"] == ast.literal_eval(codes(http["`scheme`"])[-1])
    assert second["scheme"] == ast.literal_eval(codes(websocket["`scheme`"])[-1])
    described_there = set(codes(websocket["`extensions`"])) - {"proxy_protocol"}
    assert second["extensions"].keys() == described_there
    assert first["extensions"]["tls"] == second["extensions"]["tls"]
    assert first["extensions"]["tls"].keys() == described.keys()
    assert first["extensions"]["tls"]["tls_version"] in (
        int(number, 16) for number in re.findall(r"0x\d+", described["tls_version"])
    )
