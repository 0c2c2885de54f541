"""Twisted's endpoint strings: what is understood, and what is said of the rest."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.declarations import ConfigError
from aserver.endpoints import Endpoint, endpoint_string, parse_endpoint
from aserver.targets import InheritedFd, SystemdSocket, Target, TcpAddress, UnixAddress
from aserver.tls_options import KeyPair

LABELS = ("--endpoint certKey", "--endpoint privateKey")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp:80", TcpAddress("0.0.0.0", 80)),
        ("tcp:port=80", TcpAddress("0.0.0.0", 80)),
        ("tcp:80:interface=127.0.0.1", TcpAddress("127.0.0.1", 80)),
        ("tcp:port=8000:interface=127.0.0.1", TcpAddress("127.0.0.1", 8000)),
        ("tcp:80:127.0.0.1", TcpAddress("127.0.0.1", 80)),
        ("tcp:80:127.0.0.1:5", TcpAddress("127.0.0.1", 80, 5)),
        ("tcp:80:backlog=5", TcpAddress("0.0.0.0", 80, 5)),
        ("tcp:interface=127.0.0.1:8000", TcpAddress("127.0.0.1", 8000)),
        ("tcp:interface=localhost:port=0", TcpAddress("localhost", 0)),
        (r"tcp:80:interface=\:\:1", TcpAddress("::1", 80)),
        (r"tcp:80:interface=[\:\:1]", TcpAddress("::1", 80)),
        (r"tcp:80:\:\:1", TcpAddress("::1", 80)),
        (r"tcp:8\0", TcpAddress("0.0.0.0", 80)),
        (r"t\cp:80", TcpAddress("0.0.0.0", 80)),
        ("tcp:80:interface=", TcpAddress("0.0.0.0", 80)),
        ("tcp:80:interface=[]", TcpAddress("0.0.0.0", 80)),
        ("tcp:port=80:port=81", TcpAddress("0.0.0.0", 81)),
        ("tcp:80:interface=a:interface=b", TcpAddress("b", 80)),
        ("tcp:80:backlog=2147483647", TcpAddress("0.0.0.0", 80, 2147483647)),
        ("tcp6:80", TcpAddress("::", 80, is_ipv6=True)),
        ("tcp6:port=80:interface=localhost", TcpAddress("localhost", 80, is_ipv6=True)),
        (r"tcp6:80:interface=\:\:1:backlog=5", TcpAddress("::1", 80, 5, is_ipv6=True)),
        (r"tcp6:80:5:\:\:1", TcpAddress("::1", 80, 5, is_ipv6=True)),
        ("unix:/tmp/s", UnixAddress("/tmp/s")),
        ("unix:address=/tmp/s", UnixAddress("/tmp/s")),
        ("unix:s:mode=660", UnixAddress("s", 0o660)),
        ("unix:s:mode=0o0660:lockfile=0", UnixAddress("s", 0o660)),
        ("unix:s:mode=0:backlog=5:lockfile=1", UnixAddress("s", 0, 5)),
        ("unix:s:600:5:1", UnixAddress("s", 0o600, 5)),
        (r"unix:/a\:b\=c", UnixAddress("/a:b=c")),
        ("unix:address=a=b", UnixAddress("a=b")),
        ("fd:5", InheritedFd(5)),
        ("fd:fileno=0", InheritedFd(0)),
        ("fd:fileno=5:domain=INET", InheritedFd(5)),
        ("fd:5:AF_UNIX", InheritedFd(5)),
        ("systemd:domain=INET:index=0", SystemdSocket(number=0)),
        ("systemd:INET6:1", SystemdSocket(number=1)),
        ("systemd:index=1", SystemdSocket(number=1)),
        ("systemd:domain=UNIX:name=web", SystemdSocket("web")),
        (r"systemd:name=a\:b", SystemdSocket("a:b")),
    ],
)
def test_where_to_listen(text: str, expected: Target) -> None:
    endpoint = parse_endpoint(text)
    assert endpoint == Endpoint(expected)
    assert type(endpoint.target) is type(expected), "tuples are equal to other kinds of tuples"


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        # As in Daphne's README.
        ("ssl:443:privateKey=key.pem:certKey=crt.pem", KeyPair("crt.pem", "key.pem")),
        ("ssl:443:privateKey=both.pem", KeyPair("both.pem", "both.pem")),
        ("ssl:443:key.pem:crt.pem", KeyPair("crt.pem", "key.pem")),
        ("ssl:443:both.pem", KeyPair("both.pem", "both.pem")),
        ("ssl:443:key.pem:certKey=crt.pem", KeyPair("crt.pem", "key.pem")),
        ("ssl:port=443:privateKey=a:privateKey=b", KeyPair("b", "b")),
        ("ssl:443:privateKey=k:certKey=c:extraCertChain=x", KeyPair("c", "k", "x")),
        (r"ssl:443:privateKey=a\:b\=c\\d:certKey=e=f", KeyPair("e=f", r"a:b=c\d")),
        ("ssl:443:k:sslmethod=SSLv23_METHOD", KeyPair("k", "k")),
        ("ssl:443:k:c:TLS_METHOD", KeyPair("c", "k")),
        ("ssl:443:k:sslmethod=TLS_SERVER_METHOD", KeyPair("k", "k")),
    ],
)
def test_ssl(text: str, pair: KeyPair) -> None:
    labels = LABELS if pair.certificate != pair.key else (LABELS[1], LABELS[1])
    expected = Endpoint(TcpAddress("0.0.0.0", 443), pair._replace(labels=labels))
    assert parse_endpoint(text) == expected


def test_ssl_with_everything() -> None:
    text = "ssl:443:k:c:interface=h:backlog=5:extraCertChain=x:dhParameters=d"
    pair = KeyPair("c", "k", "x", LABELS)
    note = "dhParameters has no effect: keys are exchanged with ECDHE, which needs none"
    assert parse_endpoint(text) == Endpoint(TcpAddress("h", 443, 5), pair, (note,))
    by_place = "ssl:443:k:c:TLS_METHOD:h:5:x:d"
    assert parse_endpoint(by_place) == parse_endpoint(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not understood; what is: tcp:PORT[:interface=HOST][:backlog=N], tcp6:PORT"),
        ("imap:", "'imap:' is not understood; what is: tcp:PORT"),
        ("stdio:", "'stdio:' is not understood; what is: tcp:PORT"),
        ("TCP:80", "'TCP:80' is not understood; what is: tcp:PORT"),
        ("tcp=80", "'tcp=80' is not understood; what is:"),
        ("le:/certs:tcp:443", "is not understood; give the certificates to --certfile, repeated"),
        ("lets:/certs:tcp:443", "is not understood; give the certificates to --certfile"),
        ("txsni:/certs:tcp:443", "is not understood; give the certificates to --certfile"),
        ("haproxy:tcp:80", "is not understood; --proxy-protocol-bind ADDRESS listens for"),
        ("tcp:80\\", "'tcp:80\\\\' ends in a backslash, which escapes nothing"),
        ("tcp", "'tcp' has no port from 0 to 65535"),
        ("tcp:x", "'tcp:x' has no port from 0 to 65535"),
        ("tcp:" + "8" * 5000, "8' has no port from 0 to 65535"),
        ("tcp:65536", "'tcp:65536' has no port from 0 to 65535"),
        ("tcp:٨", "has no port from 0 to 65535"),
        ("tcp6:", "'tcp6:' has no port from 0 to 65535"),
        ("tcp:80:50", "'tcp:80:50' has '50' for an interface, which is no host"),
        ("tcp:80:h:5:6", "'6' is not understood; what is: tcp:PORT[:interface=HOST][:backlog=N]"),
        ("tcp:80:=5", "'' is not understood; what is: tcp:PORT"),
        ("tcp:80:port=81", "'tcp:80:port=81' has two values for port"),
        ("tcp:80:interface=[::1]", "escape the colons of an address with a backslash, as in"),
        ("tcp:80:backlog=0", "has no backlog from 1 to 2147483647"),
        ("tcp:80:backlog=", "has no backlog from 1 to 2147483647"),
        ("tcp6:80:backlog=2147483648", "has no backlog from 1 to 2147483647"),
        ("tcp:80:certKey=c", "'tcp:80:certKey=c': 'certKey' is not understood"),
        ("tcp:80:mode=660", "'mode' is not understood; what is: tcp:PORT"),
        ("unix:", "'unix:' has no path"),
        ("unix", "'unix' has no path"),
        ("unix:s:mode=668", "has no mode from 0 to 777, in octal"),
        ("unix:s:mode=1777", "has no mode from 0 to 777, in octal"),
        ("unix:s:mode=", "has no mode from 0 to 777, in octal"),
        ("unix:s:mode=" + "7" * 5000, "has no mode from 0 to 777, in octal"),
        ("unix:s:backlog=x", "has no backlog from 1 to 2147483647"),
        ("unix:s:lockfile=2", "has a lockfile that is neither 0 nor 1"),
        ("unix:/a:b", "has no mode from 0 to 777, in octal"),
        ("ssl:443:interface=::1:privateKey=k", "escape the colons of an address"),
        ("ssl:443:interface=2001:db8\\:\\:1", "escape the colons of an address"),
        ("ssl:443:k:privateKey=l", "has two values for privateKey"),
        ("ssl:443", "'ssl:443' has no privateKey=FILE"),
        ("ssl:443:certKey=c", "'ssl:443:certKey=c' has no privateKey=FILE"),
        (
            "ssl:443:k:c:TLSv1_2_METHOD",
            "has sslmethod=TLSv1_2_METHOD; leave it out, and choose versions with "
            "--tls-min-version",
        ),
        ("ssl:443:privateKey=k:sslmethod=", "has sslmethod=; leave it out"),
        ("fd:", "'fd:' has no fileno from 0 to 2147483647"),
        ("fd:-1", "'fd:-1' has no fileno from 0 to 2147483647"),
        ("fd:5:domain=x", "has a domain that is not INET, INET6 or UNIX"),
        ("systemd:", "'systemd:' must have either index=N or name=NAME"),
        ("systemd:domain=INET", "must have either index=N or name=NAME"),
        ("systemd:index=0:name=a", "must have either index=N or name=NAME"),
        ("systemd:index=x", "has no index from 0 to 2147483647"),
        ("systemd:domain=IPX:index=0", "has a domain that is not INET, INET6 or UNIX"),
    ],
)
def test_what_is_not_understood(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="^--endpoint: .*" + re.escape(message)):
        parse_endpoint(text)


# Written


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (TcpAddress("127.0.0.1", 8000), "tcp:port=8000:interface=127.0.0.1"),
        (TcpAddress("200a::1", 8000), r"tcp:port=8000:interface=200a\:\:1"),
        # Both families, which `tcp:` without an interface does not mean.
        (TcpAddress("", 80), r"tcp:port=80:interface=\:\:"),
        (TcpAddress("*", 80), r"tcp:port=80:interface=\:\:"),
        (TcpAddress("0.0.0.0", 80), "tcp:port=80:interface=0.0.0.0"),
        (TcpAddress("::", 80, is_ipv6=True), r"tcp6:port=80:interface=\:\:"),
        (UnixAddress("/tmp/daphne.sock"), "unix:/tmp/daphne.sock"),
        (UnixAddress(r"/a:b=c\d"), r"unix:/a\:b\=c\\d"),
        (InheritedFd(0), "fd:fileno=0"),
        (SystemdSocket(number=1), "systemd:index=1"),
        (SystemdSocket("a:b"), r"systemd:name=a\:b"),
    ],
)
def test_an_address_as_an_endpoint_string(target: Target, expected: str) -> None:
    assert endpoint_string(target) == expected


def test_an_address_with_tls_as_an_endpoint_string() -> None:
    expected = "ssl:port=443:interface=localhost"
    assert endpoint_string(TcpAddress("localhost", 443), has_tls=True) == expected


@given(st.text(min_size=1))
def test_what_is_written_reads_back(text: str) -> None:
    assert parse_endpoint(endpoint_string(UnixAddress(text))).target == UnixAddress(text)
    assert parse_endpoint(endpoint_string(SystemdSocket(text))).target == SystemdSocket(text)


@pytest.mark.parametrize("is_ipv6", [False, True])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "localhost"])
def test_what_is_written_of_a_host_reads_back(host: str, is_ipv6: bool) -> None:
    address = TcpAddress(host, 80, is_ipv6=is_ipv6)
    assert parse_endpoint(endpoint_string(address)).target == address
