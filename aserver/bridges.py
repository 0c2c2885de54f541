"""Applications that do not speak ASGI 3: those of ASGI 2, and of WSGI (PEP 3333), in threads.

The bridge to WSGI is a2wsgi's: it has the threads, and a bounded queue from each of them to the
event loop. It is mended on both sides. On ASGI's, a client that leaves would cost a thread for
ever: what takes the pieces off the queue would be gone, and the thread wait for room in it. On
WSGI's, half of an upload would look like a whole one, `readline()` like the end of a body that has
not come yet, and an error page could not take the place of a response that has not begun. What an
application does in `close()` comes behind its response, not before its end.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any
from wsgiref.util import FileWrapper

from .declarations import ConfigError
from .logs import app_log
from .types import AppError, ASGIApplication, ClientDisconnected, Receive, Scope, Send
from .wsgi_environ import Environ, mend

WSGIApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# As many as Python's own executors have.
_THREADS = min(32, (os.cpu_count() or 1) + 4)


def bridge_asgi2(app: Callable[[Scope], Callable[[Receive, Send], Any]]) -> ASGIApplication:
    """An ASGI 2 application, which takes the scope first, as one of ASGI 3."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        scope["asgi"]["version"] = "2.0"
        await app(scope)(receive, send)

    return application


class WsgiBridge:
    """A WSGI application as one of ASGI 3. It has no lifespan, and refuses WebSockets.

    Args:
        app: The application.
        threads: How many requests are at work at a time; None: as many as the machine is good for.

    Raises:
        ConfigError: a2wsgi is not installed.
    """

    def __init__(self, app: WSGIApplication, threads: int | None = None) -> None:
        try:
            from a2wsgi import WSGIMiddleware  # an extra
        except ImportError:
            raise ConfigError(
                "--interface wsgi: a2wsgi is not installed (pip install 'aserver[wsgi]')"
            ) from None
        self._app = app
        self._bridge: Any = WSGIMiddleware(self._run, workers=threads or _THREADS)  # type: ignore[arg-type]
        self._abandoned: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, _Request(receive, send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Scope, request: "_Request") -> None:
        # A thread cannot be cancelled. If this call is, a2wsgi goes on and takes what its thread
        # produces, which ends with the next piece.
        task = asyncio.create_task(self._bridge_one(scope, request))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            request.failure = ClientDisconnected("nobody waits for the response")
            self._abandoned.add(task)
            task.add_done_callback(self._on_end_of_abandoned)
            raise
        problem = request.failure or request.mistake
        if problem is not None:
            raise problem

    def _on_end_of_abandoned(self, task: asyncio.Task[None]) -> None:
        self._abandoned.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ClientDisconnected):
            app_log.error("Exception in a thread that nobody waits for any more", exc_info=error)

    async def _bridge_one(self, scope: Scope, request: "_Request") -> None:
        _current.set(request)  # a2wsgi runs the thread in a copy of this context
        await self._bridge(scope, request.receive, request.send)

    def _run(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """What a2wsgi calls as the application, in a thread."""
        request = _current.get()
        if request.failure is not None:  # while it waited for the thread
            return ()
        mend(environ, request.read)
        response = _Response(request, start_response)
        return _Pieces(self._app(environ, response.start), request, response)


class _Request:
    """One request, as its thread and the event loop see it.

    Attributes:
        failure: Why there is nobody to respond to.
        mistake: What the application did wrong without any harm to its response.
    """

    __slots__ = ("_loop", "_send", "failure", "mistake", "receive")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self.receive = receive
        self.failure: Exception | None = None
        self.mistake: Exception | None = None

    async def send(self, message: Any) -> None:
        """ASGI `send()` that never fails: the queue in front of it must not come to a stop."""
        if self.failure is None:
            try:
                await self._send(message)
            except Exception as error:
                self.failure = error

    def read(self) -> tuple[bytes, bool]:
        """In the thread: wait for a piece of the body; also returns whether there is more."""
        message = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
        if message["type"] != "http.request":
            raise ClientDisconnected("the client has disconnected in its request body")
        return message.get("body", b""), message.get("more_body", False)

    async def _next(self) -> Any:
        return await self.receive()


_current: ContextVar[_Request] = ContextVar("aserver.wsgi.request")


class _Response:
    """What PEP 3333 says of `start_response`; the head goes out with the first piece.

    Attributes:
        left: How many bytes may come, once the head has gone; None: any number.
    """

    __slots__ = ("_head", "_request", "_start_response", "_write", "left")

    def __init__(self, request: _Request, start_response: Callable[..., Any]) -> None:
        self._request = request
        self._start_response = start_response
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._write: Callable[[bytes], object] | None = None
        self.left: int | None = None

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """What the application calls."""
        if exc_info is not None:
            if self._write is not None:  # too late: what has begun must not look complete
                raise exc_info[1].with_traceback(exc_info[2])
        elif self._head is not None:
            raise AppError("start_response was called twice, the second time without exc_info")
        self._head = status, headers
        return self.write

    def begin(self) -> Callable[[bytes], object]:
        """Let the head go, if it is still here."""
        if self._write is None:
            if self._head is None:
                raise AppError("the application did not call start_response")
            self.left = _content_length(self._head[1])
            self._write = self._start_response(*self._head)
        return self._write

    def fit(self, data: bytes) -> bytes:
        """As much as there may be of it behind what there was."""
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        return data

    def write(self, data: bytes) -> None:
        """The old way to send, which PEP 3333 keeps."""
        if self._request.failure is not None:
            raise ClientDisconnected("the client has disconnected")
        write = self.begin()
        write(fitting := self.fit(data))
        if len(fitting) < len(data):
            raise _too_long()


class _Pieces:
    """What an application has returned, until it is closed."""

    __slots__ = ("_pieces", "_request", "_response")

    def __init__(self, pieces: Iterable[bytes], request: _Request, response: _Response) -> None:
        self._pieces = pieces
        self._request = request
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        response = self._response
        is_file = isinstance(self._pieces, FileWrapper)
        for piece in self._pieces:
            if self._request.failure is not None:
                return
            if not piece:  # until one, a call with exc_info may change the head (PEP 3333)
                continue
            response.begin()
            if fitting := response.fit(piece):
                yield fitting
            if is_file and response.left == 0:
                return  # its length may say which part of it is meant
            if len(fitting) < len(piece):
                self._request.mistake = _too_long()
                return
        response.begin()

    def close(self) -> None:
        """From a2wsgi, behind everything: what is wrong with it is not the client's matter."""
        if close := getattr(self._pieces, "close", None):
            try:
                close()
            except Exception as error:
                self._request.mistake = error


def _too_long() -> AppError:
    return AppError("the response is longer than its content-length, and was cut there")


def _content_length(headers: list[tuple[str, str]]) -> int | None:
    for name, value in headers:
        digits = value.strip()
        if name.strip().lower() == "content-length" and digits.isascii() and digits.isdigit():
            return int(digits)
    return None
