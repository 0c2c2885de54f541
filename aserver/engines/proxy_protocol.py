"""The PROXY protocol, versions 1 and 2: for whom a proxy connects, said before anything else.

Its description is HAProxy's doc/proxy-protocol.txt. As an engine, it takes a connection's first
bytes; as it says there, whatever is not to the letter ends the connection without an answer.
"""

import ipaddress
import re
from enum import IntEnum
from typing import NamedTuple, Protocol

from ..hosts import spelled
from ..types import Address, ProtocolError

_V1_MARK = b"PROXY "
_V1_MAX_SIZE = 107  # its line end included
_V2_MARK = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED_SIZE = 16
_PORT = rb"(0|[1-9][0-9]{0,4})"
_is_v1 = re.compile(
    rb"PROXY (?:(UNKNOWN)(?: [ -~]*)?|(TCP[46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) "
    rb"%b %b)\r\n" % (_PORT, _PORT)
).fullmatch
_LOCAL, _PROXY = 0, 1  # commands
_TCP4, _TCP6 = 0x11, 0x21
# What the addresses of each family take, those for datagrams left out. The first is for clients
# that the proxy has no address of, the last for unix sockets, of which nobody has any use here.
_ADDRESSES_SIZES = {0x00: 0, _TCP4: 12, _TCP6: 36, 0x31: 216}


class Tlv(IntEnum):
    """Types of what may stand behind the addresses, as far as they mean anything here."""

    CRC32C = 0x03
    SSL = 0x20


class Header(NamedTuple):
    """What a proxy has said.

    Attributes:
        version: 1 or 2.
        client: Who has connected to the proxy; None if `is_local`.
        server: The address that the client has connected to.
        is_local: The proxy speaks for itself, as it does to see whether we are there, or for a
            client without an address.
        is_secure: The client has connected with TLS.
        tlvs: Types and values.
    """

    version: int
    client: Address | None = None
    server: Address | None = None
    is_local: bool = False
    is_secure: bool = False
    tlvs: tuple[tuple[int, bytes], ...] = ()


class Proxied(Protocol):
    """The connection, seen from here."""

    def on_preamble(self, header: Header, data: bytes) -> None:
        """This is the header, and these the client's first bytes."""

    def abort(self) -> None:
        """Close at once."""


class Preamble:
    """The engine of a connection until it is known for whom it is."""

    __slots__ = ("_held", "_sink")

    def __init__(self, sink: Proxied) -> None:
        self._sink = sink
        self._held = b""

    def __repr__(self) -> str:
        return f"<Preamble held={len(self._held)}>"

    @property
    def mid_head(self) -> bool:
        """Whether a part of the header has come."""
        return bool(self._held)

    def feed(self, data: bytes) -> None:
        """Take bytes until the header is complete."""
        data = self._held + data
        size = header_size(data)
        if size is None or len(data) < size:
            self._held = data
        else:
            self._sink.on_preamble(parse_header(data[:size]), data[size:])

    def feed_eof(self) -> bool:
        """Nobody is waiting for an answer."""
        return False

    def body_progress(self) -> int | None:
        """There is no body."""
        return None

    def refuse(self, error: ProtocolError) -> None:
        """Who does not speak this protocol would not understand an answer."""
        self._sink.abort()

    def resume(self) -> None:
        """The transport takes bytes again."""

    def hang_up(self) -> None:
        """Nobody is waiting for an answer."""

    def drain(self) -> None:
        """The connection knows."""

    def lost(self) -> None:
        """The connection is gone."""


def header_size(data: bytes) -> int | None:
    """How long the header at the beginning of these bytes is; None: that remains to be seen.

    Raises:
        ProtocolError: They are no beginning of one.
    """
    if data.startswith(_V1_MARK):
        end = data.find(b"\n", 0, _V1_MAX_SIZE)
        if end < 0 and len(data) >= _V1_MAX_SIZE:
            raise _malformed("its line does not end")
        return end + 1 if end >= 0 else None
    if data.startswith(_V2_MARK):
        if len(data) < _V2_FIXED_SIZE:
            return None
        return _V2_FIXED_SIZE + int.from_bytes(data[14:16], "big")
    if _V1_MARK.startswith(data) or _V2_MARK.startswith(data):
        return None
    raise ProtocolError(400, "the connection does not begin with a PROXY header")


def parse_header(data: bytes) -> Header:
    """A whole header.

    Raises:
        ProtocolError: It is not well-formed.
    """
    return _parse_v1(data) if data.startswith(_V1_MARK) else _parse_v2(data)


def _parse_v1(line: bytes) -> Header:
    match = _is_v1(line)
    if match is None:
        raise _malformed("version 1")
    unknown, family, *places = match.groups()
    if unknown:
        return Header(1, is_local=True)
    hosts = [_host(text.decode(), is_v6=family == b"TCP6") for text in places[:2]]
    ports = [int(text) for text in places[2:]]
    if max(ports) > 65535:
        raise _malformed("a port")
    return Header(1, (hosts[0], ports[0]), (hosts[1], ports[1]))


def _host(text: str, *, is_v6: bool) -> str:
    try:
        return spelled(ipaddress.IPv6Address(text) if is_v6 else ipaddress.IPv4Address(text))
    except ValueError:
        raise _malformed("an address") from None


def _parse_v2(data: bytes) -> Header:
    version, command = data[12] >> 4, data[12] & 0x0F
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise _malformed("its version or command")
    if command == _LOCAL:  # whatever else it says does not count
        return Header(2, is_local=True)
    family = data[13]
    addresses_end = _V2_FIXED_SIZE + _ADDRESSES_SIZES.get(family, 0)
    if family not in _ADDRESSES_SIZES or addresses_end > len(data):
        raise _malformed("its addresses")
    tlvs = _read_tlvs(data, addresses_end)
    for position, type_, value in tlvs:
        if type_ == Tlv.CRC32C:
            _check_sum(data, position, value)
    # A byte of flags, of which the first is PP2_CLIENT_SSL, and four of a verdict.
    secure = [value for _, type_, value in tlvs if type_ == Tlv.SSL and len(value) >= 5]
    is_secure = any(value[0] & 1 for value in secure)
    ends = _read_ends(data[_V2_FIXED_SIZE:addresses_end]) if family in (_TCP4, _TCP6) else None
    client, server = ends or (None, None)
    return Header(
        2,
        client,
        server,
        is_local=ends is None,
        is_secure=is_secure,
        tlvs=tuple((type_, value) for _, type_, value in tlvs),
    )


def _read_ends(data: bytes) -> tuple[Address, Address]:
    """Two addresses and two ports."""
    size = len(data) // 2 - 2
    hosts = [spelled(ipaddress.ip_address(data[at : at + size])) for at in (0, size)]
    ports = [int.from_bytes(data[at : at + 2], "big") for at in (2 * size, 2 * size + 2)]
    return (hosts[0], ports[0]), (hosts[1], ports[1])


def _read_tlvs(data: bytes, position: int) -> list[tuple[int, int, bytes]]:
    """A type, a length of two bytes, and a value; and again. Returns also where the values are."""
    found = []
    while position < len(data):
        start = position + 3
        end = start + int.from_bytes(data[position + 1 : start], "big")
        if end > len(data):
            raise _malformed("a value behind its addresses")
        found.append((start, data[position], data[start:end]))
        position = end
    return found


def _check_sum(data: bytes, position: int, value: bytes) -> None:
    """The sum is that of the whole header, with zeros where it stands itself."""
    zeroed = data[:position] + bytes(4) + data[position + 4 :]
    if len(value) != 4 or crc32c(zeroed) != int.from_bytes(value, "big"):
        raise _malformed("its checksum")


def crc32c(data: bytes) -> int:
    """RFC 3720 appendix B.4: Castagnoli's polynomial, reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_OF[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_OF = [_crc_of(byte) for byte in range(256)]


def _malformed(what: str) -> ProtocolError:
    return ProtocolError(400, f"the PROXY header is malformed: {what}")
