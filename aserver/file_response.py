"""Files as response bodies: what `http.response.pathsend` and `http.response.zerocopysend` name.

It opens and checks, and reads or hands on one piece after the other; when, and how many, is the
exchange's business. All that is wrong with a file is an AppError: frameworks take an OSError out of
`send()` for a client that has left.

Files are opened and read in the event loop: a thread would cost more than the page cache, where
most of what is served is. A slow disk is felt, as it is with every call of sendfile(2).
"""

import os
import stat
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .seams import Channel
from .types import AppError, Message

# What is read at once. A file that is not larger becomes a body in memory, and one write together
# with its head; that is cheaper than to write the head, wait for it, and call sendfile.
READ_SIZE = 65_536

# A FIFO must not block, nor a child process inherit.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class FilePart:
    """What is still to be sent of an open file: `count` bytes, from `offset` on."""

    __slots__ = ("_by_kernel", "_name", "count", "fd", "offset")

    def __init__(self, name: str, fd: int, offset: int, count: int) -> None:
        self._name = name
        self._by_kernel = True
        self.fd = fd
        self.offset = offset
        self.count = count

    def hand_on(self, channel: Channel) -> tuple[int, bool]:
        """Give the channel the next piece; returns how long it was, and whether there is room."""
        if self._by_kernel:
            taken = channel.send_file(self.fd, self.offset, self.count)
            if taken is not None:
                self._skip(taken)
                return taken, taken > 0
            self._by_kernel = False
        piece = self.read()
        return len(piece), channel.respond(None, piece, True)

    def read(self) -> bytes:
        """Read the next piece; the whole, if it is not larger than READ_SIZE.

        Raises:
            AppError: It cannot be read, or the file has become shorter.
        """
        size = min(self.count, READ_SIZE)
        try:
            piece = os.pread(self.fd, size, self.offset)
        except OSError as error:
            raise AppError(f"cannot read {self._name}: {error.strerror}") from error
        if len(piece) < size:
            missing = self.count - len(piece)
            raise AppError(f"{self._name} has become shorter: {missing} bytes are missing")
        self._skip(size)
        return piece

    def _skip(self, size: int) -> None:
        self.offset += size
        self.count -= size


@contextmanager
def opened(message: Message) -> Iterator[FilePart]:
    """The file that http.response.pathsend names, open as long as the `with` block lasts.

    Raises:
        AppError: There is no such file, or it is none that can be sent.
    """
    path = message.get("path")
    # ASGI asks for an absolute one. Starlette passes on what it is given, so who takes it literally
    # would break every `FileResponse("report.pdf")`.
    if not isinstance(path, str):
        raise AppError(f"http.response.pathsend must have a 'path' that is a string, not {path!r}")
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise AppError(f"cannot open {path!r}: {error.strerror}") from error
    except ValueError as error:  # a null character, or what no file name can have
        raise AppError(f"cannot open {path!r}: {error}") from error
    try:
        name = repr(path)
        yield FilePart(name, fd, 0, _size(name, fd))
    finally:
        os.close(fd)


@contextmanager
def borrowed(message: Message) -> Iterator[FilePart]:
    """The part of an open file that http.response.zerocopysend names.

    As with sendfile(2), a message without `offset` reads from the file's position and moves it
    behind what it sent, so that the next one goes on there; one with `offset` leaves it alone.

    Raises:
        AppError: It is no file that can be sent, or there is no such part of it.
    """
    file: Any = message.get("file")
    name = _name(file)
    try:
        # One of our own: should the application close its file too soon, the number could become
        # another file's, or another connection's.
        fd = os.dup(file.fileno())
    except (AttributeError, TypeError):
        raise AppError(f"http.response.zerocopysend must have a 'file', not {name}") from None
    except (OSError, OverflowError, ValueError) as error:  # it is closed; or none is behind it
        raise AppError(f"cannot send {name}: {error}") from error
    try:
        part = _part(message, name, fd)
        end = part.offset + part.count
        try:
            yield part
        except CancelledError:
            with suppress(AppError):
                _move(message, name, part.offset)  # what was sent is sent
            raise
        _move(message, name, end)
    finally:
        os.close(fd)


def _part(message: Message, name: str, fd: int) -> FilePart:
    size = _size(name, fd)
    offset, count = message.get("offset"), message.get("count")
    if offset is None:
        try:
            offset = message["file"].tell()
        except (AttributeError, OSError, TypeError, ValueError) as error:
            raise AppError(f"cannot tell the position of {name}: {error}") from error
        _move(message, name, offset)  # nowhere: but if it cannot be moved, say so at once
    if count is None and isinstance(offset, int):
        count = max(size - offset, 0)
    if not (isinstance(offset, int) and isinstance(count, int) and offset >= 0 and count >= 0):
        raise AppError(
            f"'offset' and 'count' must be integers and not negative: {offset!r}, {count!r}"
        )
    if offset + count > size:
        raise AppError(f"{name} has no {count} bytes from {offset} on: its size is {size}")
    return FilePart(name, fd, offset, count)


def _move(message: Message, name: str, position: int) -> None:
    """Set the position of the application's file, if the message goes by that."""
    if message.get("offset") is None:
        try:
            message["file"].seek(position)
        except (AttributeError, OSError, OverflowError, TypeError, ValueError) as error:
            raise AppError(f"cannot set the position of {name}: {error}") from error


def _name(file: object) -> str:
    """What messages call a file object, whatever that is."""
    try:
        return repr(getattr(file, "name", file))
    except Exception:  # io's own raise ValueError once they are detached
        return f"a {type(file).__name__}"


def _size(name: str, fd: int) -> int:
    """The size of a regular file; of anything else, nobody knows what there is to send."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise AppError(f"cannot send {name}: it is not a regular file")
    return status.st_size
