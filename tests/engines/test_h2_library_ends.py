"""How a connection ends by the `h2` library: for mistakes, for too much, and because we say so."""

import pytest
from h2.events import ConnectionTerminated
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import GoAwayFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    H2Error,
)
from tests.engines.h2_bytes import frame, number
from tests.engines.h2_pair import TOLD, WHOLE, Pair, opened
from tests.engines.h2_requests import head


def goaways(pair: Pair) -> list[tuple[int, int]]:
    """Last streams and codes of what the peer would get."""
    return [
        (each.last_stream_id, each.error_code)
        for each in pair.sent()
        if isinstance(each, GoAwayFrame)
    ]


def test_close() -> None:
    pair = opened()
    pair.wire.close(ErrorCode.ENHANCE_YOUR_CALM, "zu viel für uns")
    (event,) = pair.receive()
    assert isinstance(event, ConnectionTerminated)
    assert (event.last_stream_id, event.error_code) == (1, ErrorCode.ENHANCE_YOUR_CALM)
    assert event.additional_data == "zu viel für uns".encode()


def test_close_says_it_once() -> None:
    pair = opened()
    pair.wire.close(ErrorCode.NO_ERROR, "")
    pair.wire.close(ErrorCode.PROTOCOL_ERROR, "again")
    assert goaways(pair) == [(1, ErrorCode.NO_ERROR)]


def test_credit_behind_the_end() -> None:
    """Streams are told that it is over when it is."""
    pair = opened()
    pair.client.send_data(1, b"x" * 10_000)
    pair.send()
    pair.wire.close(ErrorCode.NO_ERROR, "")
    pair.wire.take()
    pair.wire.credit(1, 10_000)
    assert pair.wire.take() == b""


def refused(pair: Pair, *frames: bytes) -> H2Error:
    """Frames that break the connection: the last of them does."""
    pair.wire.take()
    with pytest.raises(H2Error) as caught:
        pair.send(*frames)
    assert "\n" not in caught.value.reason
    assert caught.value.reason
    return caught.value


def setting(code: int, value: int) -> bytes:
    return frame(SETTINGS, payload=code.to_bytes(2, "big") + number(value))


# By what they break. The library has PROTOCOL_ERROR for some that have a code of their own.
ERRORS = [
    # Section 4.2 and 4.3: sizes, and blocks in pieces.
    (frame(HEADERS, END_STREAM, 3, b"\x82") + frame(PING, payload=bytes(8)), "PROTOCOL_ERROR"),
    (frame(HEADERS, 0, 3, b"") + frame(CONTINUATION, WHOLE, 5, b""), "PROTOCOL_ERROR"),
    (frame(HEADERS, 0, 3, b"") + frame(0xBE), "PROTOCOL_ERROR"),
    (frame(HEADERS, 0, 3, b"") + frame(CONTINUATION, 0, 3, b"") * 64, "PROTOCOL_ERROR"),
    # Section 5.1: states and numbers.
    (frame(DATA, stream=3, payload=b"x"), "PROTOCOL_ERROR"),
    (frame(WINDOW_UPDATE, stream=3, payload=number(1)), "PROTOCOL_ERROR"),
    (frame(HEADERS, WHOLE, 2, b"\x82"), "PROTOCOL_ERROR"),
    (frame(HEADERS, WHOLE, 0, b"\x82"), "PROTOCOL_ERROR"),
    # Section 5.3.1 of RFC 7540: a stream that depends on itself.
    (frame(HEADERS, WHOLE | 0x20, 3, number(3) + b"\x10\x82"), "PROTOCOL_ERROR"),
    # Section 6.1 and 6.2.
    (frame(DATA, payload=b"x"), "PROTOCOL_ERROR"),
    (frame(DATA, PADDED, 1, b"\x01"), "PROTOCOL_ERROR"),
    (frame(DATA, PADDED, 1, b"\x05abcd"), "PROTOCOL_ERROR"),
    (frame(HEADERS, WHOLE | PADDED, 3, b"\x05\x82"), "PROTOCOL_ERROR"),
    # Section 6.3 to 6.10.
    (frame(PRIORITY, stream=1, payload=bytes(4)), "FRAME_SIZE_ERROR"),
    (frame(PRIORITY, payload=bytes(5)), "PROTOCOL_ERROR"),
    (frame(RST_STREAM, payload=bytes(4)), "PROTOCOL_ERROR"),
    (frame(RST_STREAM, stream=1, payload=bytes(3)), "FRAME_SIZE_ERROR"),
    (frame(RST_STREAM, stream=1, payload=bytes(5)), "FRAME_SIZE_ERROR"),
    (frame(SETTINGS, payload=bytes(5)), "FRAME_SIZE_ERROR"),
    (frame(SETTINGS, ACK, payload=bytes(6)), "FRAME_SIZE_ERROR|PROTOCOL_ERROR"),
    (frame(SETTINGS, stream=1), "PROTOCOL_ERROR"),
    (setting(SettingCodes.ENABLE_PUSH, 2), "PROTOCOL_ERROR"),
    (setting(SettingCodes.INITIAL_WINDOW_SIZE, 2**31), "FLOW_CONTROL_ERROR"),
    (setting(SettingCodes.MAX_FRAME_SIZE, 2**14 - 1), "PROTOCOL_ERROR"),
    (setting(SettingCodes.MAX_FRAME_SIZE, 2**24), "PROTOCOL_ERROR"),
    (frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + b"\x82"), "PROTOCOL_ERROR"),
    (frame(PING, payload=bytes(7)), "FRAME_SIZE_ERROR"),
    (frame(PING, payload=bytes(9)), "FRAME_SIZE_ERROR"),
    (frame(PING, stream=1, payload=bytes(8)), "PROTOCOL_ERROR"),
    (frame(WINDOW_UPDATE, payload=bytes(3)), "FRAME_SIZE_ERROR"),
    (frame(WINDOW_UPDATE, payload=bytes(4)), "PROTOCOL_ERROR"),
    (frame(WINDOW_UPDATE, payload=number(2**31 - 1)), "FLOW_CONTROL_ERROR"),
    (frame(CONTINUATION, END_HEADERS, 1, b"\x82"), "PROTOCOL_ERROR"),
    # Section 8.1: a second header section ends the request.
    (frame(HEADERS, END_HEADERS, 1, b"\x82"), "PROTOCOL_ERROR"),
    # RFC 7541: an index that is none, a number without an end, a table that we have not allowed.
    (frame(HEADERS, WHOLE, 3, b"\x80"), "COMPRESSION_ERROR|PROTOCOL_ERROR"),
    (frame(HEADERS, WHOLE, 3, b"\xfe"), "COMPRESSION_ERROR|PROTOCOL_ERROR"),
    (frame(HEADERS, WHOLE, 3, b"\xff" + b"\x80" * 20), "COMPRESSION_ERROR|PROTOCOL_ERROR"),
    (frame(HEADERS, WHOLE, 3, b"\x3f\xe2\x1f\x82"), "COMPRESSION_ERROR|PROTOCOL_ERROR"),
    (frame(HEADERS, WHOLE, 3, b"\x00\x85abc"), "COMPRESSION_ERROR|PROTOCOL_ERROR"),
]


@pytest.mark.parametrize(("frames", "names"), ERRORS)
def test_errors_of_the_connection(frames: bytes, names: str) -> None:
    pair = opened()
    error = refused(pair, frames)
    assert ErrorCode(error.code).name in names.split("|")
    pair.wire.close(error.code, error.reason)
    ((_, code),) = goaways(pair)
    assert code == error.code


def test_flow_control_error() -> None:
    pair = opened()
    data = frame(DATA, stream=1, payload=b"x" * 16_384)
    pair.send(data * 4)
    assert refused(pair, frame(DATA, stream=1, payload=b"x")).code == ErrorCode.FLOW_CONTROL_ERROR


def test_flow_control_error_of_the_connection() -> None:
    pair = Pair(TOLD._replace(connection_window=65_535))
    pair.request(1, ended=False)
    pair.request(3, ended=False)
    pair.send(
        frame(DATA, stream=1, payload=b"x" * 16_384) * 3,
        frame(DATA, stream=3, payload=b"x" * 16_383),
    )
    assert refused(pair, frame(DATA, stream=3, payload=b"x")).code == ErrorCode.FLOW_CONTROL_ERROR


def test_padding_counts() -> None:
    pair = opened()
    pair.send(frame(DATA, PADDED, 1, b"\xff" + bytes(255)) * 256)
    assert len(pair.heard) == 256
    assert refused(pair, frame(DATA, PADDED, 1, b"\x00")).code == ErrorCode.FLOW_CONTROL_ERROR


def test_window_of_a_stream_that_overflows() -> None:
    """Section 6.9.1: an error of the stream."""
    pair = opened()
    pair.wire.take()
    pair.send(frame(WINDOW_UPDATE, stream=1, payload=number(2**31 - 1)))
    assert pair.heard == [("reset", 1, False)]
    (each,) = pair.sent()
    assert (each.stream_id, each.serialize()[-1]) == (1, ErrorCode.FLOW_CONTROL_ERROR)


def test_data_behind_the_end_of_a_request() -> None:
    """Section 5.1: an error of the stream."""
    pair = opened(ended=True)
    pair.wire.take()
    pair.send(frame(DATA, stream=1, payload=b"x"))
    assert pair.heard == [("reset", 1, False)]
    (each,) = pair.sent()
    assert (each.stream_id, each.serialize()[-1]) == (1, ErrorCode.STREAM_CLOSED)


def test_number_of_an_older_stream() -> None:
    pair = Pair()
    pair.send(frame(HEADERS, WHOLE, 7, pair.block()))
    assert refused(pair, frame(HEADERS, WHOLE, 5, pair.block())).code in (
        ErrorCode.PROTOCOL_ERROR,
        ErrorCode.STREAM_CLOSED,
    )


# Header lists


def test_header_list_of_the_size_that_was_told() -> None:
    """Section 6.5.2: names, values, and 32 for each field."""
    pair = Pair()
    fields = head((b"x", b""))
    size = sum(len(name) + len(value) + 32 for name, value in fields)
    fields[-1] = (b"x", b"y" * (TOLD.header_list - size))
    pair.send(frame(HEADERS, WHOLE, 1, Encoder().encode(fields)))
    assert pair.heard == [("head", 1, fields, True)]
    fields[-1] = (b"x", fields[-1][1] + b"y")
    error = refused(pair, frame(HEADERS, WHOLE, 3, Encoder().encode(fields)))
    assert error.code == ErrorCode.ENHANCE_YOUR_CALM
    assert str(TOLD.header_list) in error.reason


def test_bomb() -> None:
    """A large entry of the table, and one byte for each time that it is meant."""
    pair = Pair()
    entry = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
    pair.send(frame(HEADERS, WHOLE, 1, pair.block() + entry))
    assert len(pair.heard) == 1
    error = refused(pair, frame(HEADERS, WHOLE, 3, b"\xbe" * 16_384))
    assert error.code == ErrorCode.ENHANCE_YOUR_CALM
    assert goaways(pair) == [(1, ErrorCode.ENHANCE_YOUR_CALM)]


def test_many_empty_fields() -> None:
    pair = Pair()
    error = refused(pair, frame(HEADERS, WHOLE, 1, pair.block() + b"\x00\x00\x00" * 5000))
    assert error.code == ErrorCode.ENHANCE_YOUR_CALM


# Whatever comes


KINDS = st.one_of(st.integers(0, 9), st.sampled_from([PRIORITY_UPDATE, 0x0A, 0xBE]))
STREAMS = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 2**31 - 1, 2**31 + 1])
PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([bytes(4), bytes(8), number(1), number(2**31 - 1), b"\x82\x86\x84\x41\x01a"]),
)
FRAMES = st.builds(frame, KINDS, st.integers(0, 255), STREAMS, PAYLOADS)


@settings(max_examples=500)
@given(st.lists(FRAMES, max_size=30))
def test_any_frames(frames: list[bytes]) -> None:
    """Nothing but an H2Error comes of them, and then one GOAWAY with its code."""
    pair = opened()
    pair.wire.take()
    for each in frames:
        try:
            pair.send(each)
        except H2Error as error:
            code = error.code
            break
    else:
        code = ErrorCode.NO_ERROR
    pair.wire.close(code, "the end")
    said = [each for each in pair.sent() if isinstance(each, GoAwayFrame)]
    assert [each.error_code for each in said] == [code]
    assert {call[1] for call in pair.heard if call[0] != "pong"} <= {0, 1, 3, 5, 2**31 - 1}
