"""Files over a plain connection, by the kernel: `sendfile(2)`, without reading them.

It works below the transport, on its socket: only while the transport itself has nothing left to
write, and with a descriptor of its own to wait with, because event loops keep the transport's for
themselves. It knows neither protocol nor application.
"""

import asyncio
import os

# Of one call: other connections have their turn before the next (about 0.1 ms from the page cache).
_PIECE = 1 << 20

_sendfile = getattr(os, "sendfile", None)


class FileSender:
    """Bytes of one file on their way through a connection; made when they begin, closed behind.

    Args:
        protocol: Whose `pause_writing` and `resume_writing` tell when to wait for the peer, as the
            transport does it for what it has to write itself.
        high_water: The transport's usual buffer limit, restored when the file has its turn.
    """

    __slots__ = (
        "_fd",
        "_high_water",
        "_loop",
        "_lowered",
        "_protocol",
        "_transport",
        "_waits",
        "left",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.Protocol,
        high_water: int,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._protocol = protocol
        self._high_water = high_water
        self._lowered = False  # whether the transport's limits are not the usual ones
        self._waits = False  # for room in the socket
        self._fd = -1  # another descriptor of its socket, since there was a reason to wait
        self.left = 0  # bytes that the peer still has to take

    def send(self, fd: int, offset: int, count: int) -> int | None:
        """Send at most `count` bytes of the file.

        Returns how many were taken. 0: the protocol is paused, go on when it resumes. None: this
        file cannot be sent so, or its end is here.
        """
        transport = self._transport
        self.left = count
        if transport.is_closing():
            return 0  # about to be lost
        if transport.get_write_buffer_size():
            self._await_buffer()
            return 0
        self._restore_limits()
        if _sendfile is None:
            return None
        sock = transport.get_extra_info("socket")
        try:
            sent: int = _sendfile(sock.fileno(), fd, offset, min(count, _PIECE))
        except BlockingIOError:
            return self._await_room(sock.fileno())
        except OSError:
            # Not every file system can; and a peer that is gone, or a disk that fails, is found out
            # by who writes or reads next.
            return None
        if not sent:
            return None
        self.left -= sent
        return sent

    def _await_buffer(self) -> None:
        """Have the transport say when it has written everything that comes before the file."""
        if not self._lowered:
            self._lowered = True
            self._transport.set_write_buffer_limits(0)

    def _restore_limits(self) -> None:
        if self._lowered:
            self._lowered = False
            self._transport.set_write_buffer_limits(self._high_water)

    def _await_room(self, sock: int) -> int | None:
        """The socket is full: wait until the peer has read some."""
        if self._fd == -1:
            try:
                self._fd = os.dup(sock)
            except OSError:  # no descriptor left; the transport can wait by itself
                return None
        self._waits = True
        self._loop.add_writer(self._fd, self._on_room)
        self._protocol.pause_writing()
        return 0

    def _on_room(self) -> None:
        self._waits = False
        self._loop.remove_writer(self._fd)
        self._protocol.resume_writing()

    def close(self) -> bool:
        """The file is sent, or will never be: leave everything as it was.

        Returns whether the protocol is paused still, for room that the file would have needed.
        """
        waited = self._waits
        self._waits = False
        if self._fd != -1:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
        if not self._transport.is_closing():
            self._restore_limits()
        return waited
