"""The httptools parser (llhttp): bytes -> `on_head`, `on_body`, `on_end`. Parsing only."""

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from ..types import Headers, ParserEvents, ProtocolError


class HttpToolsParser:
    """httptools' callbacks, turned into the engine's."""

    __slots__ = ("_events", "_feed", "_headers", "_parser", "_target", "on_body")

    def __init__(self, events: ParserEvents) -> None:
        self._events = events
        self._headers: Headers = []
        self._target = b""
        self.on_body = events.on_body
        self._parser = HttpRequestParser(self)
        self._feed = self._parser.feed_data

    def feed(self, data: bytes) -> None:
        """Parse bytes. Raises ProtocolError for what is no HTTP/1."""
        try:
            self._feed(data)
        except HttpParserUpgrade as upgrade:
            # llhttp stops behind a request that asks for another protocol. Nobody has agreed to
            # change it, so what follows is HTTP/1 still (RFC 9110 section 7.8).
            rest = data[upgrade.args[0] :]
            if rest:
                self.feed(rest)
        except HttpParserCallbackError as error:
            cause = error.__context__
            raise cause if cause is not None else error from None
        except HttpParserError as error:
            raise ProtocolError(400, f"not a valid HTTP/1 request: {error}") from None

    def close(self) -> None:
        """Let go of the engine: the parser holds bound methods of it."""
        del self._events, self._feed, self._parser, self.on_body

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        target = self._target
        headers = self._headers
        self._target = b""
        self._headers = []
        self._events.on_head(parser.get_method(), target, parser.get_http_version(), headers)

    def on_message_complete(self) -> None:
        if self._headers:
            self._headers = []  # trailers
        self._events.on_end()
