"""The command line as Daphne's users type it: its tests' expectations, and its lines run.

What its own tests assert of addresses, headers, names and threads is asserted here of the options;
the lines of its documentation are started as processes, with the name changed, and asked.
"""

import contextlib
import json
import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aserver.addresses import describe
from aserver.cli import main
from aserver.config import Config
from aserver.options import load
from tests.certificates import HELLO, Authority
from tests.inside import make_listening
from tests.processes import DEADLINE, get, read_all
from tests.test_cli import LAUNCHER, Started, started
from tests.test_sockets import needs_ipv6

pytestmark = pytest.mark.usefixtures("own_loggers")

APPLICATION = """
import json

async def application(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("can only handle HTTP")
    body = json.dumps({name: scope[name] for name in ("client", "server", "scheme")}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
# A descriptor as number 5, for who comes next.
AS_FIVE = """if True:
    import os, sys
    os.dup2(int(sys.argv[1]), 5)
    os.execv(sys.argv[2], sys.argv[2:])
"""
SCRIPT = str(Path(sys.executable).with_name("aserver"))


def config_of(*argv: str, environ: dict[str, str] | None = None) -> Config:
    return load([*argv, "mysite.asgi:application"], environ or {}).config


# Where to listen


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ["tcp:port=8000:interface=127.0.0.1"]),
        (["-p", "123"], ["tcp:port=123:interface=127.0.0.1"]),
        (["-b", "10.0.0.1"], ["tcp:port=8000:interface=10.0.0.1"]),
        (["-b", "200a::1"], [r"tcp:port=8000:interface=200a\:\:1"]),
        (["-b", "[200a::1]"], [r"tcp:port=8000:interface=200a\:\:1"]),
        (["-p", "8080", "-b", "example.com"], ["tcp:port=8080:interface=example.com"]),
        (["-u", "/tmp/daphne.sock"], ["unix:/tmp/daphne.sock"]),
        (["--fd", "5"], ["fd:fileno=5"]),
        (["-u", "/tmp/daphne.sock", "--fd", "5"], ["fd:fileno=5", "unix:/tmp/daphne.sock"]),
        (
            ["-p", "8080", "-u", "/tmp/daphne.sock"],
            ["tcp:port=8080:interface=127.0.0.1", "unix:/tmp/daphne.sock"],
        ),
        (
            ["-p", "8080", "-e", "unix:/tmp/daphne.sock"],
            ["tcp:port=8080:interface=127.0.0.1", "unix:/tmp/daphne.sock"],
        ),
        (
            ["-p", "8080", "-u", "/tmp/daphne.sock", "--fd", "5"],
            ["fd:fileno=5", "tcp:port=8080:interface=127.0.0.1", "unix:/tmp/daphne.sock"],
        ),
        (
            ["-e", "tcp:port=8000:interface=10.0.0.1", "-e", "tcp:port=443"],
            ["tcp:port=443", "tcp:port=8000:interface=10.0.0.1"],
        ),
        (
            ["-e", "ssl:port=443:privateKey=key.pem:certKey=crt.pem", "-p", "80"],
            [
                "ssl:port=443:privateKey=key.pem:certKey=crt.pem",
                "tcp:port=80:interface=127.0.0.1",
            ],
        ),
    ],
)
def test_endpoints_are_those_of_daphne(argv: list[str], expected: list[str]) -> None:
    config = config_of(*argv)
    assert describe(config.bind, config.tls) == expected


@pytest.fixture
def site(write: Callable[[str, str], None]) -> None:
    """The current directory is that of a project."""
    write("myproject/__init__.py", "")
    write("myproject/asgi.py", APPLICATION)


LISTENING = "systemd:domain=INET"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["-e", "imap:"], 2, "--endpoint: 'imap:' is not understood; what is: tcp:PORT.*"),
        (["-e", "txsni:certs:tcp:443"], 2, "--endpoint: .* is not understood; .*--certfile.*"),
        (["-p", "80", "-e", "tcp:80:127.0.0.1"], 2, r"127\.0\.0\.1:80 is given twice, by --bind.*"),
        (
            ["-e", f"{LISTENING}:index=0"],
            6,
            "systemd passed no socket of index 0; it passed none.*",
        ),
        (["-e", f"{LISTENING}:name=web"], 6, "systemd passed no socket of name 'web'; it .*"),
        (["-e", "fd:999"], 6, "file descriptor 999: Bad file descriptor"),
        (["-e", "unix:none/s"], 5, "cannot listen on unix:none/s: No such file or directory"),
        (["--proxy-headers-host", "X-Real-IP"], 2, "--proxy-headers-host: --proxy-headers has .*"),
        (["--proxy-headers-port", "X-Port"], 2, "--proxy-headers-port: --proxy-headers has .*"),
    ],
)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str
) -> None:
    assert main([*argv, "--no-access-log", "myproject.asgi:application"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"aserver: error: {message}", lines[-1])
    assert not any("Traceback" in line for line in lines)


# Everything else that its tests assert of the command line


def test_the_server_has_a_name_or_none() -> None:
    assert config_of().http.server_name == "aserver", "Daphne says daphne"
    assert config_of("-s", "web").http.server_name == "web"
    assert config_of("--server-name", "web").http.server_name == "web"
    assert config_of("--server-name=").http.server_name == ""
    assert config_of("--no-server-name").http.server_name == ""


def test_proxy_headers() -> None:
    assert config_of().proxy.proxy_headers is False
    proxy = config_of("--proxy-headers").proxy
    assert proxy.proxy_headers is True
    assert (proxy.proxy_headers_host, proxy.proxy_headers_port) == (None, None), "the usual ones"
    names = ("--proxy-headers-host", "X-Real-IP", "--proxy-headers-port", "X-Port")
    proxy = config_of("--proxy-headers", *names).proxy
    assert (proxy.proxy_headers_host, proxy.proxy_headers_port) == ("X-Real-IP", "X-Port")


def test_threads() -> None:
    assert config_of().process.threads is None
    assert config_of(environ={"ASGI_THREADS": "3"}).process.threads == 3


# Lines of its documentation


@contextlib.contextmanager
def run(*options: str, listeners: int = 1, **popen: Any) -> Iterator[Started]:
    """`daphne OPTIONS myproject.asgi:application`, with the name changed."""
    popen.setdefault("command", [SCRIPT])
    app = "myproject.asgi:application"
    with started(*options, app=app, listeners=listeners, **popen) as server:
        yield server
        assert server.end() == 0


def ask(sock: socket.socket, *headers: str) -> dict[str, Any]:
    """What the application is told of a request on this connection."""
    with sock:
        sock.settimeout(DEADLINE)
        sock.sendall(get("/", "Connection: close", *headers))
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    scope = json.loads(body)
    assert isinstance(scope, dict)
    return scope


def connect(address: Any) -> socket.socket:
    """To a unix socket's path, or a host and a port."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.connect(address)
    return sock


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.mark.usefixtures("site")
def test_no_options_at_all() -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", 8000))
        except OSError:
            pytest.skip("somebody else has port 8000")
    with run() as server:
        assert server.urls == ["http://127.0.0.1:8000"]
        assert ask(connect(("127.0.0.1", 8000)))["server"] == ["127.0.0.1", 8000]


@pytest.mark.usefixtures("site")
def test_a_host_and_a_port() -> None:
    with run("-b", "0.0.0.0", "-p", "0") as server:
        port = port_of(server.urls[0])
        assert server.urls == [f"http://0.0.0.0:{port}"]
        assert ask(connect(("127.0.0.1", port)))["server"] == ["127.0.0.1", port]


@pytest.mark.usefixtures("site")
def test_a_unix_socket() -> None:
    with run("-u", "daphne.sock") as server:
        assert server.urls == ["unix:daphne.sock"]
        assert stat.S_IMODE(os.stat("daphne.sock").st_mode) == 0o666
        assert ask(connect("daphne.sock"))["server"] == ["daphne.sock", None]
    assert not os.path.exists("daphne.sock")


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("option", [("--fd", "5"), ("-e", "fd:fileno=5")], ids=["--fd", "-e"])
@pytest.mark.parametrize("address", [("127.0.0.1", 0), "s"], ids=["tcp", "unix"])
def test_an_inherited_socket(option: tuple[str, str], address: Any) -> None:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with make_listening(family, address) as sock:
        command = [sys.executable, "-c", AS_FIVE, str(sock.fileno()), SCRIPT]
        with run(*option, command=command, pass_fds=[sock.fileno()]):
            name = sock.getsockname()
            expected = [name, None] if isinstance(name, str) else list(name)
            assert ask(connect(name))["server"] == expected


@pytest.mark.usefixtures("site")
def test_a_certificate(authority: Authority) -> None:
    issued = authority.issue()
    endpoint = f"ssl:0:privateKey={issued.key}:certKey={issued.certificate}"
    with run("-e", endpoint) as server:
        port = port_of(server.urls[0])
        assert server.urls[0].startswith("https://")
        client = authority.client().wrap_socket(connect(("127.0.0.1", port)), server_hostname=HELLO)
        assert ask(client)["scheme"] == "https"


@pytest.mark.usefixtures("site")
def test_under_supervisor() -> None:
    """As `[fcgi-program:asgi]` starts it; the proxy comes from this machine, and is believed."""
    options = ("-u", "daphne0.sock", "--fd", "0", "--access-log", "-", "--proxy-headers")
    with make_listening(socket.AF_INET, ("127.0.0.1", 0)) as sock, open("out", "w+") as out:
        with run(*options, listeners=2, stdin=sock, stdout=out):
            for address in ("daphne0.sock", sock.getsockname()):
                scope = ask(connect(address), "X-Forwarded-For: 192.0.2.7")
                assert scope["client"] == ["192.0.2.7", 0]
        out.seek(0)
        lines = out.read().splitlines()
    assert len(lines) == 2
    assert all(re.search(r'^192\.0\.2\.7.* "GET /" 200', line) for line in lines), lines


@pytest.mark.usefixtures("site")
def test_endpoint_strings() -> None:
    strings = ("tcp:0:interface=127.0.0.1:backlog=5", "unix:s:mode=600", "tcp6:0:backlog=5")
    options = [part for text in strings for part in ("-e", text)]
    with run(*options, listeners=3) as server:
        first, unix, last = server.urls
        assert unix == "unix:s"
        for address in (("127.0.0.1", port_of(first)), "s", ("127.0.0.1", port_of(last))):
            assert ask(connect(address))["scheme"] == "http"
        assert stat.S_IMODE(os.stat("s").st_mode) == 0o600


@needs_ipv6
@pytest.mark.usefixtures("site")
def test_an_ipv6_address_with_its_colons_escaped() -> None:
    with run("-e", r"tcp:port=0:interface=\:\:1") as server:
        port = port_of(server.urls[0])
        with socket.create_connection(("::1", port)) as sock:
            assert ask(sock)["server"] == ["::1", port]


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("which", ["index=0", "name=http"])
def test_a_socket_from_systemd(which: str) -> None:
    with make_listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        command = [sys.executable, "-c", LAUNCHER, str(sock.fileno()), SCRIPT]
        endpoint = f"{LISTENING}:{which}"
        with run("-e", endpoint, command=command, pass_fds=[sock.fileno()]) as server:
            assert ask(connect(sock.getsockname()))["scheme"] == "http"
        assert server.stderr.count("Listening on http:") == 1, "it is not listened on twice"
