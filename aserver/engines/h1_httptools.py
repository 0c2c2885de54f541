"""The httptools parser (llhttp): field lines to fields. Parsing only."""

from httptools import HttpParserError, HttpResponseParser

from ..types import Headers, ProtocolError

# llhttp takes a message's end for the end of its body, and would wait for that. The one message
# that ends with its head whatever its fields say is a response that cannot have a body. What the
# request line says, and how the body is framed, is for the guard alone.
_BODILESS = b"HTTP/1.1 304 Not Modified\r\n"


class HttpToolsParser:
    """One for all connections of a worker: it has nothing left over between two heads."""

    def __init__(self) -> None:
        self._headers: Headers = []
        self._parser = HttpResponseParser(self)

    def parse(self, block: bytes) -> Headers:
        """The fields of a head."""
        self._headers.clear()
        try:
            self._parser.feed_data(_BODILESS + block)
        except HttpParserError:
            self._parse_anew(block)
        return self._headers.copy()

    def _parse_anew(self, block: bytes) -> None:
        # llhttp takes no further message after `Connection: close`. (With `lenient_keep_alive` it
        # does, but then adds one Content-Length to another, until they are too large for it, and
        # refuses who has done nothing.)
        self._parser = HttpResponseParser(self)
        self._headers.clear()
        try:
            self._parser.feed_data(_BODILESS + block)
        except HttpParserError as error:
            self._parser = HttpResponseParser(self)
            raise ProtocolError(400, f"a header is not valid: {error}") from None

    def on_header(self, name: bytes, value: bytes) -> None:
        """From httptools, which leaves the white space behind a value (RFC 9110 section 5.5)."""
        self._headers.append((name.lower(), value.rstrip(b" \t")))
