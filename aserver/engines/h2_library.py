"""HTTP/2's frames by the `h2` library: the reference behind the seam of `aserver.engines.h2_wire`.

Of the library's checks, those of header fields are switched off: they end the connection for a
mistake in one request, and leave some mistakes alone. `aserver.engines.h2_heads` makes them.
"""

from collections.abc import Callable
from contextlib import suppress

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, H2Connection
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError as LibraryError
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream

from ..types import Headers
from .h2_frames import ACK, PREFACE, SETTINGS, Frame, H2Error
from .h2_wire import WireReceiver, WireSettings

# RFC 9218 section 2.1: the old tree of priorities is not read here.
_NO_RFC7540_PRIORITIES = 9
_DEFAULT_WINDOW = 65_535
_UNLIMITED = 2**31 - 1

# However much the peer would remember for us. Of its table, we would have to keep a copy.
_MAX_TABLE_SIZE = 4096
_HEADER_TABLE_SIZE = b"\0\1"
_KNOWN_SETTINGS = {1, 2, 3, 4, 5, 6, 8}
_SETTING_SIZE = 6
_MOST_WORDS = 200
# Larger frames cost less of a large body, but other streams have to wait for each.
_MAX_DATA_SIZE = 65_536


class _Connection(H2Connection):
    """The library's, with less memory: of each stream that is closed, it remembers how.

    And without its opinion on content-length, for which it would end the connection; who takes the
    frames compares lengths, and ends the stream (RFC 9113 section 8.1.1).
    """

    MAX_CLOSED_STREAMS = 1000

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream._initialize_content_length = _nothing  # type: ignore[method-assign]
        return stream


def _nothing(headers: object) -> None:
    """No length is expected."""


class H2Library:
    """The frames of one connection."""

    __slots__ = ("_connection", "_is_closed", "_table_size")

    def __init__(self, settings: WireSettings) -> None:
        config = H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._connection = connection = _Connection(config)
        self._is_closed = False
        self._table_size = _MAX_TABLE_SIZE  # as the peer has said last
        connection.local_settings = Settings(client=False, initial_values=_told(settings))
        connection.initiate_connection()
        # Too many streams are a mistake of the last one only, or of nobody as long as the peer has
        # not read our settings (RFC 9113 section 5.1.2). The library would end the connection.
        connection.local_settings = Settings(
            client=False, initial_values=_told(settings._replace(max_streams=_UNLIMITED))
        )
        connection.decoder.max_header_list_size = settings.header_list
        if settings.connection_window > _DEFAULT_WINDOW:
            connection.increment_flow_control_window(settings.connection_window - _DEFAULT_WINDOW)
        connection.receive_data(PREFACE)

    # From the peer

    def feed(self, frame: Frame, receiver: WireReceiver) -> None:
        """Take a frame."""
        data = self._amended(frame) if frame.kind == SETTINGS else frame.data
        try:
            events = self._connection.receive_data(data)
        except LibraryError as error:
            self._is_closed = True  # the library has said so to the peer
            raise H2Error(error.error_code, _first_line(error)) from None
        for event in events:
            take = _TAKERS.get(type(event))
            if take is not None:
                take(event, receiver)

    def _amended(self, frame: Frame) -> bytes:
        """A SETTINGS frame without what the library would keep for ever, or do too much for.

        Of settings that nobody knows it remembers each (section 6.5.2: ignore them). And it makes
        its table as large as the peer says, and says so, however often it was told.
        """
        payload, kept = frame.payload, b""
        if len(payload) % _SETTING_SIZE or frame.flags & ACK:
            return frame.data
        for start in range(0, len(payload), _SETTING_SIZE):
            setting = payload[start : start + _SETTING_SIZE]
            code, value = setting[:2], setting[2:]
            if code == _HEADER_TABLE_SIZE:
                size = min(int.from_bytes(value, "big"), _MAX_TABLE_SIZE)
                if size == self._table_size:
                    continue
                self._table_size = size
                setting = code + size.to_bytes(4, "big")
            if int.from_bytes(code, "big") in _KNOWN_SETTINGS:
                kept += setting
        return len(kept).to_bytes(3, "big") + frame.data[3:9] + kept

    # To the peer

    @property
    def frame_size(self) -> int:
        """The most bytes of DATA that one frame of ours should have."""
        return min(self._connection.max_outbound_frame_size, _MAX_DATA_SIZE)

    def head(self, number: int, fields: Headers, *, ends: bool) -> None:
        """Send a header section."""
        self._connection.send_headers(number, fields, end_stream=ends)

    def data(self, number: int, piece: bytes, *, ends: bool) -> None:
        """Send a piece of a body."""
        self._connection.send_data(number, piece, end_stream=ends)

    def room(self, number: int) -> int:
        """How many bytes of body the windows allow a stream to send."""
        return self._connection.local_flow_control_window(number)

    def has_window(self, number: int) -> bool:
        """Whether a stream's own window allows anything."""
        return self._connection.streams[number].outbound_flow_control_window > 0

    def credit(self, number: int, size: int) -> None:
        """So much that a stream had received has been taken."""
        if not self._is_closed:
            self._connection.acknowledge_received_data(size, number)

    def reset(self, number: int, code: int) -> None:
        """End a stream at once."""
        with suppress(StreamClosedError):
            self._connection.reset_stream(number, code)

    def close(self, code: int, reason: str) -> None:
        """Say that it is over, and why."""
        if not self._is_closed:
            self._is_closed = True
            self._connection.close_connection(code, reason.encode("utf-8"))

    def take(self) -> bytes:
        """What is to be written by now."""
        return self._connection.data_to_send()


def _told(settings: WireSettings) -> dict[SettingCodes, int]:
    return {
        SettingCodes.MAX_CONCURRENT_STREAMS: settings.max_streams,
        SettingCodes.INITIAL_WINDOW_SIZE: settings.stream_window,
        SettingCodes.MAX_HEADER_LIST_SIZE: settings.header_list,
        SettingCodes.ENABLE_CONNECT_PROTOCOL: int(settings.has_websockets),
        _NO_RFC7540_PRIORITIES: 1,  # type: ignore[dict-item]  # any number will do
    }


def _first_line(error: Exception) -> str:
    """What the library says, which may have much of the peer's own words in it."""
    return (str(error) or type(error).__name__).splitlines()[0][:_MOST_WORDS]


def _take_head(event: RequestReceived, receiver: WireReceiver) -> None:
    receiver.on_head(event.stream_id, event.headers, ended=event.stream_ended is not None)


def _take_trailers(event: TrailersReceived, receiver: WireReceiver) -> None:
    receiver.on_trailers(event.stream_id, event.headers)


def _take_data(event: DataReceived, receiver: WireReceiver) -> None:
    ended = event.stream_ended is not None
    receiver.on_data(event.stream_id, event.data, event.flow_controlled_length, ended=ended)


def _take_reset(event: StreamReset, receiver: WireReceiver) -> None:
    receiver.on_reset(event.stream_id, by_peer=event.remote_reset)


def _take_room(event: WindowUpdated, receiver: WireReceiver) -> None:
    receiver.on_room(event.stream_id)


def _take_settings(event: RemoteSettingsChanged, receiver: WireReceiver) -> None:
    receiver.on_room(0)  # the initial window may have changed


def _take_pong(event: PingAckReceived, receiver: WireReceiver) -> None:
    receiver.on_pong(event.ping_data)


_TAKERS: dict[type[Event], Callable[..., None]] = {
    RequestReceived: _take_head,
    TrailersReceived: _take_trailers,
    DataReceived: _take_data,
    StreamReset: _take_reset,
    WindowUpdated: _take_room,
    RemoteSettingsChanged: _take_settings,
    PingAckReceived: _take_pong,
}
