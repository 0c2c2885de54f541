"""A listener's end: who is in the accept queue."""

import contextlib
import os
import socket
from typing import Any

import pytest

from aserver.addresses import Kind, Place
from aserver.listener import Listener
from aserver.targets import InheritedFd
from aserver.tls_options import KeyPair
from tests.inside import Open, make_listening


def queued_client(stack: contextlib.ExitStack, listener: Listener) -> socket.socket:
    client = stack.enter_context(socket.socket(listener.sock.family))
    client.settimeout(5)
    client.connect(listener.sock.getsockname())
    return client


def test_vanished_clients_are_found_out(open_all: Open) -> None:
    (listener,) = open_all(port=0)
    listener.sock.listen()
    with contextlib.ExitStack() as stack:
        queued_client(stack, listener)
        (sock,) = (stack.enter_context(each) for each in listener.take_waiting())
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 15
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4


@pytest.mark.parametrize("options", [{"port": 0}, {"unix_socket": "socket"}], ids=["tcp", "unix"])
def test_who_waits_is_taken_and_can_be_talked_to(
    open_all: Open, path: str, options: dict[str, Any]
) -> None:
    (listener,) = open_all(**options)
    listener.sock.listen()
    with contextlib.ExitStack() as stack:
        clients = [queued_client(stack, listener) for _ in range(3)]
        waiting = [stack.enter_context(sock) for sock in listener.take_waiting()]
        assert not os.path.exists(path)
        listener.close()
        assert len(waiting) == 3
        for client, sock in zip(clients, waiting, strict=True):
            assert not sock.getblocking()
            sock.setblocking(True)
            client.sendall(b"ping")
            assert sock.recv(4) == b"ping"
            sock.sendall(b"pong")
            assert client.recv(4) == b"pong"


def test_who_waits_at_an_inherited_socket_is_left_to_the_others(open_all: Open) -> None:
    with make_listening(socket.AF_INET, ("127.0.0.1", 0)) as sock, contextlib.ExitStack() as stack:
        (listener,) = open_all(fd=sock.fileno())
        queued_client(stack, listener)
        assert listener.take_waiting() == []
        sock.accept()[0].close()


PAIRS = (KeyPair("certificate", "key"),)


def test_what_is_spoken(open_all: Open) -> None:
    (listener,) = open_all(port=0)
    assert (listener.kind, listener.pairs) == (Kind.PLAIN, ())
    address = f"127.0.0.1:{listener.port}"
    assert str(listener) == f"http://{address}"
    listener.speak(Place(InheritedFd(0), PAIRS))
    assert (listener.kind, listener.pairs) == (Kind.TLS, PAIRS)
    assert str(listener) == f"https://{address}"
    (listener,) = open_all(port=0)
    listener.speak(Place(InheritedFd(0), is_redirect=True))
    assert (listener.kind, listener.pairs) == (Kind.REDIRECT, ())
    assert str(listener).startswith("http://")


def test_no_tls_on_unix_sockets(open_all: Open, path: str) -> None:
    (listener,) = open_all(unix_socket=path)
    listener.speak(Place(InheritedFd(0), PAIRS))
    assert (listener.kind, listener.pairs) == (Kind.PLAIN, ())
    assert listener.port is None
