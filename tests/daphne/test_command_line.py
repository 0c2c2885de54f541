"""The command line as Daphne's users type it: what becomes of the options, and of mistakes.

What its own tests assert of addresses, headers, names and threads is asserted here. The lines of
its documentation are in `test_documented_lines`.
"""

import re
from dataclasses import asdict

import pytest

from aserver.addresses import places
from aserver.cli import main
from aserver.config import Config
from aserver.declarations import ConfigError
from aserver.options import load
from aserver.testing import serve
from tests.daphne.commands import LISTENING
from tests.daphne.commands import site as site
from tests.daphne.recorder import Recorder, ask

pytestmark = pytest.mark.usefixtures("own_loggers")

PROXIES = ["--proxy-headers"]


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
    assert sorted(each.description for each in places(config.bind, config.tls)) == expected


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
        (["-v", "4"], 2, "--verbosity: 4 is more than 3"),
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


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-u", "a", "-u", "b"], "argument -u/--unix-socket: given twice .*"),
        (["--fd", "3", "--fd", "4"], "argument --fd: given twice .*"),
        (["-u", ""], "--unix-socket: a unix socket must have a path"),
        (["-u", "s:mode=600"], "--unix-socket: .* may be --endpoint unix:s:mode=600"),
        (["-b", "0"], "--bind: '0' is no host; .*"),
        ([*PROXIES, "--proxy-headers-host", ""], "--proxy-headers-host: '' is not the name .*"),
        ([*PROXIES, "--proxy-headers-port", ""], "--proxy-headers-port: '' is not the name .*"),
        ([*PROXIES, "--proxy-headers-host", "X_Real"], ".* as X_Real, are dropped"),
        (["--log-fmt", ""], "--log-fmt: '' is no format .*"),
        (["--websocket_timeout", "-2"], "--websocket-timeout: -2.0 is not -1 or more"),
    ],
)
def test_what_daphne_takes_and_is_a_mistake_here(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    """On purpose."""
    assert main([*argv, "--check-config", "myproject.asgi:application"]) == 2
    assert re.fullmatch(f"aserver: error: {message}\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "flag",
    [
        *("-t", "--websocket_timeout", "--websocket_connect_timeout"),
        *("--application-close-timeout", "--ping-interval", "--ping-timeout"),
        *("--websocket-max-message-size", "--websocket-max-frame-size"),
    ],
)
def test_no_number_is_below_minus_one(flag: str) -> None:
    with pytest.raises(ConfigError, match=r": -2(\.0)? is not (0|-1) or more$"):
        config_of(flag, "-2")


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


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["-p", "123"], "port", 123),
        (["--port", "123"], "port", 123),
        (["-b", "h"], "bind", ("h",)),
        (["--bind", "h"], "bind", ("h",)),
        (["-u", "s"], "unix_socket", "s"),
        (["--unix-socket", "s"], "unix_socket", "s"),
        (["--fd", "5"], "fd", 5),
        (["-e", "unix:a", "--endpoint", "unix:b"], "endpoint", ("unix:a", "unix:b")),
        (["-v", "2"], "verbosity", 2),
        (["--verbosity", "3"], "verbosity", 3),
        (["-t", "30"], "http_timeout", 30),
        (["--http-timeout", "30"], "http_timeout", 30),
        (["--access-log", "-"], "access_log", "-"),
        (["--log-fmt", "%(message)s"], "log_fmt", "%(message)s"),
        (["--ping-interval", "5"], "ping_interval", 5),
        (["--ping-timeout", "5"], "ping_timeout", 5),
        (["--websocket_timeout", "60"], "websocket_timeout", 60),
        (["--websocket_timeout", "-1"], "websocket_timeout", -1),
        (["--websocket_connect_timeout", "3"], "websocket_connect_timeout", 3),
        (["--websocket_connect_timeout", "-1"], "websocket_connect_timeout", -1),
        (["--websocket-max-message-size", "0"], "websocket_max_message_size", 0),
        (["--websocket-max-frame-size", "9"], "websocket_max_frame_size", 9),
        (["--application-close-timeout", "3"], "application_close_timeout", 3),
        (["--root-path", "/a%20b"], "root_path", "/a%20b"),
    ],
)
def test_every_flag_has_its_spelling(argv: list[str], name: str, value: object) -> None:
    (found,) = (section[name] for section in asdict(config_of(*argv)).values() if name in section)
    assert found == value


def test_a_root_path_is_taken_as_it_is() -> None:
    """What the README says of it, that it is decoded, is not so."""
    recorder = Recorder()
    with serve(recorder, root_path="/a%20b") as server:
        ask(server, "/a%20b/c")
    scope = recorder.next().scope
    assert (scope["root_path"], scope["path"]) == ("/a%20b", "/a b/c")
