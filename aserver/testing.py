"""A real server in a test.

    from aserver.testing import serve

    with serve(app) as server:                # in a thread of its own
        httpx.get(server.url)

    async with serve(app) as server:          # in the running event loop
        await client.get(server.url)

It listens on a free port of 127.0.0.1, runs the application's lifespan, and writes no access log.
Servers are independent: as many as wanted, one after another or at once. With pytest there is the
fixture `aserver`, see `aserver.pytest_plugin`.

`ServerProcess`, see `aserver.server_process`, is a server in a process of its own; `DaphneProcess`
is the same, for those who come from `daphne.testing`.
"""

import threading
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from .config import Config
from .event_loops import close_loop, prepared_loop, run_to_end
from .server import Server
from .types import ASGIApplication

__all__ = ["DaphneProcess", "ServerProcess", "serve"]  # noqa: F822, two are in __getattr__

_DEFAULTS: dict[str, Any] = {"graceful_timeout": 3.0, "access_log": ""}
_JOIN_SECONDS = 30.0
# Options that say where to listen.
_ADDRESSES = {"bind", "port", "unix_socket", "fd", "endpoint", "proxy_protocol_bind"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .server_process import ServerProcess  # which takes multiprocessing

    return ServerProcess


class serve:
    """Serve an application for the length of a `with` or `async with` block.

    Args:
        app: The application, or its import string.
        options: Any option of `aserver.Config.of`; without an address, a free port of 127.0.0.1.

    Attributes:
        server: The `aserver.Server`.

    Raises:
        ServerError, ConfigError: From entering the block, as `Server.start` does.
        TimeoutError: From leaving it: the server's thread does not end.
    """

    def __init__(self, app: ASGIApplication | str, **options: Any) -> None:
        if not options.keys() & _ADDRESSES:
            options["port"] = 0
        self.server = Server(app, Config.of(**(_DEFAULTS | options)))
        self._url = ""
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """The first listener's URL, without a slash at the end; or `unix:PATH`."""
        return self._url

    @property
    def host(self) -> str:
        """The host of the URL, without the brackets of an IPv6 address; empty for a unix socket."""
        return urlsplit(self._url).hostname or ""

    @property
    def port(self) -> int:
        """The port of the URL; 0 for a unix socket."""
        return urlsplit(self._url).port or 0

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._url, self._failure = "", None  # of the last time
        self._thread = threading.Thread(
            target=self._serve, args=(ready,), name="aserver-testing", daemon=True
        )
        self._thread.start()
        ready.wait()
        if not self._url:
            self._join()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.request_stop()
        self._join()

    def _join(self) -> None:
        """Wait for the end of the thread, and raise what ended it."""
        assert self._thread is not None
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"the server's thread did not end in {_JOIN_SECONDS:g} seconds")
        if self._failure is not None:
            raise self._failure

    def _serve(self, ready: threading.Event) -> None:
        """The thread: a loop of its own, from start to stop."""
        try:
            loop = prepared_loop(self.server.config)
            try:
                run_to_end(loop, self._start_and_wait(ready))
            finally:
                close_loop(loop)
        except BaseException as error:
            self._failure = error
        finally:
            ready.set()

    async def _start_and_wait(self, ready: threading.Event) -> None:
        await self.server.start()
        self._url = self.server.url
        ready.set()
        await self.server.wait_for_stop_request()
        await self.server.stop()

    async def __aenter__(self) -> Self:
        await self.server.start()
        self._url = self.server.url
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.server.stop()
