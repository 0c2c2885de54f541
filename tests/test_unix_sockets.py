"""Unix sockets: permissions, what is refused, and what a killed process has left."""

import contextlib
import errno
import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from aserver import unix_sockets
from aserver.config import Bind
from aserver.declarations import ConfigError
from aserver.listener import BindError, Listener
from aserver.sockets import open_listeners
from tests.inside import Open
from tests.processes import in_threads


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def stale_socket(path: str) -> None:
    """What a killed process leaves."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()


@pytest.mark.parametrize("umask", [0, 0o22, 0o77])
def test_permissions_are_those_asked_for(open_all: Open, path: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        (listener,) = open_all(unix_socket=path)
        assert mode_of(path) == 0o666  # as Daphne's
        listener.close()
        open_all(unix_socket=path, unix_socket_mode=0o640)
        assert mode_of(path) == 0o640
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_an_endpoint_says_its_own_permissions(open_all: Open, path: str) -> None:
    open_all(
        endpoint=(f"unix:{path}:mode=600", "unix:open"),
        unix_socket="third",
        unix_socket_mode=0o640,
    )
    assert [mode_of(each) for each in (path, "open", "third")] == [0o600, 0o640, 0o640]


def test_an_endpoint_says_its_own_backlog(open_all: Open, path: str) -> None:
    open_all(endpoint=(f"unix:{path}:backlog=1",))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        for client in clients:
            client.setblocking(False)
        found = [client.connect_ex(path) for client in clients]
    assert found == [0, 0, errno.EAGAIN], "Linux takes one more than it is told"


def test_permissions_are_never_wider_than_asked_for(
    open_all: Open, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    chmod = os.chmod

    def see(path: str, mode: int) -> None:
        seen.append(mode_of(path))
        chmod(path, mode)

    monkeypatch.setattr(os, "chmod", see)
    open_all(unix_socket=path)
    assert seen == [0o600]


def test_group(open_all: Open, path: str) -> None:
    groups = [each for each in grp.getgrall() if os.getuid() == 0 or each.gr_gid in os.getgroups()]
    if not groups:
        pytest.skip("this user is in no group that has a name")
    group = groups[-1]
    open_all(unix_socket=path, unix_socket_group=group.gr_name)
    assert os.stat(path).st_gid == group.gr_gid


def test_an_unknown_group(open_all: Open, path: str) -> None:
    with pytest.raises(ConfigError, match="--unix-socket-group: there is no group 'nobodies'"):
        open_all(unix_socket=path, unix_socket_group="nobodies")
    assert not os.path.exists(path)


@pytest.mark.parametrize("step", ["chown", "chmod"])
def test_a_failure_leaves_no_file(
    open_all: Open, path: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(BindError, match="cannot listen on unix:socket: Operation not permitted"):
        open_all(unix_socket=path)
    assert not os.path.exists(path)


def test_the_file_is_removed_in_the_end_wherever_the_process_is_then(
    open_all: Open, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (listener,) = open_all(bind=(f"unix:{path}",))
    assert str(listener) == "unix:socket"
    assert not listener.shared
    monkeypatch.chdir("/")
    listener.close()
    assert not (tmp_path / path).exists()


def test_the_file_is_there_until_the_socket_is_closed_for_good(open_all: Open, path: str) -> None:
    (listener,) = open_all(unix_socket=path)
    os.unlink(path)
    (other,) = open_all(unix_socket=path)
    listener.close()
    assert os.path.exists(path), "it was somebody else's"
    other.close()
    assert not os.path.exists(path)
    stale_socket(path)
    other.close()
    assert os.path.exists(path), "closed again, it has nothing to remove"


def test_a_file_that_somebody_removed_is_not_missed(open_all: Open, path: str) -> None:
    (listener,) = open_all(unix_socket=path)
    os.unlink(path)
    listener.close()
    assert listener.sock.fileno() == -1


@pytest.mark.parametrize("link", [False, True])
def test_a_stale_socket_is_replaced(open_all: Open, path: str, link: bool) -> None:
    stale_socket("target" if link else path)
    if link:
        os.symlink("target", path)
    (listener,) = open_all(unix_socket=path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        listener.sock.accept()[0].close()


@pytest.mark.parametrize("is_full", [False, True])
def test_a_live_socket_is_refused_and_kept(open_all: Open, path: str, is_full: bool) -> None:
    with socket.socket(socket.AF_UNIX) as live, contextlib.ExitStack() as stack:
        live.bind(path)
        live.listen(0)
        while is_full:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            is_full = client.connect_ex(path) != errno.EAGAIN
        with pytest.raises(BindError, match="unix:socket: another process is listening there"):
            open_all(unix_socket=path)
    assert os.path.exists(path)


def test_a_server_that_is_still_starting_is_alive(open_all: Open, path: str) -> None:
    open_all(unix_socket=path)
    with pytest.raises(BindError, match="another process is listening there"):
        open_all(unix_socket=path)


@pytest.mark.parametrize("kind", ["file", "directory", "link to a file"])
def test_what_is_no_socket_is_refused_and_kept(open_all: Open, path: str, kind: str) -> None:
    if kind == "directory":
        os.mkdir(path)
    else:
        Path("precious").write_text("data")
        os.link("precious", path) if kind == "file" else os.symlink("precious", path)
    with pytest.raises(BindError, match="unix:socket: there is a file that is no socket"):
        open_all(unix_socket=path)
    assert os.path.lexists(path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere/socket", "No such file or directory"),
        ("/dev/null/socket", "Not a directory"),
        ("s" * 108, "AF_UNIX path too long"),
        ("s" * 256, "File name too long"),
    ],
)
def test_a_path_that_cannot_be(open_all: Open, path: str, reason: str) -> None:
    with pytest.raises(BindError, match=f"^cannot listen on unix:{path}: {reason}$"):
        open_all(unix_socket=path)


def test_a_link_to_nowhere(open_all: Open, path: str) -> None:
    os.symlink("nowhere", path)
    with pytest.raises(BindError, match="unix:socket: Address already in use"):
        open_all(unix_socket=path)
    assert os.path.islink(path)


def test_a_socket_of_another_kind_is_refused_and_kept(open_all: Open, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(path)
        with pytest.raises(BindError, match="unix:socket: Protocol wrong type for socket"):
            open_all(unix_socket=path)
    assert os.path.exists(path)


def test_a_stale_socket_that_we_may_not_remove(
    open_all: Open, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "no")

    stale_socket(path)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(BindError, match="cannot listen on unix:socket: Permission denied"):
        open_all(unix_socket=path)


def test_of_servers_that_find_one_stale_socket_exactly_one_gets_the_name(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    for _ in range(20):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        opened: list[Listener] = []
        refused: list[BindError] = []

        def open_one(opened: list[Listener] = opened, refused: list[BindError] = refused) -> None:
            try:
                opened.extend(open_listeners(Bind(unix_socket=path)))
            except BindError as error:
                refused.append(error)

        with in_threads(*[open_one] * 8):
            pass
        (listener,) = opened
        assert len(refused) == 7
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        listener.close()


def test_lock_that_somebody_keeps_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_sockets, "_LOCK_SECONDS", 0.02)
    with unix_sockets._locked(str(tmp_path)):
        (listener,) = open_listeners(Bind(unix_socket=str(tmp_path / "socket")))
        listener.close()
