"""The library's wire, and a client of the same library at its other end."""

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from hpack import Encoder
from hyperframe.frame import Frame as LibraryFrame

from aserver.engines.h2_frames import END_HEADERS, END_STREAM, FrameReader
from aserver.engines.h2_library import H2Library
from aserver.engines.h2_wire import WireSettings
from aserver.types import Field, Headers
from tests.engines.h2_requests import head

TOLD = WireSettings(
    max_streams=100,
    stream_window=65_536,
    connection_window=1_000_000,
    header_list=10_000,
    has_websockets=True,
)
WHOLE = END_HEADERS | END_STREAM


class Heard:
    """What the wire says, as tuples."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_head(self, number: int, fields: Headers, *, ended: bool) -> None:
        self.calls.append(("head", number, [(*field,) for field in fields], ended))

    def on_trailers(self, number: int, fields: Headers) -> None:
        self.calls.append(("trailers", number, [(*field,) for field in fields]))

    def on_data(self, number: int, data: bytes, size: int, *, ended: bool) -> None:
        self.calls.append(("data", number, data, size, ended))

    def on_reset(self, number: int, *, by_peer: bool) -> None:
        self.calls.append(("reset", number, by_peer))

    def on_room(self, number: int) -> None:
        self.calls.append(("room", number))

    def on_pong(self, payload: bytes) -> None:
        self.calls.append(("pong", payload))


class Pair:
    """The wire, and a client at its other end that says what it is told to, right or wrong."""

    def __init__(self, told: WireSettings = TOLD, *, is_read: bool = True) -> None:
        config = H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.client = H2Connection(config)
        self.client.initiate_connection()
        self.wire = H2Library(told)
        self._heard = Heard()
        self._reader = FrameReader()
        self._encoder = Encoder()
        if is_read:
            self.receive()
        self.send()
        self.receive()
        assert self.heard[0] == ("room", 0), "its settings"

    @property
    def heard(self) -> list[tuple[Any, ...]]:
        """What the wire said since this was last asked."""
        calls, self._heard.calls = self._heard.calls, []
        return calls

    def send(self, *frames: bytes) -> None:
        """From the client: what it has to say, then these frames."""
        data = self.client.data_to_send() + b"".join(frames)
        for each in self._reader.feed(data):
            self.wire.feed(each, self._heard)

    def receive(self) -> list[Event]:
        """To the client."""
        return self.client.receive_data(self.wire.take())

    def sent(self) -> list[LibraryFrame]:
        """To nobody: the frames that the client would get."""
        return parsed(self.wire.take())

    def block(self, *fields: Field) -> bytes:
        """A header block that neither reads nor writes the table of the client."""
        return self._encoder.encode([(*field, True) for field in head(*fields)])

    def request(self, stream: int = 1, *fields: Field, ended: bool = True) -> None:
        """From the client: a request."""
        self.client.send_headers(stream, head(*fields), end_stream=ended)
        self.send()


def parsed(data: bytes) -> list[LibraryFrame]:
    """Frames as the library reads them."""
    found = []
    while data:
        each, size = LibraryFrame.parse_frame_header(memoryview(data[:9]))
        each.parse_body(memoryview(data[9 : 9 + size]))
        found.append(each)
        data = data[9 + size :]
    return found


def opened(*, ended: bool = False, told: WireSettings = TOLD) -> Pair:
    """A pair with a request on stream 1, of which the wire has said so."""
    pair = Pair(told)
    pair.request(ended=ended)
    assert pair.heard == [("head", 1, head(), ended)]
    return pair
