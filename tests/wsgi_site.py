"""WSGI applications that tests of the bridge serve; the first of them checks the server, too."""

import io
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from wsgiref.validate import validator

Environ = dict[str, Any]

PIECE = b"0123456789abcdef" * 4096
closed = threading.Event()
closing = threading.Event()
at_work = threading.Event()
may_go_on = threading.Event()
failures: list[BaseException] = []
files: list[IO[bytes]] = []


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    view = VIEWS["/" + environ["PATH_INFO"].rpartition("/")[2]]
    return view(environ, start_response)


def hello(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def facts(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """What is in the environment."""
    environ["wsgi.errors"].write("")
    body = repr({k: v for k, v in environ.items() if isinstance(v, str | bool)}).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def echo(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """Line by line: each is answered before the next one has to come."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for line in environ["wsgi.input"]:
        yield line.upper()


def read(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Each way to read."""
    body = environ["wsgi.input"]
    found = [body.readline(3), body.readline(), body.read(2), *body.readlines(), body.read(1)]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(found).encode()]


def upload(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Read nothing before it may, then count."""
    at_work.set()
    may_go_on.wait(20)
    try:
        size = sum(map(len, iter(lambda: environ["wsgi.input"].read(65536), b"")))
    except OSError as error:
        failures.append(error)
        raise
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % size]


def stream(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Without end."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return Endless()


class Endless:
    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield PIECE

    def close(self) -> None:
        closed.set()


def write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """With what `start_response` returns."""
    send = start_response("200 OK", [("Content-Type", "text/plain")])
    send(b"written, ")
    return [b"", b"returned"]


def endless_write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    send = start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        while True:
            send(PIECE)
    finally:
        closed.set()


def sorry(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Another head in place of the first, which has not gone."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1")])
    try:
        raise ValueError
    except ValueError:
        start_response("500 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"sorry"]


def late_sorry(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """The same behind a piece that is empty: nothing has gone yet."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b""
    try:
        raise ValueError
    except ValueError:
        start_response("500 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
    yield b"sorry"


def not_modified(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"a"')])
    return []


def nothing(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("201 Created", [("Location", "/a")])
    return [b""]


def too_late(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    try:
        raise ValueError("too late")
    except ValueError:
        start_response("500 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
    yield b"not reached"


def twice(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    start_response("201 Created", [])
    return []


def never(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return [b"without a head"]


def too_long(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """More than it said."""
    start_response("200 OK", [("CONTENT-length", " 5 ")])
    try:
        while True:
            yield b"hello"
    finally:
        closed.set()


def too_long_write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """The same in the old way: there is somebody to be told."""
    send = start_response("200 OK", [("Content-Length", "5")])
    try:
        send(b"hello, world")
    except Exception as error:
        failures.append(error)
        raise
    return []


def slow_end(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """With something to do behind the response, which goes wrong."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return SlowEnd()


class SlowEnd:
    def __iter__(self) -> Iterator[bytes]:
        yield b"hello"

    def close(self) -> None:
        closing.set()
        may_go_on.wait(20)
        raise ValueError("too late to be of harm")


def part(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Some bytes from the middle of a file, which has more."""
    start_response("200 OK", [("Content-Length", "5")])
    opened = Path(__file__).open("rb")  # noqa: SIM115 - the wrapper closes it
    files.append(opened)
    opened.seek(3)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](opened)
    return wrapped


def file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """In blocks of a hundred bytes: a file, or what only looks like one."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    opened: IO[bytes]
    if environ["QUERY_STRING"]:
        opened = io.BytesIO(Path(__file__).read_bytes())
    else:
        opened = Path(__file__).open("rb")  # noqa: SIM115 - the wrapper closes it
    files.append(opened)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](opened, 100)
    return wrapped


VIEWS = {
    f"/{view.__name__}": view
    for view in (
        hello,
        facts,
        echo,
        read,
        upload,
        stream,
        write,
        endless_write,
        sorry,
        late_sorry,
        not_modified,
        nothing,
        too_late,
        twice,
        never,
        too_long,
        too_long_write,
        slow_end,
        part,
        file,
    )
}
validated = validator(application)
