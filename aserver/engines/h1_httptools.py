"""The httptools parser (llhttp): bytes -> `on_head`, `on_body`, `on_end`. Parsing only."""

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from ..types import Headers, ParserEvents, ProtocolError

_FRAMING = (b"content-length", b"transfer-encoding")


class HttpToolsParser:
    """httptools' callbacks, turned into the engine's."""

    __slots__ = (
        "_events",
        "_headers",
        "_held",
        "_parser",
        "_refusal",
        "_target",
        "feed",
        "on_body",
        "on_message_complete",
    )

    def __init__(self, events: ParserEvents) -> None:
        self._events = events
        self._headers: Headers = []
        self._target = b""
        self._held: tuple[bytes, bytes, str, Headers] | None = None
        self._refusal: ProtocolError | None = None
        self.on_body = events.on_body
        self.on_message_complete = events.on_end
        self._parser = _new_parser(self)
        self.feed = self._parser.feed_data

    def recover(self, error: Exception, data: bytes) -> None:
        """Go on behind an upgrade; what else httptools raises means that this is no HTTP/1."""
        if isinstance(error, HttpParserUpgrade):
            # llhttp stops behind a request that asks for another protocol. Nobody has agreed to
            # change it, so what follows is HTTP/1 still (RFC 9110 section 7.8).
            rest = self._resume_body() + data[error.args[0] :]
            if rest:
                try:
                    self.feed(rest)
                except Exception as next_error:
                    self.recover(next_error, rest)
        elif self._refusal is not None:
            error.__context__ = None  # two exceptions that hold each other hold the engine, too
            raise self._refusal
        elif isinstance(error, HttpParserCallbackError) and error.__context__ is not None:
            raise error.__context__
        elif isinstance(error, HttpParserError):
            raise ProtocolError(400, f"not a valid HTTP/1 request: {error}") from None
        else:
            raise error

    def _resume_body(self) -> bytes:
        """Make a parser for the body of a head that is held; returns the bytes that tell it so."""
        if self._held is None:
            return b""
        self._parser = _new_parser(self)
        self.feed = self._parser.feed_data
        framing = [b"%b: %b\r\n" % field for field in self._held[3] if field[0] in _FRAMING]
        return b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing)

    def close(self) -> None:
        """Let go of the engine: the parser holds bound methods of it."""
        del self._events, self._parser, self.feed, self.on_body, self.on_message_complete
        self._refusal = None

    def on_url(self, url: bytes) -> None:
        self._target += url
        if self._headers:
            self._headers = []  # trailers of the request before

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves the white space behind a value; it is no part of it (RFC 9110 section 5.5).
        self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        parser = self._parser
        target = self._target
        headers = self._headers
        self._target = b""
        self._headers = []
        head = (parser.get_method(), target, parser.get_http_version(), headers)
        if self._held is not None:
            head, self._held = self._held, None
        elif parser.should_upgrade() and any(field[0] in _FRAMING for field in headers):
            # httptools makes llhttp skip the body of such a request, and says that it is complete:
            # hold it back until a parser that knows of no upgrade can read the body.
            self._held = head
            return
        try:
            self._events.on_head(*head)
        except ProtocolError as error:
            # httptools would pass it on as the context of its own error, but behind an upgrade that
            # is already taken by the exception being handled.
            self._refusal = error
            raise


def _new_parser(target: HttpToolsParser) -> HttpRequestParser:
    """A parser that leaves it to the engine to say which request is the last of a connection."""
    parser = HttpRequestParser(target)
    parser.set_dangerous_leniencies(lenient_keep_alive=True)
    return parser
