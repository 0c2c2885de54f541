"""What runs a recipe of docs/deploy: its text, the command in it, and where it listens."""

import contextlib
import functools
import random
import re
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping

from tests.processes import DEADLINE, ROOT, Program, wait_until

DEPLOY = ROOT / "docs" / "deploy"
# Below the ports that the kernel gives to clients, from which it could take ours in between.
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 5


def accepts(address: tuple[str, int] | str) -> bool:
    """Whether somebody accepts connections at this address, or the path of this unix socket."""
    try:
        connect(address).close()
    except OSError:
        return False
    return True


def connect(address: tuple[str, int] | str) -> socket.socket:
    """A new connection there."""
    if not isinstance(address, str):
        return socket.create_connection(address, DEADLINE)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def at_free_port(start: Callable[[int], Program]) -> Iterator[tuple[Program, int]]:
    """A program that cannot be given a socket; it listens at a port that was free.

    Somebody else may take the port in between: then it is tried again with another one.
    """
    for attempt in range(_ATTEMPTS):
        port = free_port()
        with start(port) as program:
            wait_until(functools.partial(_has_begun, program, port))
            if program.has_ended:
                assert attempt + 1 < _ATTEMPTS, program.output
                continue
            yield program, port
        return


def _has_begun(program: Program, port: int) -> bool:
    """Whether it listens there, or has ended already."""
    return program.has_ended or accepts(("127.0.0.1", port))


def free_port() -> int:
    """A TCP port of 127.0.0.1 at which nobody listens now."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def recipe(path: str, places: Mapping[str, str]) -> str:
    """A file below docs/deploy, with what is true here in the places of what is true there."""
    text = (DEPLOY / path).read_text(encoding="utf-8")
    for there, here in places.items():
        assert there in text, f"not in {path}: {there}"
        text = text.replace(there, here)
    return text


def command_in(path: str, places: Mapping[str, str], program: str = "aserver") -> list[str]:
    """The options of the command in the head of a recipe, likewise.

    Of several commands it is the first that begins with `program`.
    """
    head = (DEPLOY / path).read_text(encoding="utf-8").replace("\\\n#", " ")
    match = re.search(rf"^#  +({program} .*)$", head, re.MULTILINE)
    assert match is not None, f"{path} has no command of {program}"
    _, *options, application = shlex.split(match[1])
    assert re.fullmatch(r"mysite\.[aw]sgi:application", application), application
    return [places.get(each, each) for each in options]
