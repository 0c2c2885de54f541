"""WebSockets over HTTP/2 (RFC 8441) as a client has them: wsproto's frames in a stream."""

from collections.abc import Iterator

from wsproto import ConnectionType
from wsproto import events as frames
from wsproto.connection import Connection as Frames
from wsproto.extensions import PerMessageDeflate

from tests.h2_clients import H2Answer, H2Client


class Refused(Exception):
    """There is no WebSocket, but this answer."""

    def __init__(self, answer: H2Answer) -> None:
        super().__init__(answer)
        self.answer = answer


class H2WebSocket:
    """An open WebSocket; wsproto checks what it gets.

    Raises:
        Refused: From making one.
    """

    def __init__(
        self, client: H2Client, path: str, *fields: tuple[str, str], deflate: bool = False
    ):
        self.client = client
        packing = PerMessageDeflate()
        asked = [("sec-websocket-version", "13"), *fields]
        if deflate:
            asked.append(("sec-websocket-extensions", f"permessage-deflate; {packing.offer()}"))
        self.stream = client.open(
            path, (":protocol", "websocket"), *asked, method="CONNECT", ends=False
        )
        self.answer = client.read_head(self.stream)
        if self.answer.status != 200:
            raise Refused(client.answer(self.stream))
        agreed = self.answer.all("sec-websocket-extensions")
        assert bool(agreed) == deflate
        for each in agreed:
            packing.finalize(each)
        self._frames = Frames(ConnectionType.CLIENT, [packing] if deflate else [])
        self._events = self._received()

    def send(self, *what: frames.Event) -> None:
        """Send events, in one piece."""
        self.send_raw(b"".join(map(self._frames.send, what)))

    def send_raw(self, data: bytes) -> None:
        """Send bytes."""
        self.client.upload(self.stream, data, ends=False)

    def text(self, data: str) -> None:
        """Send a message."""
        self.send(frames.TextMessage(data))

    def _received(self) -> Iterator[frames.Event]:
        body = self.answer.body
        while True:
            yield from self._frames.events()
            while not body:
                if self.answer.is_over:
                    return
                self.client.read()
            self._frames.receive_data(bytes(body))
            body.clear()

    def next(self) -> frames.Event | None:
        """What comes next; None: the stream has ended."""
        return next(self._events, None)

    def message(self) -> str | bytes:
        """The next message, whole."""
        text: list[str] = []
        data: list[bytes] = []
        while True:
            event = self.next()
            assert isinstance(event, frames.TextMessage | frames.BytesMessage), event
            if isinstance(event, frames.TextMessage):
                text.append(event.data)
            else:
                data.append(bytes(event.data))
            if event.message_finished:
                return b"".join(data) if data else "".join(text)

    def closed(self) -> tuple[int, str]:
        """The server's close frame, which comes next: code and reason."""
        event = self.next()
        assert isinstance(event, frames.CloseConnection), event
        return int(event.code), event.reason or ""

    def close(self, code: int = 1000) -> None:
        """Close from our side, up to the end of the stream."""
        self.send(frames.CloseConnection(code))
        assert self.closed()[0] == code
        assert self.next() is None
        assert self.answer.ended
