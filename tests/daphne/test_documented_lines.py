"""Lines of Daphne's documentation, and of Channels', run with the name changed, and asked.

The ports of the documentation are taken where they are free, else others.
"""

import os
import re
import shutil
import socket
import stat
import sys
from typing import Any

import pytest

from tests.certificates import HELLO, Authority
from tests.daphne.commands import LISTENING, SCRIPT, ask, connect, is_free, port_of, run
from tests.daphne.commands import site as site
from tests.inside import make_listening
from tests.test_cli import LAUNCHER
from tests.test_sockets import needs_ipv6

pytestmark = pytest.mark.usefixtures("site")

# A descriptor as number 5, for who comes next.
AS_FIVE = """if True:
    import os, sys
    os.dup2(int(sys.argv[1]), 5)
    os.execv(sys.argv[2], sys.argv[2:])
"""


def documented(port: int) -> str:
    return str(port) if is_free(port) else "0"


def test_no_options_at_all() -> None:
    if not is_free(8000):
        pytest.skip("somebody else has port 8000")
    with run() as server:
        assert server.urls == ["http://127.0.0.1:8000"]
        assert ask(connect(("127.0.0.1", 8000)))["server"] == ["127.0.0.1", 8000]


def test_a_host_and_a_port() -> None:
    with run("-b", "0.0.0.0", "-p", documented(8001)) as server:
        port = port_of(server.urls[0])
        assert server.urls == [f"http://0.0.0.0:{port}"]
        assert ask(connect(("127.0.0.1", port)))["server"] == ["127.0.0.1", port]


def test_options_behind_the_application() -> None:
    behind = ("-b", "0.0.0.0", "-p", "0")
    with run("myproject.asgi:application", *behind[:-1], app=behind[-1]) as server:
        port = port_of(server.urls[0])
        assert ask(connect(("127.0.0.1", port)))["server"] == ["127.0.0.1", port]


def test_several_addresses_with_their_ports() -> None:
    with run("--bind", "127.0.0.1:0", "--bind", "127.0.0.2:0", listeners=2) as server:
        for host, url in zip(("127.0.0.1", "127.0.0.2"), server.urls, strict=True):
            port = port_of(url)
            assert ask(connect((host, port)))["server"] == [host, port]


def test_a_unix_socket() -> None:
    with run("-u", "daphne.sock") as server:
        assert server.urls == ["unix:daphne.sock"]
        assert stat.S_IMODE(os.stat("daphne.sock").st_mode) == 0o666
        assert ask(connect("daphne.sock"))["server"] == ["daphne.sock", None]
    assert not os.path.exists("daphne.sock")


@pytest.mark.parametrize("option", [("-b", "127.0.0.1", "-p", "0"), ("-p", "0")])
def test_a_unix_socket_and_a_port(option: tuple[str, ...]) -> None:
    with run("-u", "daphne.sock", *option, listeners=2) as server:
        (url,) = (url for url in server.urls if url != "unix:daphne.sock")
        address = ("127.0.0.1", port_of(url))
        assert ask(connect("daphne.sock"))["server"] == ["daphne.sock", None]
        assert ask(connect(address))["server"] == list(address)


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


def test_a_certificate(authority: Authority) -> None:
    issued = authority.issue()
    shutil.copy(issued.key, "key.pem")
    shutil.copy(issued.certificate, "crt.pem")
    with run("-e", "ssl:0:privateKey=key.pem:certKey=crt.pem") as server:
        assert server.urls[0].startswith("https://")
        context = authority.client(alpn=("http/1.1",))
        sock = connect(("127.0.0.1", port_of(server.urls[0])))
        assert ask(context.wrap_socket(sock, server_hostname=HELLO))["scheme"] == "https"
        sock = connect(("127.0.0.1", port_of(server.urls[0])))
        modern = authority.client(alpn=("h2", "http/1.1"))
        with modern.wrap_socket(sock, server_hostname=HELLO) as client:
            assert client.selected_alpn_protocol() == "h2"


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
def test_an_ipv6_address_with_its_colons_escaped() -> None:
    with run("-e", r"tcp:port=0:interface=\:\:1") as server:
        port = port_of(server.urls[0])
        with socket.create_connection(("::1", port)) as sock:
            assert ask(sock)["server"] == ["::1", port]


@pytest.mark.parametrize("which", ["index=0", "name=http"])
def test_a_socket_from_systemd(which: str) -> None:
    with make_listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        command = [sys.executable, "-c", LAUNCHER, str(sock.fileno()), SCRIPT]
        endpoint = f"{LISTENING}:{which}"
        with run("-e", endpoint, command=command, pass_fds=[sock.fileno()]) as server:
            assert ask(connect(sock.getsockname()))["scheme"] == "http"
        assert server.stderr.count("Listening on http:") == 1, "it is not listened on twice"
