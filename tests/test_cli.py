"""The command line: what it does, and one line and an exit code for each way to fail."""

import atexit
import contextlib
import errno
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aserver import __version__, cli, running
from aserver.cli import main
from aserver.config import Config
from tests.certificates import Authority
from tests.processes import COMMAND, DEADLINE, Aserver, get, read_all
from tests.test_entrances import SPEAKS_TLS
from tests.test_sockets import needs_ipv6

pytestmark = pytest.mark.usefixtures("own_loggers")

Write = Callable[[str, str], None]

# As Django's: no lifespan.
PLAIN = """
import json

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("can only handle HTTP")
    body = json.dumps([scope["client"], scope["server"]]).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
FAILS_TO_START = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("ASERVER_", "LISTEN_")):
            monkeypatch.delenv(name)


@pytest.fixture
def site(write: Write) -> Write:
    """The current directory has applications: `plain:app` and `fails:app`."""
    write("plain.py", PLAIN)
    write("fails.py", FAILS_TO_START)
    return write


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Nothing is run; what would be is recorded."""
    recorded: list[Config] = []

    def run(app: str, config: Config, *, environ: Mapping[str, str]) -> None:
        assert app == config.process.app
        assert environ is os.environ, "that is where systemd's variables are"
        recorded.append(config)

    monkeypatch.setattr(cli, "run", run)
    return recorded


# Ways to fail


def assert_fails(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str
) -> None:
    assert main([*argv, "--no-access-log"]) == code
    assert code in cli.EXIT_CODES
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(f"aserver: error: {message}\n", err), err


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ([], 2, "which application.*"),
        (["-p", "0"], 2, "which application.*"),
        (["--colour", "plain:app"], 2, "there is no option --colour .*"),
        (["plain:app", "-p", "web"], 2, "--port: 'web' is not a whole number"),
        (["plain:app", "-c", "none.toml"], 2, "--config: cannot read 'none.toml': No such .*"),
        (["plain:app", "-b", "h:x"], 2, "--bind: 'h:x' does not end in a number .*"),
        (["plain:app", "-u", ""], 2, "--unix-socket: a unix socket must have a path"),
        (["plain:app", "-u", "s", "--unix-socket-group", "nobodies"], 2, ".*no group 'nobodies'"),
        (["plain"], 3, "'plain' does not name an application; it must look like MODULE:OBJECT"),
        (["none:app", "-b", "h:x"], 3, "cannot import 'none:app': there is no module 'none' .*"),
        (["plain:none"], 3, "cannot import 'plain:none': 'plain' has no 'none'"),
        (["plain:__name__"], 3, "'plain:__name__' is not an application: it cannot be called"),
        (["fails:app", "-p", "0"], 4, "the application failed to start: no database"),
        (["plain:app", "-p", "0", "--lifespan", "on"], 4, ".*: ValueError: can only handle HTTP"),
        (["plain:app", "--app-dir", "/nope"], 3, "--app-dir: there is no directory '/nope'"),
        (["plain:app", "-u", "none/s"], 5, "cannot listen on unix:none/s: No such file or .*"),
        (["plain:app", "-u", "plain.py"], 5, "cannot listen on unix:plain.py: there is a file .*"),
        (["plain:app", "-u", "s" * 200], 5, "cannot listen on unix:s+: AF_UNIX path too long"),
        (["plain:app", "-b", "a..b"], 5, "cannot listen on a..b:8000: this is no host name"),
        (["plain:app", "--fd", "999"], 6, "file descriptor 999: Bad file descriptor"),
        (["plain:app", "-b", "fd://999"], 6, "file descriptor 999: Bad file descriptor"),
    ],
)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_failure_is_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str, loop: str
) -> None:
    assert_fails(capsys, ["--loop", loop, *argv], code, message)
    assert sorted(os.listdir()) == ["fails.py", "plain.py"]


@pytest.mark.usefixtures("site")
def test_a_busy_port(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        message = rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"
        assert_fails(capsys, ["plain:app", "-p", port], 5, message)


@pytest.mark.usefixtures("site")
def test_no_permission(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    message = r"cannot listen on 127\.0\.0\.1:80: Permission denied"
    assert_fails(capsys, ["plain:app", "-p", "80"], 5, message)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("none/log", "No such file or directory"),
        (".", "Is a directory"),
        ("-", "Bad file descriptor"),  # capsys' standard output is no file
    ],
)
def test_an_access_log_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], path: str, reason: str
) -> None:
    assert main(["plain:app", "-p", "0", "--access-log", path]) == 2
    message = f"aserver: error: --access-log: cannot write '{path}': {reason}\n"
    assert capsys.readouterr().err == message


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("module", "argv", "message"),
    [
        ("httptools", ["--http", "httptools"], "--http httptools: httptools is not installed"),
        ("uvloop", ["--loop", "uvloop"], "--loop uvloop: uvloop is not installed"),
    ],
)
def test_what_is_not_installed(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    argv: list[str],
    message: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "aserver.engines.h1_httptools", raising=False)
    assert_fails(capsys, [*argv, "plain:app"], 2, message)
    assert_fails(capsys, [*argv, "--check-config", "plain:app"], 2, message)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ASERVER_PORT", "web", "ASERVER_PORT: --port: 'web' is not a whole number"),
        ("ASERVER_CONFIG", "none.toml", "--config: cannot read 'none.toml': .*"),
    ],
)
def test_a_mistake_in_the_environment(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert_fails(capsys, ["plain:app"], 2, message)


def test_an_import_that_fails_shows_the_applications_traceback_first(
    site: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    site("broken.py", "def configure():\n    raise RuntimeError('no settings')\nconfigure()\n")
    assert main(["broken:app"]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2] == "RuntimeError: no settings"
    assert lines[-1] == "aserver: error: cannot import 'broken:app': RuntimeError: no settings"
    assert sum(line.startswith("  File ") for line in lines) == 2, "frames of the application only"


# Actions


@pytest.mark.parametrize("argv", [[], ["-b", "[::1]:1", "-u", "a b", "--factory", "-t", "1.5"]])
def test_print_config_is_a_file_that_reads_back(
    capsys: pytest.CaptureFixture[str], configs: list[Config], tmp_path: Path, argv: list[str]
) -> None:
    assert main([*argv, "mysite:app", "--print-config"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    file = tmp_path / "printed.toml"
    file.write_text(out)
    assert main(["-c", str(file), "--print-config"]) == 0
    without_origins = re.compile("  # .*")
    again = capsys.readouterr().out
    assert without_origins.sub("", again) == without_origins.sub("", out)
    assert main(["-c", str(file)]) == main([*argv, "mysite:app"]) == 0
    assert configs[0] == configs[1]
    assert configs[0].process.app == "mysite:app"


@pytest.mark.usefixtures("site")
def test_check_config(capsys: pytest.CaptureFixture[str], configs: list[Config]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        assert main(["--check-config", "plain:app", "-p", port, "-u", "s"]) == 0
    out, err = capsys.readouterr()
    assert out == "The configuration is good, and the application can be imported.\n"
    assert err == ""
    assert not os.path.exists("s")
    assert configs == []


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ([], 2, "which application.*"),
        (["plain:app", "-b", "h:x"], 2, "--bind: 'h:x' does not end in a number .*"),
        (["plain:none"], 3, "cannot import 'plain:none': 'plain' has no 'none'"),
        (["plain:app", "--factory"], 3, "the factory 'plain:app' raised TypeError: .*"),
        (["plain:app", "--access-log-format", "%(x)s"], 2, "--access-log-format: there is no .*"),
        (["plain:app", "--access-log-exclude", "a"], 2, "--access-log-exclude: 'a' does not .*"),
        (["plain:app", "--log-fmt", "%(x)s"], 2, "--log-fmt: '%\\(x\\)s' is no format of .*"),
        (["plain:app", "--certfile", "none"], 2, "--certfile: cannot read '.*/none': No such .*"),
        (["plain:app", "--redirect-bind", ":80"], 2, "--redirect-bind: there is no certificate .*"),
        (["plain:app", "-e", "ssl:443:privateKey=n"], 2, "--endpoint privateKey: cannot read .*"),
        (["plain:app", "--certfile", ""], 2, "--certfile: the name of the file is empty"),
        (
            ["plain:app", "-b", "h:" + "8" * 5000],
            2,
            "--bind: 'h:8*' does not end in a number from 0 to 65535",
        ),
    ],
)
def test_check_config_finds_what_is_wrong(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str
) -> None:
    assert main(["--check-config", *argv]) == code
    assert re.fullmatch(f"aserver: error: {message}", capsys.readouterr().err.splitlines()[-1])


@pytest.mark.usefixtures("site")
def test_check_config_loads_the_certificates(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = authority.issue(), authority.issue()
    own = ["--certfile", one.certificate, "--keyfile", one.key]
    endpoint = ["-e", f"ssl:443:privateKey={two.key}:certKey={two.certificate}"]
    assert main(["--check-config", "plain:app", *own, *endpoint]) == 0
    os.rename(two.key, "aside")
    assert main(["--check-config", "plain:app", *own, *endpoint]) == 2
    message = f"aserver: error: --endpoint privateKey: cannot read '{two.key}': No such file"
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("how", [["--check-config"], ["--no-access-log"]], ids=["check", "run"])
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--redirect-bind", "127.0.0.1:0"], "--redirect-bind: no other address speaks TLS; .*"),
        (
            ["--client-certs", "required", "--ca-certs", "none"],
            f"--client-certs required: no address {SPEAKS_TLS}",
        ),
        (
            ["--proxy-protocol-allow-ips", "unix"],
            r"--proxy-protocol-allow-ips: no address begins with PROXY headers .*",
        ),
        (["--redirect-port", "443"], r"--redirect-port: nothing is redirected \(--redirect-bind\)"),
        (
            ["--ciphers", "AES128-SHA", "--tls-min-version", "1.3"],
            r"--ciphers: they are for TLS 1\.2, which is not spoken .*",
        ),
    ],
)
def test_the_check_says_what_a_run_says(
    capsys: pytest.CaptureFixture[str], how: list[str], argv: list[str], message: str
) -> None:
    assert main([*how, "plain:app", "-u", "s", "--certfile", "none", *argv]) == 2
    assert re.fullmatch(f"aserver: error: {message}\n", capsys.readouterr().err)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("allowed", ["*", "localhost"])
def test_proxies_that_nobody_asks_for(capsys: pytest.CaptureFixture[str], allowed: str) -> None:
    """Their variable may be there for another server, whatever that takes it for."""
    assert main(["--check-config", "plain:app", "--forwarded-allow-ips", allowed]) == 0
    warning = "--forwarded-allow-ips: nobody is believed without --proxy-headers\n"
    assert capsys.readouterr().err.endswith(warning)
    assert main(["--check-config", "plain:app"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("site")
def test_a_certificate_that_nobody_uses() -> None:
    """It is not opened, neither by the check nor by a run, and both say so."""
    options = ["-u", "s", "--certfile", "none"]
    warning = f"WARNING  --certfile: no address {SPEAKS_TLS}\n"
    checked = subprocess.run(
        [*COMMAND, *options, "--check-config", "plain:app"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert checked.returncode == 0
    assert checked.stderr.endswith(warning)
    with started(*options) as server:
        assert server.urls == ["unix:s"]
        assert server.end() == 0
    assert server.stderr.count(warning) == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"aserver {__version__}\n"


# The access log, by default on


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        ([], "-"),
        (["-v", "2"], "-"),
        (["-v", "0"], None),
        (["-v", "0", "--access-log", "-"], "-"),
        (["-v", "0", "--access-log", "file"], "file"),
        (["--access-log", "file"], "file"),
        (["--no-access-log"], ""),
    ],
)
def test_the_access_log_is_on_unless_switched_off(
    configs: list[Config], argv: list[str], path: str | None
) -> None:
    assert main([*argv, "mysite:app"]) == 0
    assert configs[0].log.access_log == path


def test_without_standard_output_there_is_no_access_log(
    configs: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["mysite:app"]) == 0
    assert configs[0].log.access_log is None


# Real processes

# What a server says that listens on one address of TCP: two of Daphne's lines, and its URL.
FIRST_LINES = 3


@contextlib.contextmanager
def started(
    *options: str,
    app: str = "plain:app",
    listeners: int = 1,
    command: list[str] = COMMAND,
    **popen: Any,
) -> Iterator[Aserver]:
    """Serve, in the current directory; what is started is ended."""
    with Aserver([*command, *options, app], **popen) as server:
        server.wait_for_urls(listeners)
        yield server


def ask(family: int, address: Any) -> tuple[Any, Any, Any]:
    """The scope's client and server, and the address this request came from."""
    with socket.socket(family) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(address)
        own = sock.getsockname()
        sock.sendall(get("/", "Connection: close"))
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    client, server = json.loads(body)
    return client, server, own


def fails_at_once(*options: str, **popen: Any) -> tuple[int, str]:
    """Exit code and standard error of a command that does not come to serving."""
    result = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=DEADLINE, **popen
    )
    assert result.stdout == ""
    return result.returncode, result.stderr


@pytest.mark.parametrize(
    "command", [COMMAND, [str(Path(sys.executable).with_name("aserver"))]], ids=["module", "script"]
)
def test_both_commands(command: list[str]) -> None:
    result = subprocess.run(
        [*command, "--version"], check=True, capture_output=True, text=True, timeout=DEADLINE
    )
    assert result.stdout == f"aserver {__version__}\n"


@pytest.mark.usefixtures("site")
def test_an_application_without_lifespan_starts_without_a_word() -> None:
    with started("-p", "0") as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", server.urls[0])
        assert server.end() == 0
        assert len(server.stderr.splitlines()) == FIRST_LINES


@pytest.mark.usefixtures("site")
def test_several_addresses_at_once() -> None:
    with started(
        *("-b", "127.0.0.1:0", "-b", "127.0.0.2:0", "-b", "unix:s", "--unix-socket-mode", "600"),
        listeners=3,
    ) as server:
        one, two, unix = server.urls
        for url in (one, two):
            host, port = url.removeprefix("http://").split(":")
            client, server_address, own = ask(socket.AF_INET, (host, int(port)))
            assert server_address == [host, int(port)]
            assert client == list(own)
        assert unix == "unix:s"
        assert ask(socket.AF_UNIX, "s")[:2] == (None, ["s", None])
        assert os.stat("s").st_mode & 0o777 == 0o600
        assert server.end(signal.SIGINT) == 0
    assert not os.path.exists("s")


@pytest.mark.usefixtures("site")
def test_a_killed_servers_unix_socket_is_replaced_and_a_live_ones_is_not() -> None:
    with started("-u", "s") as first:
        code, stderr = fails_at_once("-u", "s", "plain:app")
        assert code == 5
        assert stderr == (
            "aserver: error: cannot listen on unix:s: another process is listening there\n"
        )
        assert ask(socket.AF_UNIX, "s")[1] == ["s", None]
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        assert os.path.exists("s")
    with started("-u", "s") as second:
        assert ask(socket.AF_UNIX, "s")[1] == ["s", None]
        assert second.end() == 0
    assert sorted(os.listdir()) == ["fails.py", "plain.py"], "no socket, no lock file"


FAMILIES = [
    pytest.param(socket.AF_INET, ("127.0.0.1", 0), id="ipv4"),
    pytest.param(socket.AF_INET6, ("::1", 0), marks=needs_ipv6, id="ipv6"),
    pytest.param(socket.AF_UNIX, "s", id="unix"),
]


def assert_served(family: int, sock: socket.socket) -> None:
    """A request to this listening socket has the right addresses in its scope."""
    address = sock.getsockname()
    client, server, own = ask(family, address)
    if family == socket.AF_UNIX:
        assert (client, server) == (None, ["s", None])
    else:
        assert (client, server) == (list(own[:2]), list(address[:2]))


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("family", "address"), FAMILIES)
def test_standard_input_that_is_a_listening_socket_serves(
    family: int, address: Any, loop: str
) -> None:
    with socket.socket(family) as sock:
        sock.bind(address)
        sock.listen()
        with started("--fd", "0", "--loop", loop, stdin=sock) as server:
            assert_served(family, sock)
            assert server.end() == 0
        assert family != socket.AF_UNIX or os.path.exists("s"), "it is not ours to remove"


def terminal(stack: contextlib.ExitStack) -> int:
    ends = pty.openpty()
    for end in ends:
        stack.callback(os.close, end)
    return ends[1]


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (terminal, "file descriptor 0 is a terminal; it must be a listening socket"),
        (
            lambda stack: subprocess.DEVNULL,
            "file descriptor 0 is not a socket; it must be a listening socket",
        ),
    ],
    ids=["terminal", "/dev/null"],
)
def test_standard_input_that_is_no_socket_is_refused_in_one_line(
    make: Callable[[contextlib.ExitStack], int], message: str
) -> None:
    with contextlib.ExitStack() as stack:
        code, stderr = fails_at_once("--fd", "0", "plain:app", stdin=make(stack))
    assert (code, stderr) == (6, f"aserver: error: {message}\n")


# What systemd does between fork and exec.
LAUNCHER = """if True:
    import os, sys
    fd = int(sys.argv[1])
    os.dup2(fd, 3) if fd != 3 else os.set_inheritable(3, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="http")
    os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("family", "address"), FAMILIES)
def test_sockets_passed_by_systemd(family: int, address: Any) -> None:
    with socket.socket(family) as sock:
        sock.bind(address)
        sock.listen()
        launcher = [sys.executable, "-c", LAUNCHER, str(sock.fileno()), *COMMAND]
        with started(command=launcher, pass_fds=[sock.fileno()]) as server:
            assert_served(family, sock)
            assert len(server.urls) == 1
            assert server.end() == 0
            urls = re.findall(r"Listening on (?!TCP)", server.stderr)
            assert len(urls) == 1, "and not on the default address"


# The access log of a real server


@pytest.mark.usefixtures("site")
def test_the_access_log_has_a_line_for_each_request() -> None:
    addresses = ("-b", "127.0.0.1:0", "-b", "unix:s")
    with started(*addresses, "--access-log", "log", listeners=2) as server:
        port = int(server.urls[0].rpartition(":")[2])
        _, _, (host, own_port) = ask(socket.AF_INET, ("127.0.0.1", port))
        ask(socket.AF_UNIX, "s")
        assert server.end() == 0
    lines = [
        re.fullmatch(r'(\S+) - - \[(\S+)\] "GET /" 200 ([1-9]\d*)', line)
        for line in Path("log").read_text().splitlines()
    ]
    assert [line and line[1] for line in lines] == [f"{host}:{own_port}", "None"]


# Standard output that nobody can write to


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_standard_streams_closed_from_the_start(loop: str, closed: str) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND]
    with started("-p", "0", "--loop", loop, command=shell) as server:
        port = int(server.urls[0].rpartition(":")[2])
        ask(socket.AF_INET, ("127.0.0.1", port))
        assert server.end() == 0
        assert len(server.stderr.splitlines()) == FIRST_LINES


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("kind", ["full disk", "reader gone"])
def test_standard_output_that_fails_does_not_stop_the_server(kind: str) -> None:
    if kind == "full disk":
        fd = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, fd = os.pipe()
        os.close(reader)
    with started("-p", "0", stdout=fd) as server:
        os.close(fd)
        port = int(server.urls[0].rpartition(":")[2])
        for _ in range(3):
            ask(socket.AF_INET, ("127.0.0.1", port))
        assert server.end() == 0
    reason = "No space left on device" if kind == "full disk" else "Broken pipe"
    lost = re.findall(rf"The access log lost (\d) lines: {reason}\n", server.stderr)
    assert sum(map(int, lost)) == 3
    assert len(server.stderr.splitlines()) == FIRST_LINES + len(lost)


def test_a_free_port_is_told_even_to_who_wants_to_hear_nothing(site: Write) -> None:
    with started("-p", "0", "-v", "0") as server:
        assert server.end() == 0
        (line,) = server.stderr.splitlines()
    assert "WARNING  Listening on http://127.0.0.1:" in line


# The end


def test_a_thread_of_the_application_that_does_not_end_is_not_waited_for(site: Write) -> None:
    site(
        "threads.py",
        "import atexit, sys, threading\n"
        f"{PLAIN}\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "atexit.register(print, 'functions run at exit', file=sys.stderr)\n",
    )
    with started("-p", "0", app="threads:app") as server:
        assert server.end() == 0
        assert "functions run at exit" in server.stderr


@pytest.mark.parametrize("code", [0, 5])
def test_the_exit_code_is_that_of_main(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(cli, "main", lambda: code)
    monkeypatch.setattr(running, "exit_now", lambda code: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(atexit, "register", lambda function: function())  # the threads have ended
    with pytest.raises(SystemExit) as caught:
        cli.entrypoint()
    assert caught.value.code == code
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(0.5)
            assert not thread.is_alive()
