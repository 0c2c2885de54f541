"""Unix sockets: files, with an owner and a mode, of which a killed process leaves its own behind.

Other servers may open theirs in the same directory at the same time, and application code of this
process may make files in other threads.
"""

import contextlib
import fcntl
import grp
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator

from .config import Bind
from .declarations import ConfigError
from .listener import BindError, Listener, reason
from .targets import UnixAddress

# The umask belongs to the whole process, and servers may start in several threads.
_umask_lock = threading.Lock()

# For other servers that open their sockets in the same directory just now.
_LOCK_SECONDS = 1.0


def open_unix(target: UnixAddress, bind: Bind) -> Listener:
    """A unix socket with the permissions asked for, in place of one that nobody listens on.

    The options count where its address says nothing else.
    """
    group = -1 if bind.unix_socket_group is None else _group_id(bind.unix_socket_group)
    with _locked(os.path.dirname(target.path) or "."):
        _remove_stale(target.path)
        return _bind_unix(target, bind, group)


def _bind_unix(target: UnixAddress, bind: Bind, group: int) -> Listener:
    path = target.path
    mode = bind.unix_socket_mode if target.mode is None else target.mode
    backlog = target.backlog or bind.backlog
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener = None
    try:
        with _umask_lock:
            before = os.umask(0o177)  # no moment in which others could connect
            try:
                sock.bind(path)
            finally:
                os.umask(before)
        listener = Listener(sock, backlog, file=path)
        os.chown(path, -1, group)
        os.chmod(path, mode)
        # Now, not when the application has started: to a second server a socket that does not
        # listen is a stale one.
        sock.listen(backlog)
    except OSError as error:
        (listener or sock).close()
        raise BindError(f"cannot listen on unix:{path}: {reason(error)}") from None
    return listener


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Keep other servers from taking away, as stale, what is being made in this directory.

    The lock is advisory, and anybody may hold it: without it in time, we go on all the same.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # it is missing, or may not be read, which is no need for a socket
        yield
        return
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(fd) and time.monotonic() < end:
            time.sleep(0.005)
        yield
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"--unix-socket-group: there is no group {name!r}") from None


def _remove_stale(path: str) -> None:
    """A socket file that nobody answers at is left from a process that was killed."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise BindError(f"cannot listen on unix:{path}: there is a file that is no socket")
        if _answers(path):
            raise BindError(f"cannot listen on unix:{path}: another process is listening there")
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BindError(f"cannot listen on unix:{path}: {reason(error)}") from None


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            pass  # its accept queue is full, so it is alive
    return True
