"""Listening sockets: every family, and what is refused."""

import contextlib
import errno
import os
import pty
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aserver import addresses
from aserver.config import DEFAULT_HOST, DEFAULT_PORT
from aserver.listener import BindError, Listener, NoSocketError
from tests.inside import Open, make_listening


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def listening(listener: Listener) -> int:
    """Begin to listen; returns the port."""
    listener.sock.listen()
    return port_of(listener)


def port_of(listener: Listener) -> int:
    port = listener.sock.getsockname()[1]
    assert isinstance(port, int)
    return port


def is_free(host: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((host, port)) == errno.ECONNREFUSED


# TCP


def test_the_default_address(open_all: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (DEFAULT_HOST, DEFAULT_PORT) == ("127.0.0.1", 8000)
    monkeypatch.setattr(addresses, "DEFAULT_PORT", 0)
    (listener,) = open_all()
    assert listener.sock.getsockname()[0] == "127.0.0.1"


def test_a_free_port_is_chosen_and_told(open_all: Open) -> None:
    one, two = open_all(bind=("127.0.0.1:0", "127.0.0.1"), port=0)
    assert str(one) == f"http://127.0.0.1:{port_of(one)}"
    assert repr(two) == f"<Listener http://127.0.0.1:{port_of(two)}>"
    assert 0 < port_of(one) != port_of(two) > 0
    assert not one.shared
    url = str(one)
    one.close()
    assert str(one) == url
    one.close()  # again: nothing to do


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6(open_all: Open, host: str) -> None:
    (listener,) = open_all(bind=(host,), port=0)
    port = listening(listener)
    assert str(listener) == f"http://[::1]:{port}"
    socket.create_connection(("::1", port)).close()
    assert is_free("127.0.0.1", port)


@needs_ipv6
@pytest.mark.parametrize("address", ["[::]:0", "*:0", ":0"])
def test_every_interface_of_both_families(open_all: Open, address: str) -> None:
    (listener,) = open_all(bind=(address,))
    port = listening(listener)
    socket.create_connection(("::1", port)).close()
    socket.create_connection(("127.0.0.1", port)).close()


@needs_ipv6
def test_v6only_keeps_ipv4_out(open_all: Open) -> None:
    (listener,) = open_all(bind=("[::]:0",), v6only=True)
    port = listening(listener)
    socket.create_connection(("::1", port)).close()
    assert is_free("127.0.0.1", port)


@needs_ipv6
def test_v6only_makes_every_interface_two_sockets(open_all: Open) -> None:
    listeners = open_all(bind=("*:0",), v6only=True)
    (port,) = {listening(listener) for listener in listeners}
    assert [listener.sock.family for listener in listeners] == [socket.AF_INET6, socket.AF_INET]
    socket.create_connection(("::1", port)).close()
    socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize("method", ["__init__", "bind"])
@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_machine_without_ipv6(
    open_all: Open, monkeypatch: pytest.MonkeyPatch, method: str, number: int
) -> None:
    original = getattr(socket.socket, method)

    def fail(self: socket.socket, first: Any, *rest: Any, **options: Any) -> Any:
        if first == socket.AF_INET6 or "::" in str(first):
            raise OSError(number, "no IPv6")
        return original(self, first, *rest, **options)

    monkeypatch.setattr(socket.socket, method, fail)
    (listener,) = open_all(bind=("*:0",))
    assert listener.sock.getsockname()[0] == "0.0.0.0"
    with pytest.raises(BindError, match=r"cannot listen on \[::1\]:8000: "):
        open_all(bind=("::1",))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a host name these addresses."""

    def resolve(*addresses: str) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)

    return resolve


def test_a_name_is_all_its_addresses_on_one_port(open_all: Open, host: Callable[..., None]) -> None:
    host("127.0.0.1", "127.0.0.2", "127.0.0.1")
    one, two = open_all(bind=("example.test:0",))
    assert [each.sock.getsockname()[0] for each in (one, two)] == ["127.0.0.1", "127.0.0.2"]
    assert port_of(one) == port_of(two)


def test_a_port_that_is_somebodys_at_the_next_address_is_not_kept(
    open_all: Open, host: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    host("127.0.0.1", "127.0.0.2")
    bind, tried = socket.socket.bind, []

    def fail_twice(self: socket.socket, address: tuple[str, int]) -> None:
        if address[0] == "127.0.0.2":
            tried.append(address[1])
            if len(tried) < 3:
                raise OSError(errno.EADDRINUSE, "Address already in use")
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", fail_twice)
    one, two = open_all(bind=("example.test:0",))
    assert port_of(one) == port_of(two) == tried[2]
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", tried[0]))  # without SO_REUSEADDR: it was closed
    del tried[:]
    port = port_of(one)
    for each in (one, two):
        each.close()
    with pytest.raises(BindError, match="Address already in use"):
        open_all(bind=(f"example.test:{port}",))
    assert len(tried) == 1, "a port that was asked for is not tried again"


def test_localhost(open_all: Open) -> None:
    for listener in open_all(bind=("localhost",), port=0):
        assert listener.sock.getsockname()[0] in ("127.0.0.1", "::1")


def test_an_address_that_is_not_of_this_machine_is_left_out(
    open_all: Open, host: Callable[..., None]
) -> None:
    host("198.51.100.1", "127.0.0.1")
    (listener,) = open_all(bind=("example.test:0",))
    assert listener.sock.getsockname()[0] == "127.0.0.1"
    host("198.51.100.1", "203.0.113.1")
    with pytest.raises(BindError, match=r"example\.test:80: Cannot assign requested address"):
        open_all(bind=("example.test:80",))


def test_a_busy_port(open_all: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        message = f"^cannot listen on 127.0.0.1:{port}: Address already in use$"
        with pytest.raises(BindError, match=message):
            open_all(port=port)


def test_one_busy_address_of_a_name_is_enough(open_all: Open, host: Callable[..., None]) -> None:
    host("127.0.0.3", "127.0.0.4")  # no other test connects from these: their ports are quiet
    with socket.create_server(("127.0.0.4", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(BindError, match="Address already in use"):
            open_all(bind=(f"example.test:{port}",))
    with socket.socket() as sock:
        sock.bind(("127.0.0.3", port))  # without SO_REUSEADDR: nobody else has it


def test_no_permission(open_all: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(BindError, match=r"^cannot listen on 127.0.0.1:80: Permission denied$"):
        open_all(port=80)


def test_an_unknown_host(open_all: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(BindError, match=r"cannot listen on no.such:80: Name or service not known"):
        open_all(bind=("no.such:80",))


@pytest.mark.parametrize("name", ["a" * 64, "a..b"])
def test_what_is_no_host_name(open_all: Open, name: str) -> None:
    with pytest.raises(BindError, match=r"cannot listen on .*:8000: this is no host name"):
        open_all(bind=(name,))


def test_a_port_is_free_again_at_once(open_all: Open) -> None:
    (listener,) = open_all(port=0)
    port = listening(listener)
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = listener.sock.accept()
        accepted.close()  # this side closes first, and is left in TIME_WAIT
    listener.close()
    open_all(port=port)


# Endpoint strings


@needs_ipv6
def test_tcp_is_ipv4_only(open_all: Open) -> None:
    """As Twisted's: who comes from Daphne may have firewall rules for IPv4 alone."""
    (listener,) = open_all(endpoint=("tcp:0",))
    port = listening(listener)
    assert listener.sock.getsockname()[0] == "0.0.0.0"
    assert str(listener) == f"http://0.0.0.0:{port}"
    with socket.socket(socket.AF_INET6) as sock:
        assert sock.connect_ex(("::1", port)) == errno.ECONNREFUSED


@needs_ipv6
@pytest.mark.parametrize("v6only", [False, True])
def test_tcp6_takes_ipv4_as_well_where_daphnes_does(open_all: Open, v6only: bool) -> None:
    (listener,) = open_all(endpoint=("tcp6:0",), v6only=v6only)
    port = listening(listener)
    assert listener.sock.getsockname()[0] == "::"
    socket.create_connection(("::1", port)).close()
    assert is_free("127.0.0.1", port) is v6only


@needs_ipv6
@pytest.mark.parametrize("text", [r"tcp6:0:interface=\:\:1", r"tcp:0:interface=[\:\:1]"])
def test_an_endpoint_on_an_ipv6_address(open_all: Open, text: str) -> None:
    (listener,) = open_all(endpoint=(text,))
    port = listening(listener)
    socket.create_connection(("::1", port)).close()
    assert is_free("127.0.0.1", port)


def test_tcp6_of_a_host_without_ipv6(open_all: Open) -> None:
    with pytest.raises(BindError, match=r"^cannot listen on 127\.0\.0\.1:80: "):
        open_all(endpoint=("tcp6:80:interface=127.0.0.1",))


def test_each_address_has_its_backlog(open_all: Open, path: str) -> None:
    with make_listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        listeners = open_all(
            port=0,
            backlog=9,
            fd=sock.fileno(),
            endpoint=("tcp:0:127.0.0.1:5", "tcp:0:127.0.0.1", f"unix:{path}:backlog=3"),
        )
        assert [each.backlog for each in listeners] == [9, 9, 5, 9, 3]


def test_what_has_no_effect_is_said_once(open_all: Open, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = "ssl:0:privateKey=k:interface=127.0.0.1:dhParameters=dh.pem"
    open_all(endpoint=(endpoint,))
    note = "dhParameters has no effect: keys are exchanged with ECDHE, which needs none"
    assert caplog.messages == [f"--endpoint: '{endpoint}': {note}"]


# File descriptors


@pytest.mark.parametrize(
    ("family", "address", "url"),
    [
        (socket.AF_INET, ("127.0.0.1", 0), "http://127.0.0.1:"),
        pytest.param(socket.AF_INET6, ("::1", 0), "http://[::1]:", marks=needs_ipv6),
        (socket.AF_UNIX, "socket", "unix:socket"),
        (socket.AF_UNIX, b"\0aserver-test-%d" % os.getpid(), "unix:@aserver-test-"),
    ],
    ids=["ipv4", "ipv6", "unix", "abstract"],
)
def test_an_inherited_socket_says_itself_what_it_is(
    open_all: Open, path: str, family: int, address: Any, url: str
) -> None:
    with make_listening(family, address) as sock:
        for options in ({"fd": sock.fileno()}, {"bind": (f"fd://{sock.fileno()}",)}):
            (listener,) = open_all(**options)
            assert str(listener).startswith(url)
            assert listener.sock.family == family
            assert listener.shared
            listener.close()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1, "it is not ours"
        assert family != socket.AF_UNIX or isinstance(address, bytes) or os.path.exists(path)


def test_an_inherited_socket_need_not_listen_yet(open_all: Open) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        (listener,) = open_all(fd=sock.fileno())
        listening(listener)


def unfit_file(stack: contextlib.ExitStack) -> int:
    return stack.enter_context(open("file", "w")).fileno()


def unfit_null(stack: contextlib.ExitStack) -> int:
    return stack.enter_context(open(os.devnull)).fileno()


def unfit_pipe(stack: contextlib.ExitStack) -> int:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends[0]


def unfit_terminal(stack: contextlib.ExitStack) -> int:
    ends = pty.openpty()
    for end in ends:
        stack.callback(os.close, end)
    return ends[1]


def unfit_closed(stack: contextlib.ExitStack) -> int:
    with socket.socket() as sock:
        return sock.fileno()


def unfit_udp(stack: contextlib.ExitStack) -> int:
    sock = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    sock.bind(("127.0.0.1", 0))
    return sock.fileno()


def unfit_unix_datagrams(stack: contextlib.ExitStack) -> int:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    return sock.fileno()


def unfit_netlink(stack: contextlib.ExitStack) -> int:
    return stack.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)).fileno()


def unfit_connection(stack: contextlib.ExitStack) -> int:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return stack.enter_context(socket.create_connection(server.getsockname())).fileno()


def unfit_pair(stack: contextlib.ExitStack) -> int:
    pair = socket.socketpair()
    for sock in pair:
        stack.enter_context(sock)
    return pair[0].fileno()


def unfit_fresh_tcp(stack: contextlib.ExitStack) -> int:
    return stack.enter_context(socket.socket()).fileno()


def unfit_fresh_unix(stack: contextlib.ExitStack) -> int:
    return stack.enter_context(socket.socket(socket.AF_UNIX)).fileno()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (unfit_file, " is not a socket; it must be a listening socket"),
        (unfit_null, " is not a socket; it must be a listening socket"),
        (unfit_pipe, " is not a socket; it must be a listening socket"),
        (unfit_terminal, " is a terminal; it must be a listening socket"),
        (unfit_closed, ": Bad file descriptor"),
        (unfit_udp, " is not a TCP or unix stream socket"),
        (unfit_unix_datagrams, " is not a TCP or unix stream socket"),
        (unfit_netlink, " is not a TCP or unix stream socket"),
        (unfit_connection, " is a connection, not a listening socket"),
        (unfit_pair, " is a connection, not a listening socket"),
        (unfit_fresh_tcp, " is a socket without an address"),
        (unfit_fresh_unix, " is a socket without an address"),
    ],
)
def test_a_descriptor_that_is_no_listening_socket(
    open_all: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[contextlib.ExitStack], int],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        fd = make(stack)
        with pytest.raises(NoSocketError, match=f"^file descriptor {fd}{reason}$"):
            open_all(fd=fd)
        if make is not unfit_closed:
            os.fstat(fd)  # it is not ours to close


# systemd


def test_passed_sockets_are_listened_on_beside_the_others(
    open_all: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        monkeypatch.setattr(addresses, "_FIRST_PASSED_FD", sock.fileno())
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        (passed,) = open_all(environ.copy())
        assert passed.sock.getsockname() == sock.getsockname()
        own, passed = open_all(environ.copy(), port=0)
        assert own.sock.getsockname() != sock.getsockname() == passed.sock.getsockname()
        (passed,) = open_all(environ.copy(), fd=sock.fileno())  # given twice is one listener
        (own,) = open_all(None, port=0)
        assert own.sock.getsockname() != sock.getsockname()


def test_a_socket_from_systemd_by_its_name(open_all: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with make_listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        monkeypatch.setattr(addresses, "_FIRST_PASSED_FD", sock.fileno())
        environ = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "web",
        }
        for text in ("systemd:domain=INET:name=web", "systemd:domain=INET:index=0"):
            (passed,) = open_all(environ.copy(), endpoint=(text,))
            assert passed.sock.getsockname() == sock.getsockname()
            assert passed.shared
        with pytest.raises(
            NoSocketError, match=r"^systemd passed no socket of name 'x'; it passed web$"
        ):
            open_all(environ.copy(), endpoint=("systemd:name=x",))
    message = r"^systemd passed no socket of index 0; it passed none to this process$"
    with pytest.raises(NoSocketError, match=message):
        open_all({}, endpoint=("systemd:index=0",))


# All or nothing


def test_several_at_once(open_all: Open, path: str) -> None:
    with make_listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        bind = ("127.0.0.1:0", "127.0.0.2:0", f"unix:{path}", f"fd://{sock.fileno()}")
        listeners = open_all(bind=bind)
        assert [str(each).partition(":")[0] for each in listeners] == [
            "http",
            "http",
            "unix",
            "http",
        ]


def test_nothing_is_left_open_when_one_fails(open_all: Open, path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(BindError):
            open_all(bind=(f"unix:{path}", f"127.0.0.2:{port}", f"127.0.0.1:{port}"))
        assert not os.path.exists(path)
        with socket.socket() as sock:
            sock.bind(("127.0.0.2", port))  # without SO_REUSEADDR: nobody has it
