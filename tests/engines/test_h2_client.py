"""Conversations with the `h2` library's client, which fails at what it must not be sent."""

from dataclasses import dataclass, field

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines.h2_calls import Call
from tests.engines.h2_peer import STREAMS, Peer
from tests.fakes import LIMITS


@dataclass
class Answer:
    """What came of one request."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    interim: list[bytes] = field(default_factory=list)
    body: bytes = b""
    trailers: dict[bytes, bytes] | None = None
    ended: bool = False
    reset: int | None = None


class Client:
    """The library's, and a server's end whose bytes it takes."""

    def __init__(self, peer: Peer, window: int = 65_535) -> None:
        self.peer = peer
        self.answers: dict[int, Answer] = {}
        self.left: int | None = None  # the code of a GOAWAY
        config = H2Configuration(client_side=True, header_encoding=None)
        self.connection = H2Connection(config)
        self.connection.initiate_connection()
        self.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.exchange()

    def ask(self, method: str = "GET", body: bytes | None = None) -> int:
        """Begin a request; with a body, all of it that fits."""
        stream = self.connection.get_next_available_stream_id()
        self.answers[stream] = Answer()
        head = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", "/")]
        self.connection.send_headers(stream, head, end_stream=body is None)
        self.exchange()
        while body is not None:
            room = self.connection.local_flow_control_window(stream)
            assert room or not body, "no room for the body"
            piece, body = body[: min(room, 16_384)], body[min(room, 16_384) :]
            self.connection.send_data(stream, piece, end_stream=not body)
            self.exchange()
            if not body:
                break
        return stream

    def exchange(self) -> None:
        """Bytes, both ways, until there are no more."""
        while True:
            self.peer.turn()
            written, self.peer.sink.written = self.peer.sink.written, b""
            for event in self.connection.receive_data(written):
                self._take(event)
            sent = self.connection.data_to_send()
            if not sent and not written:
                return
            self.peer.sink.now += 1
            if sent:
                self.peer.feed(sent)

    def _take(self, event: object) -> None:
        if isinstance(event, ConnectionTerminated):
            self.left = int(event.error_code or 0)
            return
        stream = getattr(event, "stream_id", None)
        answer = self.answers.get(stream or 0, Answer())
        if isinstance(event, InformationalResponseReceived):
            answer.interim.append(dict(event.headers)[b":status"])
        elif isinstance(event, ResponseReceived):
            answer.fields = dict(event.headers)
        elif isinstance(event, DataReceived):
            answer.body += event.data
            size = event.flow_controlled_length
            self.connection.acknowledge_received_data(size, event.stream_id)
        elif isinstance(event, TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.reset = int(event.error_code or 0)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_a_response(method: str) -> None:
    peer = Peer(hello=False, eager=lambda call: call.answer(b"hello"))
    client = Client(peer)
    answer = client.answers[client.ask(method)]
    assert answer.fields[b":status"] == b"200"
    assert answer.body == (b"" if method == "HEAD" else b"hello")
    assert answer.ended
    peer.assert_nothing_is_left()


def test_interim_responses_and_trailers() -> None:
    peer = Peer(hello=False)
    client = Client(peer)
    stream = client.ask()
    call = peer.made[0]
    call.channel.inform(103, [(b"link", b"</style.css>")])
    call.begin(b"body")
    call.channel.trailers([(b"x-sum", b"1")])
    client.exchange()
    answer = client.answers[stream]
    assert (answer.interim, answer.body, answer.ended) == ([b"103"], b"body", True)
    assert answer.trailers == {b"x-sum": b"1"}


def test_a_large_upload() -> None:
    class Taking(Call):
        def feed(self, data: bytes) -> None:
            super().feed(data)
            self.take(len(data))

        def feed_eof(self) -> None:
            super().feed_eof()
            self.answer(b"%d" % len(self.body))

    peer = Peer(hello=False, make=Taking)
    client = Client(peer)
    stream = client.ask("POST", bytes(1_000_000))
    assert client.answers[stream].body == b"1000000"
    peer.assert_nothing_is_left()


@settings(max_examples=100)
@given(
    st.integers(0, 100_000),
    st.lists(
        st.tuples(st.none() | st.integers(0, 60_000), st.integers(0, 300_000), st.booleans()),
        min_size=1,
        max_size=6,
    ),
)
def test_requests_at_the_same_time(
    window: int, requests: list[tuple[int | None, int, bool]]
) -> None:
    """With a window of any size, in one piece or in two."""
    peer = Peer(STREAMS, LIMITS, hello=False)
    client = Client(peer, max(window, 300))
    streams = [
        client.ask("GET" if size is None else "POST", None if size is None else bytes(size))
        for size, _, _ in requests
    ]
    for call, (size, length, in_parts) in zip(peer.made, requests, strict=True):
        assert len(call.body) == (size or 0)
        if call.body:
            call.take(len(call.body))
        if in_parts:
            call.begin(bytes(length // 2))
            call.go_on(bytes(length - length // 2), more=False)
        else:
            call.answer(bytes(length))
    client.exchange()
    for stream, (_, length, _) in zip(streams, requests, strict=True):
        answer = client.answers[stream]
        assert (len(answer.body), answer.ended, answer.reset) == (length, True, None)
    assert client.left is None
    peer.assert_nothing_is_left()
