"""A TLS client's first message, looked at before OpenSSL gets it (RFC 8446 section 4.1.2).

OpenSSL agrees to groups that take it a tenth of a second of computing, on the word of a client that
computes nothing; and of a name that is no ASCII, Python cannot but complain on standard error. Both
are refused here. All other judgement is OpenSSL's: what cannot be read is passed on to it.
"""

from collections.abc import Iterator

_HANDSHAKE = 22  # the type of a record
_CLIENT_HELLO = 1  # the type of a message
_SERVER_NAME, _KEY_SHARE = 0, 51  # types of extensions
_HOST_NAME = 0

# RFC 7919: Diffie-Hellman in finite fields, with 3072 bits and more. Nobody begins with one of
# these, and everybody has an elliptic curve besides.
_SLOW_GROUPS = range(0x0101, 0x0105)

# As much as OpenSSL takes of a ClientHello.
_MOST_SIZE = 4 + 131_396


class HelloReader:
    """What one client sends until the handshake is complete. It may begin twice (section 4.1.4)."""

    __slots__ = ("_message", "_record")

    def __init__(self) -> None:
        self._record = b""  # of which the end is missing
        self._message = bytearray()

    def feed(self, data: bytes) -> str:
        """Take bytes; returns why they are refused, or nothing."""
        data = self._record + data
        position = 0
        refusal = ""
        while len(data) - position >= 5 and not refusal:
            end = position + 5 + int.from_bytes(data[position + 3 : position + 5], "big")
            if end > len(data):
                break
            if data[position] == _HANDSHAKE:
                self._message += data[position + 5 : end]
                refusal = self._judge()  # what begins next, begins with a record
            position = end
        self._record = data[position:]
        return refusal

    def _judge(self) -> str:
        message = self._message
        if not message:
            return ""
        size = 4 + int.from_bytes(message[1:4], "big")
        if message[0] == _CLIENT_HELLO and len(message) < size <= _MOST_SIZE:
            return ""
        self._message = bytearray()
        if message[0] != _CLIENT_HELLO or size > _MOST_SIZE:
            return ""  # in TLS 1.2 it may be encrypted, and look like anything
        try:
            return _fault(bytes(message[4:size]))
        except IndexError:
            return ""


def _fault(hello: bytes) -> str:
    """What is wrong with a ClientHello. Raises IndexError for one that cannot be read."""
    for kind, content in _extensions(hello):
        if kind == _KEY_SHARE and any(group in _SLOW_GROUPS for group in _groups(content)):
            return "the client asks for a key exchange that takes too long"
        if kind == _SERVER_NAME and not _host_name(content).isascii():
            return "the client asks for a name that is not ASCII"
    return ""


def _extensions(hello: bytes) -> Iterator[tuple[int, bytes]]:
    position = 2 + 32  # version and random
    position += 1 + hello[position]  # session
    position += 2 + _number(hello, position)  # cipher suites
    position += 1 + hello[position]  # compression
    position += 2  # the length of all that follows
    while position < len(hello):
        kind, size = _number(hello, position), _number(hello, position + 2)
        position += 4
        yield kind, hello[position : position + size]
        position += size


def _groups(content: bytes) -> Iterator[int]:
    """Those that a key share is there for (section 4.2.8)."""
    position = 2
    while position + 4 <= len(content):
        yield _number(content, position)
        position += 4 + _number(content, position + 2)


def _host_name(content: bytes) -> bytes:
    """RFC 6066 section 3: a list, of which one kind of entry was ever defined."""
    if len(content) >= 5 and content[2] == _HOST_NAME:
        return content[5 : 5 + _number(content, 3)]
    return b""


def _number(data: bytes, position: int) -> int:
    return data[position] << 8 | data[position + 1]
