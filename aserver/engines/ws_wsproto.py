"""The reference frame engine: wsproto's `Connection`, and nothing of its handshake."""

from typing import Any

from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Ping,
    TextMessage,
)
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from ..types import WebSocketError
from .ws import NO_STATUS, size_of
from .ws_deflate import Deflate, Deflater, Inflater
from .ws_frames import FrameReceiver

# Bytes at a time: of tiny frames, a tenth of a second's; a message of 64 KiB is not cut. What is
# compressed becomes a thousand times as much at most, and wsproto copies that several times.
_UNCOMPRESSED = 2**16 + 2**10
_COMPRESSED = 2**12

# What wsproto finds wrong, by how it begins to say so.
_MISTAKES = {
    "8-byte": "a frame's length has its highest bit set",
    "CLOSE with 1 byte": "a close frame has half of a code",
    "CLOSE with": "a close frame has a code that is none",
    "Control frame with": "a control frame has more than 125 bytes",
    "Invalid attempt": "a control frame is a fragment",
    "Invalid opcode": "a frame has an opcode that is none",
    "Payload length": "a frame's length is not in its shortest form",
    "Reserved bit": "a frame has a reserved bit set",
    "expected CONT": "a message begins before the one before it has ended",
    "remote CLOSE": "a close frame has a code that must not be sent",
    "server received": "a frame is not masked",
    "unexpected CONT": "a fragment is of no message",
}
_FIRST_BIT = RsvBits(True, False, False)
_CONTROL = {Opcode.CLOSE, Opcode.PING, Opcode.PONG}


class WsprotoFrames:
    """Frames of one WebSocket.

    Args:
        deflate: The compression agreed on.
        most: Bytes that a message may inflate to.
    """

    __slots__ = ("_compression", "_connection", "_is_over", "step")

    def __init__(self, deflate: Deflate | None, most: float) -> None:
        self._compression = None if deflate is None else _PerMessageDeflate(deflate, most)
        extensions: list[Extension] = [self._compression] if self._compression else []
        self._connection = Connection(SERVER, extensions)
        self._is_over = False  # whether the peer's close frame has come
        self.step = _UNCOMPRESSED if deflate is None else _COMPRESSED

    def feed(self, data: bytes, receiver: FrameReceiver) -> None:
        """Take bytes from the peer; see `aserver.seams.Frames`."""
        if self._is_over:
            return
        self._connection.receive_data(data)
        event: Any  # isinstance() would tell the kind of it, too, in five times the time
        for event in self._connection.events():
            kind = type(event)
            if kind is TextMessage or kind is BytesMessage:
                receiver.on_data(
                    event.data,
                    size_of(event.data),
                    ends_frame=event.frame_finished,
                    ends_message=event.message_finished,
                )
            elif kind is Ping:
                receiver.on_ping(bytes(event.payload))
            elif kind is CloseConnection:
                self._on_close(event, receiver)

    def _on_close(self, event: CloseConnection, receiver: FrameReceiver) -> None:
        """A close frame; or wsproto's word for a broken one of any kind."""
        state = self._connection.state
        if state is ConnectionState.OPEN or state is ConnectionState.LOCAL_CLOSING:
            raise WebSocketError(int(event.code), _in_our_words(event))
        self._is_over = True
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
        # By hand: wsproto has none behind our close frame, where section 5.5.2 still asks for it.
        return b"\x8a%c%b" % (len(payload), payload)

    def close(self, code: int, reason: str) -> bytes:
        """A close frame."""
        if code == NO_STATUS:
            return self._connection.send(CloseConnection(CloseReason.NO_STATUS_RCVD))
        return self._connection.send(CloseConnection(code, reason))

    def lost(self) -> None:
        """It is over."""
        # The windows are large, and wsproto's objects are left to the garbage collector.
        if self._compression is not None:
            self._compression.forget()
            self._compression = None


def _in_our_words(event: CloseConnection) -> str:
    if event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
        return "a text is not UTF-8"
    reason = event.reason or ""
    return next(
        (ours for theirs, ours in _MISTAKES.items() if reason.startswith(theirs)),
        "a frame breaks the protocol",
    )


class _PerMessageDeflate(Extension):
    """wsproto's own does not bound what a message inflates to, nor its windows' memory."""

    name = "permessage-deflate"

    def __init__(self, deflate: Deflate, most: float) -> None:
        self._inflater = Inflater(deflate, most)
        self._deflater = Deflater(deflate)
        self._compressed = False  # the message that is arriving
        self._control = False  # the frame that is

    def forget(self) -> None:
        """Let go of the windows."""
        del self._inflater, self._deflater

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
        return _FIRST_BIT

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
        return (rsv, data) if compressed is None else (_FIRST_BIT, compressed)
