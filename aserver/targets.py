"""The kinds of addresses to listen on: each is a class of its own. No IO.

They come from the options (`aserver.addresses`) and from endpoint strings (`aserver.endpoints`);
`aserver.sockets` makes sockets of them.
"""

from typing import NamedTuple


class TcpAddress(NamedTuple):
    """Listen on a host's addresses; an empty host, or `*`, is every interface.

    Attributes:
        host: Its name, or an address.
        port: 0: the kernel chooses.
        backlog: Length of the accept queue; None: that of --backlog.
        is_ipv6: Whether the host's IPv4 addresses are left out.
    """

    host: str
    port: int
    backlog: int | None = None
    is_ipv6: bool = False

    @property
    def is_everywhere(self) -> bool:
        """Whether it means every interface."""
        return self.host in ("", "*")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{host}:{self.port}"


class UnixAddress(NamedTuple):
    """Listen on a unix socket.

    Attributes:
        path: Its file.
        mode: The file's permissions; None: those of --unix-socket-mode.
        backlog: Length of the accept queue; None: that of --backlog.
    """

    path: str
    mode: int | None = None
    backlog: int | None = None

    def __str__(self) -> str:
        return f"unix:{self.path}"


class InheritedFd(NamedTuple):
    """Listen on a socket that the process was started with."""

    fd: int

    def __str__(self) -> str:
        return f"file descriptor {self.fd}"


class SystemdSocket(NamedTuple):
    """Listen on what systemd passed under this name, or in this place: one of both is None."""

    name: str | None = None
    number: int | None = None

    def __str__(self) -> str:
        return f"index {self.number}" if self.name is None else f"name {self.name!r}"


Target = TcpAddress | UnixAddress | InheritedFd | SystemdSocket
