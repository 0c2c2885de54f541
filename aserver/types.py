"""The vocabulary of the project: ASGI's types, a request, and the errors.

Everything may import this module; it imports nothing of ours.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

Field = tuple[bytes, bytes]
Headers = list[Field]
Address = tuple[str, int | None]
HeaderPairs = Iterable[Sequence[bytes]]


class ProtocolError(Exception):
    """The peer broke the protocol or a limit.

    Args:
        status: The HTTP status that tells the peer what kind of mistake it was.
        reason: One sentence that a person understands, for the response body and the log.
        headers: What the answer says besides, as a redirect's `location`.
    """

    def __init__(self, status: int, reason: str, headers: Sequence[Field] = ()) -> None:
        super().__init__(status, reason)
        self.status = status
        self.headers = headers
        self.reason = reason


class WebSocketError(Exception):
    """The peer broke the WebSocket protocol or a limit.

    Args:
        code: The close code that tells the peer what kind of mistake it was (RFC 6455 section 7.4).
        reason: One sentence that a person understands, for the close frame and the log.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class AppError(ValueError):
    """The application sent a message that ASGI does not allow; raised out of its `send()`."""


class ClientDisconnected(OSError):
    """Raised by `send()` once the client is gone (ASGI HTTP & WebSocket 2.4, "Disconnected
    Client").

    An application may let it pass: the server catches it and does not log it as an error.
    """

    @classmethod
    def is_behind(cls, error: BaseException) -> bool:
        """Whether an exception is one of these, or comes from one, as frameworks' own may."""
        seen: set[int] = set()  # `raise error from error` is legal
        each: BaseException | None = error
        while each is not None and id(each) not in seen:
            if isinstance(each, cls):
                return True
            if isinstance(each, BaseExceptionGroup):
                return all(map(cls.is_behind, each.exceptions))
            seen.add(id(each))
            each = each.__cause__ or each.__context__
        return False


class ServerError(Exception):
    """The server cannot start or go on. `exit_code` is what the command line exits with."""

    exit_code = 1


class StoppedError(ServerError):
    """The server was asked to stop before it had started."""

    def __init__(self) -> None:
        super().__init__("asked to stop before it had started")


class Request:
    """A parsed and accepted request head, the same for every protocol version.

    `target` is a path with a query, or `*`, as received and ASCII (of an absolute URL, what follows
    its authority: RFC 9112 section 3.2.2). `headers` have lower-case names, in the order received.
    `content_length` is None for a body of unknown length; a request without a body has 0.
    `accepts_trailers` says that the client wants those of the response. `upgrade` are the
    protocols that it would rather speak than HTTP, in lower case, if it asks for that.
    """

    __slots__ = (
        "accepts_trailers",
        "content_length",
        "expects_continue",
        "headers",
        "http_version",
        "keep_alive",
        "method",
        "target",
        "upgrade",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        http_version: str,
        headers: Headers,
        content_length: int | None = 0,
        keep_alive: bool = True,
        expects_continue: bool = False,
        upgrade: tuple[bytes, ...] = (),
        accepts_trailers: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.http_version = http_version
        self.headers = headers
        self.content_length = content_length
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.upgrade = upgrade
        self.accepts_trailers = accepts_trailers

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r} HTTP/{self.http_version}>"
