"""PROXY headers as bytes, of both versions: cut anywhere, and to the letter."""

import ipaddress
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserver.engines.proxy_protocol import Header, Preamble, crc32c, header_size, parse_header
from aserver.types import ProtocolError

MARK = b"\r\n\r\n\x00\r\nQUIT\n"
TCP4, TCP6, UNIX, UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
ENDS = (("203.0.113.9", 5555), ("192.0.2.1", 443))


def v2(body: bytes, family: int = TCP4, command: int = 0x21) -> bytes:
    return MARK + struct.pack("!BBH", command, family, len(body)) + body


def ends(client: tuple[str, int], server: tuple[str, int]) -> bytes:
    hosts = [ipaddress.ip_address(host).packed for host, _ in (client, server)]
    return b"".join(hosts) + struct.pack("!HH", client[1], server[1])


def tlv(type_: int, value: bytes) -> bytes:
    return struct.pack("!BH", type_, len(value)) + value


def with_sum(tlvs: bytes = b"", change: int = 0) -> bytes:
    """A header with its checksum, right or wrong, in front of other values."""
    zeroed = v2(ends(*ENDS) + tlv(0x03, bytes(4)) + tlvs)
    return v2(ends(*ENDS) + tlv(0x03, struct.pack("!I", crc32c(zeroed) ^ change)) + tlvs)


class Told:
    """A connection that keeps what it is told."""

    def __init__(self) -> None:
        self.found: tuple[Header, bytes] | None = None
        self.calls: list[str] = []

    def on_preamble(self, header: Header, data: bytes) -> None:
        assert self.found is None
        self.found = header, data

    def abort(self) -> None:
        self.calls.append("abort")


GOOD = [
    (b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 443\r\n", Header(1, *ENDS)),
    (
        b"PROXY TCP4 203.0.113.9 192.0.2.1 0 65535\r\n",
        Header(1, (ENDS[0][0], 0), ("192.0.2.1", 65535)),
    ),
    (b"PROXY TCP6 2001:DB8::1 ::1 5555 443\r\n", Header(1, ("2001:db8::1", 5555), ("::1", 443))),
    (
        b"PROXY TCP6 ::ffff:203.0.113.9 ::ffff:192.0.2.1 5555 443\r\n",
        Header(1, *ENDS),
    ),
    (b"PROXY UNKNOWN\r\n", Header(1, is_local=True)),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Header(1, is_local=True)),
    (v2(ends(*ENDS)), Header(2, *ENDS)),
    (
        v2(ends(("2001:db8::1", 1), ("::ffff:192.0.2.1", 2)), TCP6),
        Header(2, ("2001:db8::1", 1), ("192.0.2.1", 2)),
    ),
    # The proxy itself, whatever else it says.
    (v2(b"", UNSPECIFIED, 0x20), Header(2, is_local=True)),
    (v2(ends(*ENDS), TCP4, 0x20), Header(2, is_local=True)),
    (v2(b"nonsense", 0xFF, 0x20), Header(2, is_local=True)),
    # Clients without an address.
    (v2(b"", UNSPECIFIED), Header(2, is_local=True)),
    (v2(tlv(4, b""), UNSPECIFIED), Header(2, is_local=True, tlvs=((4, b""),))),
    (v2(bytes(216), UNIX), Header(2, is_local=True)),
    (v2(bytes(216) + tlv(2, b"a"), UNIX), Header(2, is_local=True, tlvs=((2, b"a"),))),
    # Values behind the addresses.
    (
        v2(ends(*ENDS) + tlv(1, b"h2") + tlv(2, b"example.org") + tlv(4, b"")),
        Header(2, *ENDS, tlvs=((1, b"h2"), (2, b"example.org"), (4, b""))),
    ),
    (
        v2(ends(*ENDS) + tlv(0x20, b"\x01\0\0\0\0")),
        Header(2, *ENDS, is_secure=True, tlvs=((0x20, b"\x01\0\0\0\0"),)),
    ),
    # PP2_CLIENT_SSL is one bit of three.
    (
        v2(ends(*ENDS) + tlv(0x20, b"\x06\0\0\0\0")),
        Header(2, *ENDS, tlvs=((0x20, b"\x06\0\0\0\0"),)),
    ),
    (v2(ends(*ENDS) + tlv(0x20, b"")), Header(2, *ENDS, tlvs=((0x20, b""),))),
    (v2(ends(*ENDS) + tlv(0x20, b"\x01\0\0\0")), Header(2, *ENDS, tlvs=((0x20, b"\x01\0\0\0"),))),
    (v2(ends(*ENDS) + tlv(4, bytes(65535 - 15))), Header(2, *ENDS, tlvs=((4, bytes(65520)),))),
]


@pytest.mark.parametrize(("data", "header"), GOOD)
def test_what_it_says(data: bytes, header: Header) -> None:
    assert header_size(data) == len(data)
    assert parse_header(data) == header


@pytest.mark.parametrize(("data", "header"), [each for each in GOOD if len(each[0]) < 500])
def test_cut_anywhere(data: bytes, header: Header) -> None:
    for cut in range(len(data) + 1):
        told = Told()
        preamble = Preamble(told)
        for piece in filter(None, (data[:cut], data[cut:] + b"\x16\x03rest")):
            assert told.found is None or not told.found[1]
            preamble.feed(piece)
            if told.found is None:
                assert preamble.mid_head
            elif cut == len(data):
                break
        assert told.found is not None
        assert told.found == (header, b"" if cut == len(data) else b"\x16\x03rest")


@pytest.mark.parametrize(("data", "header"), [each for each in GOOD if len(each[0]) < 500])
def test_byte_by_byte(data: bytes, header: Header) -> None:
    told = Told()
    preamble = Preamble(told)
    for number in range(len(data)):
        assert told.found is None
        preamble.feed(data[number : number + 1])
    assert told.found == (header, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01",
        b"PROXX",
        b"proxy TCP4",
        b"\r\n\r\n\0\r\nQUIX",
        b"\r\n\r\n\r\n",
        b" PROXY",
    ],
)
def test_what_is_no_beginning(data: bytes) -> None:
    """It is known as soon as it can be: of nothing longer than this."""
    with pytest.raises(ProtocolError, match="does not begin with a PROXY header"):
        header_size(data)
    preamble = Preamble(Told())
    for number in range(len(data) - 1):
        try:
            preamble.feed(data[number : number + 1])
        except ProtocolError:
            return
    with pytest.raises(ProtocolError):
        preamble.feed(data[-1:])


@pytest.mark.parametrize(
    "line",
    [
        b"TCP4 203.0.113.9 192.0.2.1 5555\r\n",
        b"TCP4 203.0.113.9 192.0.2.1 5555 443 \r\n",
        b"TCP4  203.0.113.9 192.0.2.1 5555 443\r\n",
        b"TCP4 203.0.113.9 192.0.2.1 5555 443\n",
        b"TCP4 203.0.113.9 192.0.2.1 05555 443\r\n",
        b"TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
        b"TCP4 203.0.113.9 192.0.2.1 5555 65536\r\n",
        b"TCP6 2001:db8::1 ::1 5555 99999\r\n",
        b"TCP4 203.0.113.9 192.0.2.1 -1 443\r\n",
        b"TCP4 203.0.113.9 192.0.2.1 +1 443\r\n",
        b"TCP4 203.0.113.09 192.0.2.1 1 443\r\n",
        b"TCP4 203.0.113 192.0.2.1 1 443\r\n",
        b"TCP4 ::1 ::1 1 443\r\n",
        b"TCP6 192.0.2.1 192.0.2.1 1 443\r\n",
        b"TCP6 fe80::1%eth0 ::1 1 443\r\n",
        b"TCP5 192.0.2.1 192.0.2.1 1 443\r\n",
        b"UDP4 192.0.2.1 192.0.2.1 1 443\r\n",
        b"UNKNOWNX\r\n",
        b"UNKNOWN\x00\r\n",
        b"UNKNOWN \x80\r\n",
        b"\r\n",
        b"unknown\r\n",
    ],
)
def test_version_1_to_the_letter(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="the PROXY header is malformed"):
        parse_header(b"PROXY " + line)


def test_a_line_ends_within_107_bytes() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * (107 - 16) + b"\r\n"
    assert header_size(longest) == len(longest) == 107
    assert header_size(longest[:106]) is None
    longer = longest.replace(b"\r", b"x\r")
    for endless in (longest[:105] + b"xx", b"PROXY " + bytes(200), longer):
        with pytest.raises(ProtocolError, match="malformed: its line does not end"):
            header_size(endless)
    preamble = Preamble(Told())
    preamble.feed(longer[:106])
    with pytest.raises(ProtocolError, match="malformed: its line does not end"):
        preamble.feed(longer[106:])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (v2(ends(*ENDS), command=0x11), "version or command"),
        (v2(ends(*ENDS), command=0x31), "version or command"),
        (v2(ends(*ENDS), command=0x22), "version or command"),
        (v2(ends(*ENDS), command=0x2F), "version or command"),
        (v2(ends(*ENDS), family=0x12), "addresses"),
        (v2(ends(*ENDS), family=0x22), "addresses"),
        (v2(ends(*ENDS), family=0x41), "addresses"),
        (v2(ends(*ENDS), family=0x01), "addresses"),
        (v2(ends(*ENDS), family=0x10), "addresses"),
        (v2(ends(*ENDS)[:-1]), "addresses"),
        (v2(ends(*ENDS), family=TCP6), "addresses"),
        (v2(bytes(215), family=UNIX), "addresses"),
        (v2(b""), "addresses"),
        (v2(ends(*ENDS) + b"\x01"), "a value behind"),
        (v2(ends(*ENDS) + b"\x01\x00"), "a value behind"),
        (v2(ends(*ENDS) + b"\x01\x00\x01"), "a value behind"),
        (v2(ends(*ENDS) + tlv(1, b"a") + b"\x01\xff\xff"), "a value behind"),
        (v2(ends(*ENDS) + tlv(3, b"")), "checksum"),
        (v2(ends(*ENDS) + tlv(3, b"abc")), "checksum"),
        (v2(ends(*ENDS) + tlv(3, b"abcd")), "checksum"),
        (with_sum(change=1), "checksum"),
        (with_sum(tlv(3, b"abcd")), "checksum"),
    ],
)
def test_version_2_to_the_letter(data: bytes, what: str) -> None:
    with pytest.raises(ProtocolError, match=f"the PROXY header is malformed: its {what}|: {what}"):
        parse_header(data)


@pytest.mark.parametrize("tlvs", [b"", tlv(2, b"a"), tlv(4, b"\x03\0\4abcd")])
def test_checksums(tlvs: bytes) -> None:
    header = parse_header(with_sum(tlvs))
    assert (header.client, header.server) == ENDS
    assert header.tlvs[0][0] == 3
    broken = bytearray(with_sum(tlvs))
    broken[16] ^= 1  # an address
    with pytest.raises(ProtocolError, match="checksum"):
        parse_header(bytes(broken))


@pytest.mark.parametrize(("family", "size"), [(UNSPECIFIED, 0), (TCP6, 36), (UNIX, 216)])
def test_checksums_of_any_family(family: int, size: int) -> None:
    ends = bytes(range(size))
    sum_ = struct.pack("!I", crc32c(v2(ends + tlv(0x03, bytes(4)), family)))
    assert parse_header(v2(ends + tlv(0x03, sum_), family)).tlvs == ((0x03, sum_),)
    with pytest.raises(ProtocolError, match="checksum"):
        parse_header(v2(ends + tlv(0x03, sum_[::-1]), family))


def test_a_checksum_has_four_bytes() -> None:
    """Nor are five one if they are the same number, and right."""

    def body(sum_: int, word: int) -> bytes:
        five = sum_.to_bytes(5, "big")
        return ends(*ENDS) + tlv(4, struct.pack("!H", word)) + tlv(0x03, five)

    for word in range(4096):
        # What counts as zeros are the first four of them: the last takes part in its own sum.
        sum_ = crc32c(v2(body(word & 0xFF, word)))
        if sum_ & 0xFF == word & 0xFF:
            with pytest.raises(ProtocolError, match="checksum"):
                parse_header(v2(body(sum_, word)))
            return
    raise AssertionError("there is none")


def test_crc32c() -> None:
    """RFC 3720 appendix B.4, and the usual check."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(st.binary(max_size=300))
def test_nothing_but_a_protocol_error_comes_of_anything(rest: bytes) -> None:
    for data in (rest, b"PROXY " + rest, MARK + rest, MARK + b"\x21\x11" + rest, v2(rest)):
        told = Told()
        with suppress(ProtocolError):
            Preamble(told).feed(data)
        if told.found is not None:
            assert (told.found[0].client is None) == told.found[0].is_local


def test_it_answers_nobody() -> None:
    told = Told()
    preamble = Preamble(told)
    preamble.feed(b"PROX")
    assert preamble.feed_eof() is False
    assert preamble.body_progress() is None
    for quiet in (preamble.resume, preamble.hang_up, preamble.drain, preamble.lost):
        quiet()
    assert told.calls == []
    preamble.refuse(ProtocolError(400, "x"))
    assert told.calls == ["abort"]
    assert repr(preamble) == "<Preamble held=4>"
