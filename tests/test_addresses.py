"""Where to listen: Daphne's rules, what is no address, and what systemd passes."""

import os
import re
from collections.abc import Sequence
from typing import Any

import pytest

from aserver.addresses import Kind, PassedFd, Place, names_certificate, passed_fds, places
from aserver.config import Bind, Config, Tls
from aserver.declarations import ConfigError
from aserver.endpoints import parse_endpoint
from aserver.targets import InheritedFd, SystemdSocket, Target, TcpAddress, UnixAddress
from aserver.tls_options import KeyPair

PASSED = [PassedFd(3, "web"), PassedFd(4, "admin"), PassedFd(5, "web")]

# Where to listen (Daphne's rules)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [TcpAddress("127.0.0.1", 8000)]),
        ({"port": 123}, [TcpAddress("127.0.0.1", 123)]),
        ({"port": 0}, [TcpAddress("127.0.0.1", 0)]),
        ({"bind": ("10.0.0.1",)}, [TcpAddress("10.0.0.1", 8000)]),
        ({"bind": ("10.0.0.1",), "port": 80}, [TcpAddress("10.0.0.1", 80)]),
        ({"bind": ("200a::1",)}, [TcpAddress("200a::1", 8000)]),
        ({"bind": ("[200a::1]",), "port": 80}, [TcpAddress("200a::1", 80)]),
        ({"bind": ("[200a::1]:81",), "port": 80}, [TcpAddress("200a::1", 81)]),
        ({"bind": ("localhost:0",)}, [TcpAddress("localhost", 0)]),
        ({"bind": ("*",)}, [TcpAddress("*", 8000)]),
        ({"bind": (":81",)}, [TcpAddress("", 81)]),
        ({"bind": ("a", "b:1")}, [TcpAddress("a", 8000), TcpAddress("b", 1)]),
        ({"unix_socket": "s"}, [UnixAddress("s")]),
        ({"bind": ("unix:s",)}, [UnixAddress("s")]),
        ({"bind": ("unix:/a b:c",)}, [UnixAddress("/a b:c")]),
        ({"fd": 5}, [InheritedFd(5)]),
        ({"bind": ("fd://5",)}, [InheritedFd(5)]),
        ({"unix_socket": "s", "fd": 5}, [UnixAddress("s"), InheritedFd(5)]),
        ({"unix_socket": "s", "port": 80}, [TcpAddress("127.0.0.1", 80), UnixAddress("s")]),
        ({"bind": ("unix:s",), "port": 80}, [UnixAddress("s"), TcpAddress("127.0.0.1", 80)]),
        ({"bind": ("unix:s", "unix:t")}, [UnixAddress("s"), UnixAddress("t")]),
        ({"bind": ("fd://5", "fd://6")}, [InheritedFd(5), InheritedFd(6)]),
        ({"bind": ("h",), "unix_socket": "s"}, [TcpAddress("h", 8000), UnixAddress("s")]),
        ({"bind": ("h",), "fd": 0}, [TcpAddress("h", 8000), InheritedFd(0)]),
        ({"port": 0, "bind": ("h", "h")}, [TcpAddress("h", 0), TcpAddress("h", 0)]),
    ],
)
def test_targets(options: dict[str, Any], expected: list[Target]) -> None:
    assert places(Bind(**options), Tls()) == [Place(target) for target in expected]


@pytest.mark.parametrize(
    "text",
    [
        *("", "unix:", "fd://", "fd://-1", "fd://x", "fd://70000"),
        *("h:", "h:x", "h:-1", "h:65536", "h:8O", "h:٨", "h:" + "8" * 5000),
        "fd://" + "8" * 5000,
        *("[::1", "[::1]80", "[::1]:", "[]", "[]:80", "[localhost]:80", "[::1]:x"),
        *("http://h", "/run/socket", "./socket", "8000", "0"),
    ],
)
def test_an_address_that_cannot_be_understood(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--bind: "):
        places(Bind(bind=(text,)), Tls())
    tls = Tls(certfile=("a",))
    with pytest.raises(ConfigError, match=r"^--insecure-bind: "):
        places(Bind(insecure_bind=(text,)), tls)
    with pytest.raises(ConfigError, match=r"^--redirect-bind: "):
        places(Bind(redirect_bind=(text,)), tls)


@pytest.mark.parametrize("path", ["s:mode=600", "/run/s:lockfile=0:mode=600", "s:backlog=5"])
def test_an_endpoint_is_no_path(path: str) -> None:
    """Daphne takes it for one: with such a mode, the socket is not to be open to everybody."""
    with pytest.raises(
        ConfigError, match=r"^--unix-socket: .*; what is meant may be --endpoint unix:"
    ):
        places(Bind(unix_socket=path), Tls())
    with pytest.raises(ConfigError, match=r"^--bind: .*; what is meant may be --endpoint unix:"):
        places(Bind(bind=(f"unix:{path}",)), Tls())
    assert places(Bind(unix_socket="a:b=600"), Tls()) == [Place(UnixAddress("a:b=600"))]


def test_a_unix_socket_has_a_path() -> None:
    with pytest.raises(ConfigError, match="--unix-socket: a unix socket must have a path"):
        places(Bind(unix_socket=""), Tls())


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"bind": ["127.0.0.1"], "endpoint": r"tcp:8000:127.0.0.1:5"}, "127.0.0.1:8000"),
        ({"bind": ["*:80", ":80"]}, "*:80"),
        ({"bind": ["[::1]", "::1"]}, "[::1]:8000"),
        ({"endpoint": ["tcp:80", "tcp:80:backlog=5"]}, "0.0.0.0:80"),
        ({"endpoint": [r"tcp:80:\:\:", "tcp6:80"]}, "[::]:80"),
        ({"unix_socket": "s", "bind": "unix:s"}, "unix:s"),
        ({"unix_socket": "s", "endpoint": "unix:s:mode=600"}, "unix:s"),
        ({"fd": 5, "endpoint": "fd:5"}, "file descriptor 5"),
        ({"endpoint": ["systemd:index=0", "systemd:name=web"]}, "file descriptor 3"),
        ({"endpoint": ["systemd:name=x", "systemd:name=x"]}, "name 'x'"),
        ({"certfile": "a", "port": 80, "redirect_bind": "127.0.0.1:80"}, "127.0.0.1:80"),
        ({"port": 80, "proxy_protocol_bind": "127.0.0.1:80"}, "127.0.0.1:80"),
    ],
)
def test_nothing_is_listened_on_twice(options: dict[str, Any], shown: str) -> None:
    config = Config.of(**options)
    message = f"{shown} is given twice, by --bind, --endpoint or another option"
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        places(config.bind, config.tls, PASSED)


# TLS

PAIR = KeyPair("a", "a")
ENDPOINT = "ssl:443:privateKey=k:certKey=c"
OF_ENDPOINT = parse_endpoint(ENDPOINT).pair
assert OF_ENDPOINT is not None
OF_IPV4 = Place(TcpAddress("0.0.0.0", 443), (OF_ENDPOINT,), endpoint=ENDPOINT)
DEFAULT = Place(TcpAddress("127.0.0.1", 8000), (PAIR,))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"certfile": "a"}, [DEFAULT]),
        ({"certfile": "a", "port": 1}, [Place(TcpAddress("127.0.0.1", 1), (PAIR,))]),
        # These never speak it.
        ({"certfile": "a", "unix_socket": "s"}, [Place(UnixAddress("s"))]),
        (
            {"certfile": "a", "bind": ["h:1", "unix:s"]},
            [
                Place(TcpAddress("h", 1), (PAIR,)),
                Place(UnixAddress("s")),
            ],
        ),
        # Whether an inherited socket is a unix socket is seen later.
        ({"certfile": "a", "fd": 3}, [Place(InheritedFd(3), (PAIR,))]),
        ({"endpoint": ENDPOINT}, [OF_IPV4]),
        ({"endpoint": "tcp:80"}, [Place(TcpAddress("0.0.0.0", 80), endpoint="tcp:80")]),
        # Without --certfile, the others stay plain, as with Daphne.
        ({"endpoint": ENDPOINT, "port": 1}, [Place(TcpAddress("127.0.0.1", 1)), OF_IPV4]),
        (
            {"endpoint": [ENDPOINT, "tcp:80"], "certfile": "a", "port": 8000},
            [DEFAULT, OF_IPV4, Place(TcpAddress("0.0.0.0", 80), endpoint="tcp:80")],
        ),
        # A string says all of it: without a certificate of its own it means none.
        (
            {"endpoint": ["fd:3", "tcp6:80", "systemd:index=0"], "certfile": "a"},
            [
                Place(InheritedFd(3), endpoint="fd:3"),
                Place(TcpAddress("::", 80, is_ipv6=True), endpoint="tcp6:80"),
                Place(SystemdSocket(number=0), endpoint="systemd:index=0"),
            ],
        ),
        # These are beside, and so in nobody's place.
        (
            {"certfile": "a", "insecure_bind": [":80", "unix:s"], "redirect_bind": "h:81"},
            [
                DEFAULT,
                Place(TcpAddress("", 80)),
                Place(UnixAddress("s")),
                Place(TcpAddress("h", 81), is_redirect=True),
            ],
        ),
        (
            {"endpoint": ENDPOINT, "redirect_bind": "[::1]:80"},
            [OF_IPV4, Place(TcpAddress("::1", 80), is_redirect=True)],
        ),
    ],
)
def test_where_tls_is_spoken(options: dict[str, Any], expected: list[Place]) -> None:
    config = Config.of(**options)
    assert places(config.bind, config.tls) == expected
    is_named = bool(config.tls.certfile) or any(each.pairs for each in expected)
    assert names_certificate(config.bind, config.tls) == is_named


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (DEFAULT, Kind.TLS),
        (Place(UnixAddress("s")), Kind.PLAIN),
        (Place(TcpAddress("", 80), is_redirect=True), Kind.REDIRECT),
    ],
)
def test_what_is_spoken_at_a_place(place: Place, kind: Kind) -> None:
    assert place.kind is kind


def test_places_within_a_directory() -> None:
    assert Place(UnixAddress("s")).within("/x") == Place(UnixAddress("/x/s"))
    assert Place(UnixAddress("/s", 1, 2)).within("/x") == Place(UnixAddress("/s", 1, 2))
    assert DEFAULT.within("/x").pairs == (KeyPair("/x/a", "/x/a"),)
    assert DEFAULT.within("/x").target is DEFAULT.target
    for place in (DEFAULT, OF_IPV4, Place(UnixAddress("s"))):
        assert place.within("") == place


def test_sockets_from_systemd_speak_tls_too() -> None:
    tls = Tls(certfile=("a",))
    expected = [Place(InheritedFd(3), (PAIR,)), Place(InheritedFd(4), (PAIR,))]
    passed = [PassedFd(3, "unknown"), PassedFd(4, "unknown")]
    assert places(Bind(fd=3), tls, passed) == expected
    assert places(Bind(), tls, passed) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"insecure_bind": ":80"}, "--insecure-bind: there is no certificate"),
        ({"redirect_bind": ":80"}, "--redirect-bind: there is no certificate"),
        ({"certfile": "a", "insecure_bind": "h"}, "--insecure-bind: 'h' has no port, as in h:80"),
        ({"certfile": "a", "redirect_bind": "[::1]"}, "--redirect-bind: '::1' has no port"),
        ({"redirect_port": 443}, "--redirect-port: nothing is redirected (--redirect-bind)"),
        ({"keyfile": "k"}, "--keyfile: there is no certificate for it"),
        ({"certfile": ""}, "--certfile: the name of the file is empty"),
        (
            {"certfile": "a", "unix_socket": "s", "ca_certs": "c"},
            "--ca-certs: no client is asked for a certificate",
        ),
        ({"ca_certs": "c"}, "--ca-certs: there is no certificate of the server"),
        ({"endpoint": "imap:"}, "--endpoint: 'imap:' is not understood"),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any], message: str) -> None:
    config = Config.of(**options)
    with pytest.raises(ConfigError, match=re.escape(message)):
        places(config.bind, config.tls)


# systemd (sd_listen_fds(3))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Those that nobody names come last.
        (
            {"port": 80},
            [Place(TcpAddress("127.0.0.1", 80)), *map(Place, map(InheritedFd, (3, 4, 5)))],
        ),
        (
            {"endpoint": "systemd:domain=INET:index=1"},
            [
                Place(InheritedFd(4), endpoint="systemd:domain=INET:index=1"),
                *map(Place, map(InheritedFd, (3, 5))),
            ],
        ),
        (
            {"endpoint": ["systemd:name=web", "fd:4"]},
            [
                Place(InheritedFd(3), endpoint="systemd:name=web"),
                Place(InheritedFd(5), endpoint="systemd:name=web"),
                Place(InheritedFd(4), endpoint="fd:4"),
            ],
        ),
        # Nobody is there to say so yet: the kernel is not asked here.
        (
            {"endpoint": "systemd:index=3", "bind": ["fd://3", "fd://4", "fd://5"]},
            [
                *map(Place, map(InheritedFd, (3, 4, 5))),
                Place(SystemdSocket(number=3), endpoint="systemd:index=3"),
            ],
        ),
        (
            {"certfile": "a", "redirect_bind": "fd://4", "insecure_bind": "fd://5"},
            [
                Place(InheritedFd(3), (PAIR,)),
                Place(InheritedFd(5)),
                Place(InheritedFd(4), is_redirect=True),
            ],
        ),
        (
            {"proxy_protocol_bind": "fd://4"},
            [
                Place(InheritedFd(4), is_proxied=True),
                *map(Place, map(InheritedFd, (3, 5))),
            ],
        ),
    ],
)
def test_each_socket_from_systemd_is_listened_on_once(
    options: dict[str, Any], expected: list[Place]
) -> None:
    config = Config.of(**options)
    assert places(config.bind, config.tls, PASSED) == expected


@pytest.mark.parametrize(
    ("pid", "count", "names", "expected"),
    [
        ("{pid}", "2", "web:admin", [PassedFd(3, "web"), PassedFd(4, "admin")]),
        ("{pid}", "2", "web", [PassedFd(3, "web"), PassedFd(4, "unknown")]),
        ("{pid}", "2", "", [PassedFd(3, "unknown"), PassedFd(4, "unknown")]),
        ("{pid}", "1", "web:admin", [PassedFd(3, "web")]),
        ("{pid}", "0", "web", []),
        ("{pid}", "", "web", []),
        ("{pid}", "two", "web", []),
        ("{pid}", "1" * 5000, "web", []),
        ("{pid}", "²", "web", []),
        ("1", "2", "web:admin", []),
        ("", "2", "web:admin", []),
    ],
)
def test_passed_descriptors(pid: str, count: str, names: str, expected: list[PassedFd]) -> None:
    environ = {
        "LISTEN_PID": pid.format(pid=os.getpid()),
        "LISTEN_FDS": count,
        "LISTEN_FDNAMES": names,
        "OTHER": "kept",
    }
    assert passed_fds(environ) == expected
    assert environ == {"OTHER": "kept"}, "child processes would take them for theirs"


# As Daphne says it


def described(bind: Bind, tls: Tls, passed: Sequence[PassedFd] = ()) -> list[str]:
    return sorted({place.description for place in places(bind, tls, passed)})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # -e as given.
        (
            {"port": 8080, "unix_socket": "/s", "endpoint": ["tcp:80", "fd:5:domain=INET"]},
            ["fd:5:domain=INET", "tcp:80", "tcp:port=8080:interface=127.0.0.1", "unix:/s"],
        ),
        (
            {"certfile": "a", "unix_socket": "s", "port": 1},
            ["ssl:port=1:interface=127.0.0.1", "unix:s"],
        ),
        ({"endpoint": "systemd:name=web"}, ["systemd:name=web"]),
        (
            {"bind": "*", "proxy_protocol_bind": "h:81"},
            [r"tcp:port=8000:interface=\:\:", "tcp:port=81:interface=h"],
        ),
        ({"bind": ["h", "h"], "port": 0}, ["tcp:port=0:interface=h"]),
    ],
)
def test_described_in_endpoint_strings(options: dict[str, Any], expected: list[str]) -> None:
    config = Config.of(**options)
    assert described(config.bind, config.tls) == expected


def test_sockets_from_systemd_in_endpoint_strings() -> None:
    bind = Bind(endpoint=("systemd:name=web",))
    assert described(bind, Tls(), PASSED) == ["fd:fileno=4", "systemd:name=web"]
    assert described(Bind(), Tls(), PASSED) == ["fd:fileno=3", "fd:fileno=4", "fd:fileno=5"]
