"""An HTTP/2 client that looks closely: the h2 library over a socket."""

import socket
import ssl
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from tests.processes import DEADLINE

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
CONTINUATION, PRIORITY_UPDATE = 0x9, 0x10
END_HEADERS = 0x4
_HEAD = 9  # bytes of a frame (RFC 9113 section 4.1)

Fields = list[tuple[str, str]]


@dataclass
class H2Answer:
    """What has come of a response."""

    status: int = 0
    fields: Fields = field(default_factory=list)
    hints: list[Fields] = field(default_factory=list)  # the interim responses
    body: bytearray = field(default_factory=bytearray)
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    reset: int | None = None  # by this error code

    def all(self, name: str) -> list[str]:
        """The values of a field."""
        return [value for key, value in self.fields if key == name]

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self.ended or self.reset is not None


class H2Client:
    """A connection. It is closed at the end of its block.

    GOAWAY frames are kept from the library, which takes the first one for the end of everything.

    Args:
        sock: Connected, with the handshake of TLS behind it.
        window: The first window of each stream that we open.
        settings: Others of ours.

    Attributes:
        takes: Whether what comes is taken at once, so that the server may send more.
        answers: By stream.
        order: Of every DATA frame the stream, and of how many bytes.
        goaways: The last stream and the error code of each.
        has_settings: Whether the server has said what it allows.
        is_closed: Whether the server has closed the connection.
    """

    def __init__(
        self, sock: socket.socket, window: int = 65_535, settings: dict[int, int] | None = None
    ) -> None:
        self.sock = sock
        self.scheme = "https" if isinstance(sock, ssl.SSLSocket) else "http"
        self.takes = True
        self.answers: defaultdict[int, H2Answer] = defaultdict(H2Answer)
        self.order: list[tuple[int, int]] = []
        self.goaways: list[tuple[int, int]] = []
        self.has_settings = False
        self.is_closed = False
        self._held = b""
        self.connection = H2Connection(H2Configuration(header_encoding=None))
        told: dict[int, int] = {SettingCodes.ENABLE_PUSH: 0, **(settings or {})}
        told[SettingCodes.INITIAL_WINDOW_SIZE] = window
        self.connection.local_settings = Settings(client=True, initial_values=told)  # type: ignore[arg-type]
        self.connection.initiate_connection()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.sock.close()

    # Sending

    def flush(self) -> None:
        """Send what the library has."""
        self.sock.sendall(self.connection.data_to_send())

    def raw(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Send a frame that the library does not know."""
        self.flush()
        self.sock.sendall(frame(kind, flags, stream, payload))

    def open(
        self, path: str, *fields: tuple[str, str], method: str = "GET", ends: bool = True
    ) -> int:
        """Send a request's head; returns its stream."""
        stream = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", self.scheme), (":path", path)]
        self.connection.send_headers(stream, [*pseudo, (":authority", "test"), *fields], ends)
        self.flush()
        return stream

    def room(self, stream: int) -> int:
        """How much of a body may be sent by now, in one frame."""
        window = self.connection.local_flow_control_window(stream)
        return min(window, self.connection.max_outbound_frame_size)

    def upload(self, stream: int, data: bytes, *, ends: bool = True) -> None:
        """Send a body, waiting for room; until the server wants no more of it."""
        rest = memoryview(data)
        while rest and not self.answers[stream].is_over:
            if (room := self.room(stream)) > 0:
                self.connection.send_data(stream, rest[:room].tobytes())
                rest = rest[room:]
                self.flush()
            else:
                self.read()
        if ends and not self.answers[stream].is_over:
            self.connection.end_stream(stream)
            self.flush()

    def upload_as_much_as_goes(self, stream: int) -> int:
        """Fill the window; returns how many bytes that were."""
        sent = 0
        while (room := self.room(stream)) > 0:
            self.connection.send_data(stream, bytes(room))
            sent += room
        self.flush()
        return sent

    def reset(self, stream: int) -> None:
        """Leave a stream."""
        self.connection.reset_stream(stream, 8)  # CANCEL
        self.flush()

    def take(self, stream: int, size: int) -> None:
        """Let the server send so much again."""
        self.connection.acknowledge_received_data(size, stream)
        self.flush()

    # Receiving

    def read(self) -> None:
        """Take what comes next."""
        data = self.sock.recv(1 << 18)
        self.is_closed = not data
        whole, self._held = frames_of(self._held + data)
        for each in whole:
            self._take(each)
        self.flush()

    def _take(self, whole: bytes) -> None:
        stream = int.from_bytes(whole[5:_HEAD], "big")
        if whole[3] == GOAWAY:
            last, code = (int.from_bytes(whole[at : at + 4], "big") for at in (_HEAD, _HEAD + 4))
            self.goaways.append((last, code))
            return
        if whole[3] == DATA:
            self.order.append((stream, len(whole) - _HEAD))
        for event in self.connection.receive_data(whole):
            self._note(event)

    def _note(self, event: events.Event) -> None:
        match event:
            case events.RemoteSettingsChanged():
                self.has_settings = True
            case events.InformationalResponseReceived():
                self.answers[event.stream_id].hints.append(_text(event.headers))
            case events.ResponseReceived():
                answer = self.answers[event.stream_id]
                (_, status), *answer.fields = _text(event.headers)
                answer.status = int(status)
            case events.DataReceived():
                self.answers[event.stream_id].body += event.data
                if self.takes:
                    size = event.flow_controlled_length
                    self.connection.acknowledge_received_data(size, event.stream_id)
            case events.TrailersReceived():
                self.answers[event.stream_id].trailers = _text(event.headers)
            case events.StreamEnded():
                self.answers[event.stream_id].ended = True
            case events.StreamReset():
                self.answers[event.stream_id].reset = int(event.error_code)

    def read_settings(self) -> None:
        """Wait until it is known what the server allows."""
        while not self.has_settings:
            self.read()

    def answer(self, stream: int) -> H2Answer:
        """Wait for the end of a response."""
        answer = self.answers[stream]
        while not answer.is_over:
            assert not self.is_closed, (self.goaways, answer)
            self.read()
        return answer

    def get(self, path: str, *fields: tuple[str, str]) -> H2Answer:
        """A request, and its response."""
        return self.answer(self.open(path, *fields))

    def read_head(self, stream: int) -> H2Answer:
        """Wait for the head of a response."""
        answer = self.answers[stream]
        while not answer.status and not answer.is_over:
            self.read()
        return answer

    def read_body(self, stream: int, size: int) -> bytes:
        """Wait for so much of a body, and cut it off what has come."""
        body = self.answers[stream].body
        while len(body) < size:
            self.read()
        piece = bytes(body[:size])
        del body[:size]
        return piece

    def read_until_closed(self) -> None:
        """Take everything until the server has closed the connection."""
        while not self.is_closed:
            self.read()


def connect(
    address: tuple[str, int],
    trusted: ssl.SSLContext | None = None,
    *,
    window: int = 65_535,
    settings: dict[int, int] | None = None,
) -> H2Client:
    """A connection; with `trusted` over TLS, where HTTP/2 has been agreed on."""
    sock = socket.create_connection(address, DEADLINE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if trusted is not None:
        sock = trusted.wrap_socket(sock, server_hostname=address[0])
        assert isinstance(sock, ssl.SSLSocket)
        assert sock.selected_alpn_protocol() == "h2"
    return H2Client(sock, window, settings)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Any frame at all."""
    return b"%b%c%c%b%b" % (
        len(payload).to_bytes(3, "big"),
        kind,
        flags,
        stream.to_bytes(4, "big"),
        payload,
    )


def frames_of(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut frames; returns those that are whole, and the rest."""
    whole = []
    at = 0
    while len(data) - at >= _HEAD:
        end = at + _HEAD + int.from_bytes(data[at : at + 3], "big")
        if end > len(data):
            break
        whole.append(data[at:end])
        at = end
    return whole, data[at:]


def _text(fields: object) -> Fields:
    assert isinstance(fields, list)
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
