"""The reference frame engine: wsproto's `Connection`, and nothing of its handshake."""

from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    TextMessage,
)
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from ..seams import FrameReceiver
from ..types import WebSocketError
from .ws import NO_STATUS, size_of
from .ws_deflate import Deflate, Deflater, Inflater

# With compression, wsproto copies what a read inflates to, several times. What it inflates to is a
# thousand times as much at most.
_SLICE = 8192

_COMPRESSED = RsvBits(True, False, False)
_CONTROL = {Opcode.CLOSE, Opcode.PING, Opcode.PONG}


class WsprotoFrames:
    """Frames of one WebSocket.

    Args:
        deflate: The compression agreed on.
        most: Bytes that a message may inflate to.
    """

    __slots__ = ("_connection", "_slice")

    def __init__(self, deflate: Deflate | None, most: float) -> None:
        extensions: list[Extension] = [] if deflate is None else [_PerMessageDeflate(deflate, most)]
        self._connection = Connection(SERVER, extensions)
        self._slice = _SLICE if extensions else 0

    def feed(self, data: bytes, receiver: FrameReceiver) -> None:
        """Take bytes from the peer; see `aserver.seams.Frames`."""
        if self._slice and len(data) > self._slice:
            for start in range(0, len(data), self._slice):
                self._feed(data[start : start + self._slice], receiver)
        else:
            self._feed(data, receiver)

    def _feed(self, data: bytes, receiver: FrameReceiver) -> None:
        connection = self._connection
        if connection.state not in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            return  # behind a close frame
        connection.receive_data(data)
        for event in connection.events():
            kind = type(event)
            if kind is TextMessage or kind is BytesMessage:
                assert isinstance(event, TextMessage | BytesMessage)
                assert not isinstance(event.data, bytearray)
                receiver.on_data(
                    event.data,
                    size_of(event.data),
                    ends_frame=event.frame_finished,
                    ends_message=event.message_finished,
                )
            elif kind is Ping:
                assert isinstance(event, Ping)
                receiver.on_ping(bytes(event.payload))
            elif kind is CloseConnection:
                assert isinstance(event, CloseConnection)
                self._on_close(event, receiver)

    def _on_close(self, event: CloseConnection, receiver: FrameReceiver) -> None:
        """A close frame; or wsproto's word for a broken one of any kind."""
        state = self._connection.state
        if state is ConnectionState.OPEN or state is ConnectionState.LOCAL_CLOSING:
            raise WebSocketError(int(event.code), event.reason or "")
        receiver.on_close(int(event.code), event.reason or "")

    def message(self, data: str | bytes) -> bytes:
        """A whole message."""
        if isinstance(data, str):
            return self._connection.send(TextMessage(data))
        return self._connection.send(BytesMessage(data))

    def ping(self, payload: bytes) -> bytes:
        """A ping frame."""
        return self._connection.send(Ping(payload))

    def pong(self, payload: bytes) -> bytes:
        """A pong frame."""
        return self._connection.send(Pong(payload))

    def close(self, code: int, reason: str) -> bytes:
        """A close frame."""
        if code == NO_STATUS:
            return self._connection.send(CloseConnection(CloseReason.NO_STATUS_RCVD))
        return self._connection.send(CloseConnection(code, reason))


class _PerMessageDeflate(Extension):
    """wsproto's own does not bound what a message inflates to, nor its windows' memory."""

    name = "permessage-deflate"

    def __init__(self, deflate: Deflate, most: float) -> None:
        self._inflater = Inflater(deflate, most)
        self._deflater = Deflater(deflate)
        self._compressed = False  # the message that is arriving
        self._control = False  # the frame that is

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,
    ) -> RsvBits:
        self._control = opcode in _CONTROL
        if rsv.rsv1 and (self._control or opcode is Opcode.CONTINUATION):
            raise WebSocketError(1002, "only a message's first frame says that it is compressed")
        if not self._control and opcode is not Opcode.CONTINUATION:
            self._compressed = rsv.rsv1
        return _COMPRESSED

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        if self._compressed and not self._control:
            return self._inflater.inflate(data)
        return data

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | None:
        if not fin or self._control or not self._compressed:
            return None
        self._compressed = False
        return self._inflater.finish()

    def frame_outbound(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        compressed = None if opcode in _CONTROL else self._deflater.deflate(data)
        return (rsv, data) if compressed is None else (_COMPRESSED, compressed)
