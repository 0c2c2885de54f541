"""HTTP/1 responses on bytes: framing, persistence, expectations, and what is left of a request."""

import pytest

from aserver.limits import DRAIN_BYTES
from aserver.types import AppError
from tests.engines.wire import CHUNKED, DEFAULTS, Wire, get, lines, plain, post, refused
from tests.fakes import LIMITS

BUFFER = LIMITS.buffer

# Responses: framing


def test_length_is_found_out(wire: Wire) -> None:
    wire.feed(get())
    wire.answer(b"hello", (b"content-type", b"text/plain"))
    assert wire.sent == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n"
        b"date: now\r\nserver: test\r\n\r\nhello"
    )
    assert wire.sink.writes == 1
    assert wire.calls == ["idle"]


def test_length_of_nothing(wire: Wire) -> None:
    wire.feed(get())
    wire.answer()
    assert wire.sent == plain()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_length_is_given(wire: Wire, method: str) -> None:
    wire.feed(get(method=method))
    wire.begin(200, [(b"Content-Length", b"10")], b"hello")
    assert wire.sent == lines("HTTP/1.1 200 OK", "Content-Length: 10", *DEFAULTS) + b"hello"
    wire.go_on(b"")
    assert wire.sent == b""
    wire.go_on(b"world", more=False)
    assert wire.sent == b"world"
    assert wire.calls == ["idle"]


def test_chunked(wire: Wire) -> None:
    wire.feed(get())
    wire.begin()
    assert wire.sent == lines("HTTP/1.1 200 OK", "transfer-encoding: chunked", *DEFAULTS)
    wire.go_on(b"hello")
    assert wire.sent == b"5\r\nhello\r\n"
    wire.go_on(b"")  # an empty chunk would be the end
    assert wire.sent == b""
    wire.go_on(b"x" * 26)
    assert wire.sent == b"1a\r\n" + b"x" * 26 + b"\r\n"
    wire.go_on(b"end", more=False)
    assert wire.sent == b"3\r\nend\r\n0\r\n\r\n"
    assert wire.calls == ["idle"]


def test_chunked_ends_without_body(wire: Wire) -> None:
    wire.feed(get())
    wire.begin(body=b"a")
    wire.go_on(b"", more=False)
    head = lines("HTTP/1.1 200 OK", "transfer-encoding: chunked", *DEFAULTS)
    assert wire.sent == head + b"1\r\na\r\n0\r\n\r\n"


def test_first_chunk_goes_with_the_head(wire: Wire) -> None:
    wire.feed(get())
    wire.begin(body=b"first")
    assert wire.sink.writes == 1


@pytest.mark.parametrize("size", [16_383, 16_384, 100_000])
def test_large_body_is_one_write(wire: Wire, size: int) -> None:
    wire.feed(get())
    wire.answer(b"x" * size)
    assert wire.sent == plain(b"x" * size)
    assert wire.sink.writes == 1


def test_large_chunk(wire: Wire) -> None:
    wire.feed(get())
    wire.begin()
    assert wire.sent
    wire.go_on(b"x" * 100_000, more=False)
    assert wire.sent == b"186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("more", [False, True])
def test_head_has_no_body(wire: Wire, more: bool) -> None:
    wire.feed(get(method="HEAD"))
    wire.begin(200, [(b"content-length", b"1000")], b"hello", more)
    if more:
        wire.go_on(b"", more=False)
    assert wire.sent == lines("HTTP/1.1 200 OK", "content-length: 1000", *DEFAULTS)
    wire.feed(get("/next"))
    wire.answer(b"next")
    assert wire.sent == plain(b"next")


@pytest.mark.parametrize("more", [False, True])
def test_head_of_a_stream(wire: Wire, more: bool) -> None:
    wire.feed(get(method="HEAD"))
    wire.begin(more=more)
    if more:
        wire.go_on(b"", more=False)
    assert wire.sent == lines("HTTP/1.1 200 OK", *DEFAULTS)
    assert wire.calls == ["idle"]


def test_no_content(wire: Wire) -> None:
    wire.feed(get())
    wire.answer(b"hello", (b"content-length", b"5"), (b"x", b"y"), status=204)
    assert wire.sent == lines("HTTP/1.1 204 No Content", "x: y", *DEFAULTS)
    assert wire.calls == ["idle"]


def test_not_modified_keeps_its_length(wire: Wire) -> None:
    wire.feed(get())
    wire.answer(b"hello", (b"content-length", b"5"), status=304)
    assert wire.sent == lines("HTTP/1.1 304 Not Modified", "content-length: 5", *DEFAULTS)
    assert wire.calls == ["idle"]


def test_not_modified_without_length(wire: Wire) -> None:
    wire.feed(get())
    wire.answer(b"", (b"etag", b'"a"'), status=304)
    assert wire.sent == lines("HTTP/1.1 304 Not Modified", 'etag: "a"', *DEFAULTS)


def test_framing_is_the_servers(wire: Wire) -> None:
    wire.feed(get())
    fields = (b"transfer-encoding", b"keep-alive", b"upgrade", b"proxy-connection", b"connection")
    wire.begin(200, [(name, b"chunked") for name in fields], b"hello", more=False)
    assert wire.sent == plain(b"hello")


def test_own_date_and_server(wire: Wire) -> None:
    wire.feed(get(), get(), get())
    wire.answer(b"", (b"Date", b"then"))
    assert wire.sent == lines("HTTP/1.1 200 OK", "Date: then", "content-length: 0", "server: test")
    wire.answer(b"", (b"SERVER", b"mine"))
    assert wire.sent == lines("HTTP/1.1 200 OK", "SERVER: mine", "content-length: 0", "date: now")
    wire.answer(b"", (b"server", b"mine"), (b"date", b"then"))
    assert wire.sent == lines("HTTP/1.1 200 OK", "server: mine", "date: then", "content-length: 0")


def test_order_and_duplicates_are_kept(wire: Wire) -> None:
    wire.feed(get())
    fields = [(b"set-cookie", b"a=1"), (b"X-B", b""), (b"set-cookie", b"b=2"), (b"x-a", b"\xe9\t")]
    wire.answer(b"", *fields)
    assert wire.sent == lines(
        "HTTP/1.1 200 OK",
        "set-cookie: a=1",
        "X-B: ",
        "set-cookie: b=2",
        "x-a: é\t",
        "content-length: 0",
        *DEFAULTS,
    )


def test_reason_phrase_is_never_empty(wire: Wire) -> None:
    wire.feed(get(), get())
    wire.answer(status=418)
    assert wire.sent.startswith(b"HTTP/1.1 418 I'm a Teapot\r\n")
    wire.answer(status=599)
    assert wire.sent.startswith(b"HTTP/1.1 599 Unknown\r\n")


# Responses: persistence


def test_client_closes(wire: Wire) -> None:
    wire.feed(get("/", "Connection: close"))
    wire.answer(b"hello")
    assert wire.sent == plain(b"hello", "connection: close")
    assert wire.calls == ["close"]
    wire.feed(get("/late"))
    assert len(wire.cycles) == 1


def test_application_closes(wire: Wire) -> None:
    wire.feed(get() + get("/next"))
    wire.answer(b"", (b"Connection", b"Close"))
    assert wire.sent == plain(b"", "connection: close")
    assert wire.calls == ["linger"]  # bytes of the peer may lie unread: no reset behind the answer
    assert len(wire.cycles) == 1


def test_old_client(wire: Wire) -> None:
    wire.feed(get(version="1.0"))
    wire.answer(b"hello")
    assert wire.sent == plain(b"hello", "connection: close", version="1.0")
    assert wire.calls == ["close"]


def test_old_client_that_keeps_alive(wire: Wire) -> None:
    for path in ("/1", "/2"):
        wire.feed(get(path, "Connection: keep-alive", version="1.0"))
        wire.answer(b"hello")
        assert wire.sent == plain(b"hello", "connection: keep-alive", version="1.0")
        assert wire.calls == ["idle"]


def test_old_client_and_a_stream(wire: Wire) -> None:
    wire.feed(get("/", "Connection: keep-alive", version="1.0"))
    wire.begin(body=b"hello")
    assert wire.sent == lines("HTTP/1.0 200 OK", *DEFAULTS, "connection: close") + b"hello"
    wire.go_on(b" world")
    wire.go_on(b"", more=False)
    assert wire.sent == b" world"
    assert wire.calls == ["close"]


def test_old_client_and_a_stream_of_known_length(wire: Wire) -> None:
    wire.feed(get("/", "Connection: keep-alive", version="1.0"))
    wire.begin(200, [(b"content-length", b"5")], b"he")
    wire.go_on(b"llo", more=False)
    head = lines("HTTP/1.0 200 OK", "content-length: 5", *DEFAULTS, "connection: keep-alive")
    assert wire.sent == head + b"hello"
    assert wire.calls == ["idle"]


def test_stream_then_close(wire: Wire) -> None:
    wire.feed(get("/", "Connection: close"))
    wire.begin()
    head = lines("HTTP/1.1 200 OK", "transfer-encoding: chunked", *DEFAULTS, "connection: close")
    assert wire.sent == head
    assert wire.calls == []
    wire.go_on(b"", more=False)
    assert wire.sent == b"0\r\n\r\n"
    assert wire.calls == ["close"]


# Expect: 100-continue

EXPECT = post(5, "Expect: 100-continue")


def test_continue_is_sent_when_asked_for(wire: Wire) -> None:
    wire.feed(EXPECT)
    assert wire.sent == b""
    wire.engine.inform(100, [])
    assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.feed(b"hello")
    wire.answer()
    assert wire.sent == plain()
    assert wire.calls == ["idle"]


def test_final_status_instead_of_continue(wire: Wire) -> None:
    wire.feed(EXPECT)
    wire.answer(status=401)
    assert wire.sent == plain(b"", "connection: close", status="401 Unauthorized")
    assert wire.calls == ["linger"]
    wire.feed(b"hello" + get())
    assert len(wire.cycles) == 1


def test_no_continue_behind_the_head(wire: Wire) -> None:
    wire.feed(EXPECT)
    wire.begin()
    assert wire.sent
    wire.engine.inform(100, [])
    assert wire.sent == b""


def test_no_continue_for_an_old_client(wire: Wire) -> None:
    wire.feed(get("/", "Content-Length: 5", "Expect: 100-continue", version="1.0"))
    assert not wire.current.request.expects_continue
    wire.engine.inform(100, [])
    assert wire.sent == b""


def test_interim_response_with_fields(wire: Wire) -> None:
    wire.feed(get())
    wire.engine.inform(103, [(b"link", b"</a.css>"), (b"link", b"</b.css>")])
    assert wire.sent == lines("HTTP/1.1 103 Early Hints", "link: </a.css>", "link: </b.css>")
    wire.answer()
    assert wire.sent == plain()


def test_unknown_expectation(wire: Wire) -> None:
    wire.feed(post(5, "Expect: cake"))
    reason = "the only expectation understood here is 100-continue"
    assert wire.sent == refused("417 Expectation Failed", reason)
    assert wire.calls == ["linger"]


# An early response, with the request's body unread


def test_small_rest_is_drained(wire: Wire) -> None:
    wire.feed(post(10) + b"hello")
    wire.answer(b"early")
    assert wire.sent == plain(b"early")
    assert wire.calls == ["drain"]
    wire.feed(b"world" + get("/next"))
    assert wire.calls == ["idle"]
    assert wire.cycles[0].body == b"hello"
    assert wire.current.request.target == b"/next"


def test_rest_that_looks_like_a_request_is_none(wire: Wire) -> None:
    smuggled = get("/smuggled")
    wire.feed(post(len(smuggled)))
    wire.answer()
    wire.feed(smuggled)
    wire.feed(get("/next"))
    assert [cycle.request.target for cycle in wire.cycles] == [b"/", b"/next"]


def test_rest_of_the_largest_size_is_drained(wire: Wire) -> None:
    wire.feed(post(DRAIN_BYTES))
    wire.answer()
    assert wire.sent == plain()
    wire.feed(bytes(DRAIN_BYTES))
    assert wire.calls == ["drain", "idle"]


def test_larger_rest_closes(wire: Wire) -> None:
    wire.feed(post(DRAIN_BYTES + 1))
    wire.answer(status=413)
    assert wire.statuses == [413]
    assert wire.calls == ["linger"]
    wire.feed(bytes(DRAIN_BYTES + 1) + get())
    assert len(wire.cycles) == 1
    assert wire.calls == []


def test_chunked_rest_is_drained(wire: Wire) -> None:
    wire.feed(CHUNKED, b"5\r\nhello\r\n")
    wire.answer()
    wire.feed(b"5\r\nworld\r\n0\r\nX: y\r\n\r\n")
    assert wire.calls == ["drain", "idle"]
    assert not wire.mid_head()
    wire.feed(get("/next"))
    assert wire.current.request.target == b"/next"


def test_what_was_drained_does_not_count_for_the_next(wire: Wire) -> None:
    wire.feed(post(DRAIN_BYTES))
    wire.answer()
    wire.feed(bytes(DRAIN_BYTES))
    wire.feed(post(BUFFER) + bytes(BUFFER))
    assert wire.reading()


def test_chunked_rest_turns_out_to_be_large(wire: Wire) -> None:
    wire.feed(CHUNKED)
    wire.answer()
    assert wire.sent == plain()
    for _ in range(20):
        wire.feed(b"1000\r\n" + bytes(0x1000) + b"\r\n")
    assert wire.calls == ["drain", "linger"]


def test_rest_that_is_broken(wire: Wire) -> None:
    wire.feed(CHUNKED)
    wire.answer()
    assert wire.sent == plain()
    wire.feed(b"what?\r\n")
    assert len(wire.refusals) == 1
    assert wire.sent == b""  # it has its response
    assert wire.calls == ["drain", "linger"]


def test_early_response_with_close(wire: Wire) -> None:
    wire.feed(post(10, "Connection: close"))
    wire.answer()
    assert wire.sent == plain(b"", "connection: close")
    assert wire.calls == ["linger"]


def test_early_response_that_is_long(wire: Wire) -> None:
    """The head came early, its end when the request was complete."""
    wire.feed(post(10))
    wire.begin(body=b"a")
    wire.feed(b"0123456789")
    wire.go_on(b"", more=False)
    assert wire.calls == ["idle"]
    wire.feed(get("/next"))
    assert wire.current.request.target == b"/next"


def test_unread_body_that_has_arrived(wire: Wire) -> None:
    """The cycle gives the credit back: reading goes on."""
    wire.feed(post(BUFFER + 10) + bytes(BUFFER + 10))
    assert not wire.reading()
    wire.engine.consumed(BUFFER + 10)
    wire.answer()
    assert wire.reading()
    assert wire.calls == ["idle"]


def test_unread_body_that_is_arriving(wire: Wire) -> None:
    wire.feed(post(BUFFER + 20) + bytes(BUFFER + 10))
    assert not wire.reading()
    wire.engine.consumed(BUFFER + 10)
    wire.answer()
    assert wire.reading()
    wire.feed(bytes(10) + get("/next"))
    assert wire.current.request.target == b"/next"


def test_chunk_framing_of_a_body_that_nobody_wants(wire: Wire) -> None:
    """However it is cut, the next request begins behind it."""
    rest = b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for i in range(len(rest)):
        wire.feed(CHUNKED + rest[:i])
        wire.answer()
        wire.feed(rest[i:] + get("/next"))
        wire.answer()
    assert wire.statuses == [200, 200] * len(rest)


# Trailers, files


def test_trailers(wire: Wire) -> None:
    wire.feed(get("/", "TE: trailers") + get("/next"))
    wire.begin(body=b"a")
    assert wire.sent.endswith(b"1\r\na\r\n")
    wire.engine.trailers([(b"x-sum", b"1"), (b"x-more", b"2")])
    assert wire.sent == b"0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n"
    assert wire.current.request.target == b"/next"


def test_trailers_that_must_not_be(wire: Wire) -> None:
    wire.feed(get("/", "TE: trailers"))
    wire.begin()
    assert wire.sent
    for name, value in ((b"content-length", b"5"), (b"x", b"a\r\nb"), (b"x y", b"z")):
        with pytest.raises(AppError):
            wire.engine.trailers([(b"x", b"y"), (name, value)])
        assert wire.sent == b""
    wire.go_on(b"", more=False)
    assert wire.sent == b"0\r\n\r\n"


def test_file(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for the connection to send, unless it is framed in chunks."""
    taken: list[tuple[int, int, int]] = []

    def send_file(fd: int, offset: int, count: int) -> int:
        taken.append((fd, offset, count))
        return count

    monkeypatch.setattr(wire.sink, "send_file", send_file)
    wire.feed(get())
    wire.begin(200, [(b"content-length", b"5")])
    assert wire.engine.send_file(3, 10, 5) == 5
    wire.go_on(b"", more=False)
    assert wire.calls == ["idle"]
    wire.feed(get())
    wire.begin()
    assert wire.engine.send_file(3, 10, 5) is None
    assert taken == [(3, 10, 5)]


# How much of a body came


def test_body_progress(wire: Wire) -> None:
    assert wire.engine.body_progress() is None
    wire.feed(post(10) + b"abc")
    assert wire.engine.body_progress() == 3
    wire.feed(b"defghij")
    assert wire.engine.body_progress() is None
    wire.answer()
    assert wire.engine.body_progress() is None


def test_no_body_is_due_before_it_is_asked_for(wire: Wire) -> None:
    wire.feed(EXPECT)
    assert wire.engine.body_progress() is None
    wire.engine.inform(100, [])
    assert wire.engine.body_progress() is None  # for some of the time
    assert wire.engine.body_progress() == 0
