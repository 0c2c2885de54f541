"""HTTP/1 in random conversations: both parsers agree, and a client reads what was sent."""

from itertools import pairwise

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver.engines.fields import response_head
from tests.corpus import Found
from tests.engines.wire import Wire, exchange, get, lines
from tests.fakes import PARSERS

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
BODIES = st.binary(max_size=60) | st.sampled_from(
    [b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\r\n", b"\r\n\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, Found]:
    """A request that keeps the connection, and what must be found in it."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]))
    target = "/" + draw(st.text("abc/%20?=&", max_size=12)).replace("%00", "%20")
    fields = [("host", draw(TOKENS))]
    fields += draw(st.lists(st.tuples(TOKENS.map("x-{}".format), TOKENS), max_size=3))
    upgrade = draw(st.sampled_from(["", "", "websocket", "h2c"]))
    if upgrade:
        fields += [("connection", "upgrade"), ("upgrade", upgrade)]
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    body = b"" if framing == "none" else draw(BODIES)
    length: int | None = len(body)
    coded = body
    if framing == "length":
        fields.append(("content-length", str(length)))
    elif framing == "chunked":
        fields.append(("transfer-encoding", "chunked"))
        length, coded = None, draw(chunkings(body))
    head = lines(f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in draw(shuffled(fields))))
    found = Found(
        method,
        target.encode(),
        [],
        length=length,
        upgrade=(upgrade.encode(),) if upgrade else (),
        body=body,
    )
    return head + coded, found


@st.composite
def shuffled(draw: st.DrawFn, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return draw(st.permutations(fields))


@st.composite
def chunkings(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks of any sizes, with extensions and trailers."""
    coded = b""
    for piece in draw(pieces(body)):
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(piece)
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
        coded += size + extension + b"\r\n" + piece + b"\r\n"
    trailer = draw(st.sampled_from([b"", b"x-sum: 1\r\n", b"a: b\r\nc: d\r\n"]))
    return coded + b"0\r\n" + trailer + b"\r\n"


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Data, cut at any places."""
    cuts = draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8))
    places = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places) if data[a:b]]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[Found]]:
    """Requests behind each other, their bytes cut at any places."""
    each = draw(st.lists(requests(), min_size=1, max_size=6))
    return draw(pieces(b"".join(data for data, _ in each))), [found for _, found in each]


@settings(max_examples=150)
@given(conversations())
def test_parsers_agree(conversation: tuple[list[bytes], list[Found]]) -> None:
    data, expected = conversation
    results = [exchange(name, data) for name in PARSERS]
    assert results[0] == results[1]
    found, statuses, reasons = results[0]
    assert statuses == [200] * len(expected)
    assert reasons == []
    for each in found:
        each.headers = []
    assert found == expected


@st.composite
def responses(draw: st.DrawFn) -> tuple[str, int, list[tuple[bytes, bytes]], list[bytes]]:
    """A request's method, and a response to it that an application may give: body in messages."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST"]))
    status = draw(st.sampled_from([200, 201, 204, 304, 404, 500, 599]))
    body = draw(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
    fields = draw(st.lists(st.tuples(TOKENS.map("x-{}".format), TOKENS), max_size=3))
    if draw(st.booleans()):
        fields.append(("content-length", str(sum(map(len, body)))))
    return method, status, [(name.encode(), value.encode()) for name, value in fields], body


@settings(max_examples=150)
@given(st.lists(responses(), min_size=1, max_size=4), st.booleans(), st.sampled_from([*PARSERS]))
def test_client_reads_what_was_sent(
    exchanges: list[tuple[str, int, list[tuple[bytes, bytes]], list[bytes]]],
    pipelined: bool,
    parser: str,
) -> None:
    wire = Wire(parser)
    client = h11.Connection(h11.CLIENT)
    if pipelined:
        wire.feed(b"".join(get(method=method) for method, *_ in exchanges))
    for method, status, fields, body in exchanges:
        if not pipelined:
            wire.feed(get(method=method))
        wire.begin(status, fields, body[0], more=len(body) > 1)
        bodyless = response_head(status, fields, method).bodyless
        for number, piece in enumerate(body[1:], 2):
            wire.go_on(b"" if bodyless else piece, more=number < len(body))
        read_response(client, wire, method, status, fields, b"" if bodyless else b"".join(body))
    assert wire.calls == ["idle"] * len(exchanges)


def read_response(
    client: h11.Connection,
    wire: Wire,
    method: str,
    status: int,
    fields: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire.sent)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    assert response.http_version == b"1.1"
    mine = [field for field in response.headers if field[0].startswith(b"x-")]
    assert mine == [field for field in fields if field[0].startswith(b"x-")]
    read = b""
    while isinstance(event := client.next_event(), h11.Data):
        read += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert read == body
    assert client.trailing_data == (b"", False)
    client.start_next_cycle()


@settings(max_examples=100)
@given(responses())
def test_old_client_reads_what_was_sent(
    response: tuple[str, int, list[tuple[bytes, bytes]], list[bytes]],
) -> None:
    method, status, fields, body = response
    wire = Wire("httptools")
    wire.feed(get(method=method, version="1.0"))
    wire.begin(status, fields, body[0], more=len(body) > 1)
    bodyless = response_head(status, fields, method).bodyless
    for number, piece in enumerate(body[1:], 2):
        wire.go_on(b"" if bodyless else piece, more=number < len(body))
    assert wire.calls == ["close"]
    head, _, rest = wire.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 %d " % status)
    assert b"transfer-encoding" not in head
    assert rest == (b"" if bodyless else b"".join(body))
