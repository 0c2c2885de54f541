"""The frames of HTTP/2 by the `h2` library, with the same library as the other end."""

import pytest
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import (
    SettingsFrame,
    WindowUpdateFrame,
)

from aserver.engines.h2_frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    ping,
)
from aserver.engines.h2_library import H2Library
from aserver.types import Headers
from tests.engines.h2_bytes import frame, number
from tests.engines.h2_pair import TOLD, WHOLE, Pair, opened, parsed
from tests.engines.h2_requests import head

GATHERED = 65_535 // 2  # credit that may wait for more
OK = [(b":status", b"200")]


# The beginning


def test_settings() -> None:
    first, second = parsed(H2Library(TOLD).take())
    assert isinstance(first, SettingsFrame)
    assert {*first.flags} == set()
    assert first.settings == {
        SettingCodes.MAX_CONCURRENT_STREAMS: 100,
        SettingCodes.INITIAL_WINDOW_SIZE: 65_536,
        SettingCodes.MAX_HEADER_LIST_SIZE: 10_000,
        SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
        9: 1,  # RFC 9218 section 2.1: SETTINGS_NO_RFC7540_PRIORITIES
        # The defaults, and what nobody may ask a server for.
        SettingCodes.HEADER_TABLE_SIZE: 4096,
        SettingCodes.MAX_FRAME_SIZE: 16_384,
        SettingCodes.ENABLE_PUSH: 0,
    }
    assert isinstance(second, WindowUpdateFrame)
    assert (second.stream_id, second.window_increment) == (0, 1_000_000 - 65_535)


def test_settings_without_websockets() -> None:
    first = parsed(H2Library(TOLD._replace(has_websockets=False)).take())[0]
    assert isinstance(first, SettingsFrame)
    assert first.settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 0


@pytest.mark.parametrize("window", [1, 65_535])
def test_connection_window_has_a_least_size(window: int) -> None:
    """Section 6.9.2: it cannot be made smaller."""
    (first,) = parsed(H2Library(TOLD._replace(connection_window=window)).take())
    assert isinstance(first, SettingsFrame)


@pytest.mark.parametrize("window", [65_536, 2**31 - 1])
def test_largest_windows(window: int) -> None:
    told = TOLD._replace(stream_window=window, connection_window=window)
    pair = Pair(told)
    pair.request(ended=False)
    assert pair.client.local_flow_control_window(1) == window


def test_settings_are_acknowledged() -> None:
    pair = Pair(is_read=False)
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5})
    pair.send()
    assert ("room", 0) in pair.heard
    assert any(isinstance(event, SettingsAcknowledged) for event in pair.receive())


# From the peer


@pytest.mark.parametrize("ended", [False, True])
def test_head(ended: bool) -> None:
    fields = [(b"x", b"y"), (b"cookie", b"a"), (b"cookie", b"b"), (b"x", b""), (b"te", b"trailers")]
    pair = Pair()
    pair.request(1, *fields, ended=ended)
    assert pair.heard == [("head", 1, head(*fields), ended)]


@pytest.mark.parametrize(
    "fields",
    [
        head((b"X-Upper", b"a")),
        head((b"", b"a")),
        head((b"x y", b"a")),
        head((b"x", b" a ")),
        head((b"x", b"a\r\nb\0")),
        head((b"x", b"\xff\x80")),
        head((b"connection", b"close")),
        head((b"te", b"gzip")),
        head((b"host", b"b"), (b"host", b"c")),
        head((b":path", b"/")),
        head((b":status", b"200")),
        head((b"x", b"y"), (b":path", b"/late")),
        head(method=None),
        head(path=None, scheme=None, authority=None),
        head(path=b""),
        head(method=b"CONNECT"),
        head(method=b"CONNECT", protocol=b"websocket"),
        [(b"x", b"y")],
        [],
    ],
)
def test_heads_are_judged_by_others(fields: Headers) -> None:
    """Whatever is wrong with one is a mistake of one stream, and not of the connection."""
    pair = Pair()
    pair.send(frame(HEADERS, WHOLE, 1, Encoder().encode(fields)))
    assert pair.heard == [("head", 1, fields, True)]


@pytest.mark.parametrize(
    "lengths", [[b""], [b"x"], [b"+5"], [b"5, 5"], [b"-1"], [b"5", b"6"], [b"1" * 5000]]
)
@pytest.mark.parametrize("ended", [False, True])
def test_lengths_are_judged_by_others(lengths: list[bytes], ended: bool) -> None:
    """Section 8.1.1: such a request is malformed, which is an error of its stream."""
    fields = head(*((b"content-length", length) for length in lengths))
    pair = Pair()
    pair.send(frame(HEADERS, WHOLE if ended else END_HEADERS, 1, Encoder().encode(fields)))
    assert pair.heard == [("head", 1, fields, ended)]
    pair.send(frame(PING, payload=bytes(8)))


def test_data() -> None:
    pair = opened()
    pair.client.send_data(1, b"abc")
    pair.client.send_data(1, b"de", pad_length=10)
    pair.client.send_data(1, b"")
    pair.client.send_data(1, b"f", end_stream=True)
    pair.send()
    assert pair.heard == [
        ("data", 1, b"abc", 3, False),
        ("data", 1, b"de", 13, False),
        ("data", 1, b"", 0, False),
        ("data", 1, b"f", 1, True),
    ]


def test_end_without_data() -> None:
    pair = opened()
    pair.client.end_stream(1)
    pair.send()
    assert pair.heard == [("data", 1, b"", 0, True)]


def test_trailers() -> None:
    pair = opened()
    pair.client.send_data(1, b"abc")
    pair.client.send_headers(1, [(b"x", b"y"), (b"X\0", b"")], end_stream=True)
    pair.send()
    assert pair.heard == [
        ("data", 1, b"abc", 3, False),
        ("trailers", 1, [(b"x", b"y"), (b"X\0", b"")]),
    ]


@pytest.mark.parametrize("code", [0, 8, 0xFFFF_FFFF])
def test_reset(code: int) -> None:
    pair = opened()
    pair.send(frame(RST_STREAM, stream=1, payload=code.to_bytes(4, "big")))
    assert pair.heard == [("reset", 1, True)]
    pair.send(frame(RST_STREAM, stream=1, payload=code.to_bytes(4, "big")))
    assert pair.heard == [], "it was gone"


def test_room() -> None:
    pair = opened()
    pair.client.increment_flow_control_window(1)
    pair.client.increment_flow_control_window(1, 1)
    pair.send()
    assert pair.heard == [("room", 0), ("room", 1)]
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100_000})
    pair.send()
    assert pair.heard == [("room", 0)], "of all streams"


def test_pong() -> None:
    pair = Pair()
    pair.client.receive_data(ping(b"12345678"))
    pair.send()
    assert pair.heard == [("pong", b"12345678")]


def test_ping_is_answered() -> None:
    pair = Pair()
    pair.client.ping(b"12345678")
    pair.send()
    assert pair.heard == []
    (event,) = pair.receive()
    assert isinstance(event, PingAckReceived)
    assert event.ping_data == b"12345678"


@pytest.mark.parametrize(
    "each",
    [
        frame(PRIORITY, stream=3, payload=b"\0\0\0\0\x10"),
        frame(PRIORITY_UPDATE, payload=b"\0\0\0\x01u=1"),
        frame(0xBE, 0xFF, 1, b"anything"),
        frame(0x0A, stream=1, payload=b"\0\x01ab"),  # ALTSVC (RFC 7838)
        frame(SETTINGS, payload=b"\x0a\x0a\0\0\0\x01"),  # not known to anybody (section 6.5.2)
        frame(
            WINDOW_UPDATE, stream=2**31 + 1, payload=b"\0\0\0\x01"
        ),  # a reserved bit (section 4.1)
    ],
)
def test_frames_that_do_no_harm(each: bytes) -> None:
    pair = opened()
    pair.send(each)
    assert {call[0] for call in pair.heard} <= {"room"}
    pair.client.end_stream(1)
    pair.send()
    assert pair.heard == [("data", 1, b"", 0, True)]


def test_head_in_pieces() -> None:
    pair = Pair()
    block = pair.block((b"x", b"y" * 100))
    pair.send(frame(HEADERS, END_STREAM, 1, block[:5]))
    pair.send(frame(CONTINUATION, 0, 1, block[5:5]), frame(CONTINUATION, 0, 1, block[5:50]))
    assert pair.heard == []
    pair.send(frame(CONTINUATION, END_HEADERS, 1, block[50:]))
    assert pair.heard == [("head", 1, head((b"x", b"y" * 100)), True)]


def test_more_streams_than_were_advertised() -> None:
    """They are somebody else's to refuse."""
    pair = Pair(TOLD._replace(max_streams=1))
    block = pair.block()
    streams = range(1, 200, 2)
    pair.send(*(frame(HEADERS, WHOLE, stream, block) for stream in streams))
    assert [call[:2] for call in pair.heard] == [("head", stream) for stream in streams]


def test_settings_of_nobody_are_forgotten() -> None:
    """Section 6.5.2: to be ignored, however many there are."""
    pair = Pair()
    before = len(pair.wire._connection.remote_settings)
    known = (4).to_bytes(2, "big") + number(1234)
    for code in range(0x100, 0x1000):
        pair.send(frame(SETTINGS, 0, 0, code.to_bytes(2, "big") + number(code) + known))
    assert len(pair.wire._connection.remote_settings) == before
    pair.request()
    assert pair.wire.room(1) == 1234
    assert [{*each.flags} for each in pair.sent()] == [{"ACK"}] * 0xF00


def test_streams_that_are_closed_are_forgotten() -> None:
    """How they were closed is remembered of the last ones only."""
    pair = Pair(TOLD._replace(max_streams=1))
    block = pair.block()
    for stream in range(1, 8001, 2):
        pair.send(frame(HEADERS, WHOLE, stream, block))
        pair.wire.head(stream, OK, ends=True)
    connection = pair.wire._connection
    assert connection.open_inbound_streams == 0
    assert len(connection._closed_streams) <= 1000
    assert len(connection.streams) <= 1


# To the peer


def test_response() -> None:
    pair = opened(ended=True)
    pair.wire.head(1, [(b":status", b"103"), (b"link", b"<a>")], ends=False)
    pair.wire.head(1, [*OK, (b"x", b"y")], ends=False)
    pair.wire.data(1, b"abc", ends=False)
    pair.wire.data(1, b"de", ends=True)
    interim, response, *data, end = pair.receive()
    assert isinstance(interim, InformationalResponseReceived)
    assert interim.headers == [(b":status", b"103"), (b"link", b"<a>")]
    assert isinstance(response, ResponseReceived)
    assert response.headers == [*OK, (b"x", b"y")]
    assert [each.data for each in data if isinstance(each, DataReceived)] == [b"abc", b"de"]
    assert isinstance(end, StreamEnded)


def test_response_without_a_body() -> None:
    pair = opened(ended=True)
    pair.wire.head(1, OK, ends=True)
    (each,) = pair.sent()
    assert {*each.flags} == {"END_HEADERS", "END_STREAM"}


def test_response_with_trailers() -> None:
    pair = opened(ended=True)
    pair.wire.head(1, OK, ends=False)
    pair.wire.data(1, b"abc", ends=False)
    pair.wire.head(1, [(b"x", b"y")], ends=True)
    *_, trailers, end = pair.receive()
    assert isinstance(trailers, TrailersReceived)
    assert trailers.headers == [(b"x", b"y")]
    assert isinstance(end, StreamEnded)


def test_heads_are_told_as_they_are() -> None:
    """What must not be said is kept back elsewhere, once."""
    pair = opened(ended=True)
    pair.client.config.validate_inbound_headers = False
    fields = [*OK, (b"connection", b"x"), (b"x", b" y ")]
    pair.wire.head(1, fields, ends=True)
    response = pair.receive()[0]
    assert isinstance(response, ResponseReceived)
    assert response.headers == fields


def test_large_head_is_cut() -> None:
    pair = opened(ended=True)
    fields = [*OK, *((b"x%d" % each, b"\xff" * 1000) for each in range(50))]
    pair.wire.head(1, fields, ends=True)
    response = pair.receive()[0]
    assert isinstance(response, ResponseReceived)
    assert response.headers == fields


def test_nothing_is_written_that_was_not_taken() -> None:
    pair = opened(ended=True)
    assert pair.wire.take() == b""
    pair.wire.head(1, OK, ends=True)
    assert pair.wire.take()
    assert pair.wire.take() == b""


@pytest.mark.parametrize(
    ("theirs", "ours"), [(16_384, 16_384), (20_000, 20_000), (65_537, 65_536), (2**24 - 1, 65_536)]
)
def test_frame_size(theirs: int, ours: int) -> None:
    pair = Pair()
    assert pair.wire.frame_size == 16_384
    pair.client.update_settings({SettingCodes.MAX_FRAME_SIZE: theirs})
    pair.send()
    assert pair.wire.frame_size == ours


def test_room_is_that_of_the_smaller_window() -> None:
    pair = opened(ended=True)
    assert pair.wire.room(1) == 65_535
    pair.client.increment_flow_control_window(100, 1)
    pair.send()
    assert pair.wire.room(1) == 65_535, "the connection's"
    pair.client.increment_flow_control_window(1000)
    pair.send()
    assert pair.wire.room(1) == 65_635
    pair.wire.head(1, OK, ends=False)
    pair.wire.data(1, b"x" * 10_000, ends=False)
    assert pair.wire.room(1) == 55_635


def test_room_that_is_none() -> None:
    """Section 6.9.2: settings may make it negative."""
    pair = opened(ended=True)
    pair.wire.head(1, OK, ends=False)
    pair.wire.data(1, b"x" * 1000, ends=False)
    pair.receive()
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 400})
    pair.send()
    assert pair.wire.room(1) == -600
    pair.client.increment_flow_control_window(700, 1)
    pair.send()
    assert pair.wire.room(1) == 100


def test_window_of_a_stream_alone() -> None:
    """Whoever waits for the connection's does not wait for its own."""
    pair = opened(ended=True)
    pair.request(3)
    for stream in (1, 3):
        pair.wire.head(stream, OK, ends=False)
    for _ in range(5):
        pair.wire.data(1, b"x" * 13_107, ends=False)
    assert [pair.wire.room(stream) for stream in (1, 3)] == [0, 0]
    assert [pair.wire.has_window(stream) for stream in (1, 3)] == [False, True]
    pair.client.receive_data(pair.wire.take())
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
    pair.send()
    assert pair.wire.room(1) < 0
    assert not pair.wire.has_window(1)


def test_credit_is_for_both_windows() -> None:
    pair = opened(told=TOLD._replace(connection_window=65_535))
    for _ in range(5):
        pair.client.send_data(1, b"x" * 10_000)
    pair.send()
    pair.receive()
    assert pair.client.local_flow_control_window(1) == 15_535
    pair.wire.credit(1, 50_000)
    pair.receive()
    assert pair.client.outbound_flow_control_window == 65_535
    assert pair.client.local_flow_control_window(1) == 65_535


def test_no_credit_without_need() -> None:
    """Small ones are gathered, until they are half a window."""
    pair = opened()
    for _ in range(6):
        pair.client.send_data(1, b"x" * 10_000)
    pair.send()
    for _ in range(60_000):
        pair.wire.credit(1, 1)
    assert len(pair.sent()) < 20


@pytest.mark.parametrize("by_peer", [False, True])
def test_credit_of_a_stream_that_is_gone(by_peer: bool) -> None:
    """The connection's window is shared by others."""
    pair = Pair(TOLD._replace(connection_window=65_535))
    pair.request(ended=False)
    for _ in range(5):
        pair.client.send_data(1, b"x" * 10_000)
    pair.send()
    if by_peer:
        pair.client.reset_stream(1)
        pair.send()
    else:
        pair.wire.reset(1, ErrorCode.CANCEL)
    pair.wire.credit(1, 50_000)
    pair.receive()
    assert pair.client.outbound_flow_control_window == 65_535


@pytest.mark.parametrize("code", [ErrorCode.NO_ERROR, ErrorCode.REFUSED_STREAM])
def test_our_reset(code: int) -> None:
    pair = opened()
    pair.wire.reset(1, code)
    (event,) = pair.receive()
    assert isinstance(event, StreamReset)
    assert (event.stream_id, event.error_code) == (1, code)


@pytest.mark.parametrize("by_peer", [False, True])
def test_our_reset_of_a_stream_that_is_gone(by_peer: bool) -> None:
    pair = opened(ended=not by_peer)
    if by_peer:
        pair.client.reset_stream(1)
        pair.send()
    else:
        pair.wire.head(1, OK, ends=True)
    for stream in range(3, 99, 2):  # until the library has forgotten it
        pair.request(stream)
        pair.wire.head(stream, OK, ends=True)
    pair.wire.take()
    pair.wire.reset(1, ErrorCode.CANCEL)
    assert pair.wire.take() == b""


def test_nothing_comes_of_a_stream_that_we_reset() -> None:
    """Section 5.4.2: what was on its way. It is no error, and the connection's window is kept."""
    pair = Pair(TOLD._replace(connection_window=65_535))
    pair.request(ended=False)
    assert pair.heard
    pair.wire.reset(1, ErrorCode.CANCEL)
    for _ in range(5):
        pair.client.send_data(1, b"x" * 10_000)
    pair.client.increment_flow_control_window(10, 1)
    pair.client.send_headers(1, [(b"x", b"y")], end_stream=True)
    pair.send()
    pair.send(frame(RST_STREAM, stream=1, payload=bytes(4)))
    assert [call for call in pair.heard if call[0] != "reset"] == []
    updates = [each for each in pair.sent() if isinstance(each, WindowUpdateFrame)]
    assert {each.stream_id for each in updates} == {0}
    assert sum(each.window_increment for each in updates) > 50_000 - GATHERED
    pair.request(3)
    assert pair.heard == [("head", 3, head(), True)]


def test_encoder_does_not_remember_all_that_the_peer_would() -> None:
    pair = Pair()
    pair.client.update_settings({SettingCodes.HEADER_TABLE_SIZE: 2**32 - 1})
    pair.send()
    assert pair.wire._connection.encoder.header_table_size == 4096
    pair.receive()
    for stream in range(1, 200, 2):  # the peer follows
        pair.request(stream)
        fields = [*OK, (b"x-%d" % stream, b"y" * 200)]
        pair.wire.head(stream, fields, ends=True)
        response = pair.receive()[0]
        assert isinstance(response, ResponseReceived)
        assert response.headers == fields
    assert pair.client.decoder.header_table_size == 4096


@pytest.mark.parametrize(
    "sizes",
    [
        *([0], [100], [4096], [65_536], [0, 2**31], [0, 4096], [65_536, 65_536]),
        # With each the peer has told that it takes no more.
        *([2**31, 0], [65_536, 4096], [5000, 10, 4096], [100, 100]),
    ],
)
def test_encoder_remembers_no_more_than_the_peer(sizes: list[int]) -> None:
    """RFC 7541 section 4.2: the smallest size and the last are said, none above the limit."""
    pair = Pair()
    for size in sizes:
        pair.client.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
        pair.send()
    pair.receive()
    assert pair.wire._connection.encoder.header_table_size == min(sizes[-1], 4096)
    for stream in (1, 3):
        pair.request(stream)
        pair.wire.head(stream, [*OK, (b"x", b"y")], ends=True)
        response = pair.receive()[0]
        assert isinstance(response, ResponseReceived)
        assert response.headers == [*OK, (b"x", b"y")]
