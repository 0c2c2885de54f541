"""The environment of a WSGI request (PEP 3333), made of what a2wsgi makes of an ASGI scope."""

import io
import os
import stat
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.util import FileWrapper

from .types import Address, Scope

Environ = dict[str, Any]
# Waits for a piece of the body; also returns whether there is more.
Read = Callable[[], tuple[bytes, bool]]

_READ_SIZE = 65_536


def mend(environ: Environ, read: Read) -> None:
    """Put right what a2wsgi leaves out, or cannot know.

    Args:
        environ: From a2wsgi; it has the scope.
        read: Called in the application's thread, for the request's body.
    """
    scope = environ["asgi.scope"]
    # Not SCRIPT_NAME of the process's environment, and no half of a path's segment.
    root, path = _as_wsgi(scope["root_path"].rstrip("/")), _path_as_wsgi(scope)
    if path == root or path.startswith(f"{root}/"):
        path = path[len(root) :]
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = root, path
    cookies = [value for name, value in scope["headers"] if name == b"cookie"]
    if len(cookies) > 1:  # the one list that has no commas (RFC 6265)
        environ["HTTP_COOKIE"] = b"; ".join(cookies).decode("latin-1")
    server = scope.get("server")
    if server is None or server[1] is None:  # a unix socket
        server = _server_of(environ)
        environ["SERVER_NAME"], environ["SERVER_PORT"] = server[0], str(server[1])
    environ.setdefault("REMOTE_ADDR", "")
    # To CGI, and so to many a library, this is the proxy to send one's own requests through.
    environ.pop("HTTP_PROXY", None)
    environ["wsgi.errors"] = sys.stderr
    environ["wsgi.input"] = io.BufferedReader(_Input(read), _READ_SIZE)
    environ["wsgi.input_terminated"] = True  # a chunked body has an end, but no length
    environ["wsgi.file_wrapper"] = _wrap_file


class _Input(io.RawIOBase):
    """A request body, read as it comes; `wsgi.input` is a buffer over it."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rest = b""
        self._has_more = True

    def readable(self) -> bool:
        """It is nothing else."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Take what is there; wait if nothing is."""
        while not self._rest and self._has_more:
            self._rest, self._has_more = self._read()
        piece = self._rest[: len(buffer)]
        self._rest = self._rest[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _wrap_file(file: Any, block_size: int = _READ_SIZE) -> FileWrapper:
    """`wsgi.file_wrapper`: a file in larger pieces than it is asked for, each being a long way.

    Only where that keeps nobody waiting: a pipe's pieces are sent as they come.
    """
    try:
        is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):
        is_file = False
    return FileWrapper(file, max(block_size, _READ_SIZE) if is_file else block_size)


def _as_wsgi(text: str) -> str:
    """Bytes, each as the character of its number (PEP 3333, "Unicode Issues")."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _path_as_wsgi(scope: Scope) -> str:
    """The path with the bytes that ASGI has replaced, where they are no UTF-8."""
    path: str = scope["path"]
    if "\ufffd" in path:
        raw = unquote_to_bytes(scope.get("raw_path") or b"")
        replaced = raw.decode("utf-8", "replace")
        if path.endswith(replaced):  # else something has changed it since
            return _as_wsgi(path[: len(path) - len(replaced)]) + raw.decode("latin-1")
    return _as_wsgi(path)


def _server_of(environ: Environ) -> Address:
    """Where a request without an address of its own was sent: as its Host says."""
    try:
        parts = urlsplit(f"//{environ.get('HTTP_HOST', '')}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    return host or "localhost", port or (443 if environ["wsgi.url_scheme"] == "https" else 80)
