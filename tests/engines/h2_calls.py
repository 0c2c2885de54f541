"""What is behind an HTTP/2 engine: calls of the application, and the connection that makes them."""

from collections.abc import Callable

from aserver.engines.fields import response_head
from aserver.engines.h2_library import H2Library
from aserver.engines.h2_wire import WireSettings
from aserver.seams import Channel, Tunnel
from aserver.types import Field, ProtocolError, Request
from tests.fakes import FakeCycle, FakeSink


class CountingWire(H2Library):
    """The library, and how much it was told to let the client send."""

    def __init__(self, settings: WireSettings) -> None:
        super().__init__(settings)
        self.credited = 0

    def credit(self, number: int, size: int) -> None:
        assert size > 0
        self.credited += size
        super().credit(number, size)


class Call(FakeCycle):
    """A cycle, with its way back to the client. Nobody may call it when it was told of its loss."""

    def __init__(
        self, request: Request, channel: Channel, eager: Callable[["Call"], object] | None
    ) -> None:
        super().__init__(request, None)
        self.channel = channel
        self.tunnel: Tunnel | None = None
        self._acts = eager

    def start(self) -> None:
        self._check()
        super().start()
        if self._acts is not None:
            self._acts(self)

    def feed(self, data: bytes) -> None:
        self._check()
        super().feed(data)

    def feed_eof(self) -> None:
        self._check()
        super().feed_eof()

    def lost(self) -> None:
        self._check()
        super().lost()

    def resume(self) -> None:
        self._check()
        super().resume()

    def hung_up(self) -> None:
        self._check()
        super().hung_up()

    def upgraded(self, tunnel: Tunnel) -> None:
        self._check()
        self.calls.append("upgraded")
        self.tunnel = tunnel

    def drain(self) -> None:
        self._check()
        self.calls.append("drain")

    def _check(self) -> None:
        assert not self.disconnected, "called behind lost()"

    def begin(
        self, body: bytes = b"", *fields: Field, status: int = 200, more: bool = True
    ) -> bool:
        """The application's head, and the first of its body, as a cycle passes them on."""
        head = response_head(status, fields, self.request.method)
        return self.channel.respond(head, b"" if head.bodyless else body, more)

    def go_on(self, body: bytes, *, more: bool = True) -> bool:
        """More of the body."""
        return self.channel.respond(None, body, more)

    def answer(self, body: bytes = b"", *fields: Field, status: int = 200) -> bool:
        """A whole response in one."""
        return self.begin(body, *fields, status=status, more=False)

    def take(self, size: int) -> None:
        """The application takes so much of the request's body."""
        self.channel.consumed(size)

    def accept(self, *fields: Field) -> Tunnel:
        """Become a tunnel."""
        head = response_head(200, fields, self.request.method)
        self.channel.upgrade(self, b"websocket", head)
        assert self.tunnel is not None
        return self.tunnel


class PeerSink(FakeSink):
    """A connection whose cycles know their streams, and which may have no room for more calls."""

    def __init__(self, make: type[Call], eager: Callable[[Call], object] | None) -> None:
        super().__init__()
        self._make = make
        self.made: list[Call] = []
        self.error: ProtocolError | None = None  # what requests are refused with
        self.full = False  # whether the client does not read what is written now
        self._acts = eager

    def write(self, data: bytes, /) -> None:
        super().write(data)
        self.write_paused = self.write_paused or self.full

    def on_request(self, channel: Channel, request: Request) -> Call:
        if self.error is not None:
            raise self.error
        call = self._make(request, channel, self._acts)
        self.made.append(call)
        return call
