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
        self._renew()

    def _renew(self) -> None:
        self._parser = HttpResponseParser(self)
        # llhttp would take no further message after `Connection: close`.
        self._parser.set_dangerous_leniencies(lenient_keep_alive=True)

    def parse(self, block: bytes) -> Headers:
        """The fields of a head, or of trailers."""
        headers: Headers = []
        self._headers = headers
        try:
            self._parser.feed_data(_BODILESS + block)
        except HttpParserError as error:
            self._renew()
            raise ProtocolError(400, "a header is not valid") from error
        return headers

    def on_header(self, name: bytes, value: bytes) -> None:
        """From httptools. It leaves the white space behind a value (RFC 9110 section 5.5)."""
        self._headers.append((name.lower(), value.rstrip(b" \t")))
