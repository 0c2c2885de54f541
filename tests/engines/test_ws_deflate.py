"""permessage-deflate: every parameter that can be agreed on, and what is never agreed to."""

from collections.abc import Iterator
from itertools import product

import pytest
from wsproto.extensions import PerMessageDeflate

from aserver.engines.ws_deflate import Deflate, DeflateLimits, negotiated
from aserver.engines.ws_handshake import Offer

NAME = b"permessage-deflate"
LIMITS = DeflateLimits(12, 0)
FLAGS = (b"client_no_context_takeover", b"server_no_context_takeover")
WINDOWS = (b"server_max_window_bits", b"client_max_window_bits")
# What stands behind the parameter's name, if it is there at all.
BITS = [None, *(b"%d" % bits for bits in range(8, 16))]


def agree(
    *parameters: tuple[bytes, bytes],
    limits: DeflateLimits = LIMITS,
    name: bytes = b"permessage-deflate",
) -> Deflate | None:
    return negotiated([Offer(name, list(parameters))], limits)


def parameters_of(response: bytes) -> dict[bytes, bytes]:
    """A response's, without a value b""."""
    name, *parameters = response.split(b"; ")
    assert name == NAME
    pairs = [parameter.partition(b"=")[::2] for parameter in parameters]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def combinations() -> Iterator[list[tuple[bytes, bytes]]]:
    """Every offer that RFC 7692 section 7.1 allows."""
    for client_flag, server_flag in product([False, True], repeat=2):
        for server, client in product(BITS, [*BITS, b""]):
            offer = [(FLAGS[0], b"")] * client_flag + [(FLAGS[1], b"")] * server_flag
            offer += [(WINDOWS[0], server)] if server is not None else []
            offer += [(WINDOWS[1], client)] if client is not None else []
            yield offer


@pytest.mark.parametrize("ours", range(9, 16))
def test_every_offer(ours: int) -> None:
    """Section 7.1: what is asked for is promised, and nothing is that was not offered."""
    limits = DeflateLimits(ours, 77)
    agreed = 0
    for offer in combinations():
        deflate = agree(*offer, limits=limits)
        offered = dict(offer)
        if offered.get(WINDOWS[0]) == b"8":
            assert deflate is None  # zlib cannot compress with so little
            continue
        agreed += 1
        assert deflate is not None
        said = parameters_of(deflate.response)
        assert set(said) <= {*offered, WINDOWS[0]}
        # What we do is what we have said.
        assert deflate.outward_reset is (FLAGS[1] in said) is (FLAGS[1] in offered)
        assert deflate.inward_reset is (FLAGS[0] in said) is (FLAGS[0] in offered)
        assert deflate.outward_bits == int(said[WINDOWS[0]])
        assert deflate.outward_bits == min(ours, int(offered.get(WINDOWS[0]) or 15))
        if WINDOWS[1] in offered:
            asked = int(offered[WINDOWS[1]] or 15)
            assert deflate.inward_bits == int(said[WINDOWS[1]]) == min(ours, asked)
        else:
            assert deflate.inward_bits == 15  # it would not understand a limit
        assert deflate.threshold == 77
    assert agreed == 4 * 8 * 10


def test_clients_take_every_response() -> None:
    """wsproto's client finds nothing wrong in it, and reads from it what we mean."""
    for offer in combinations():
        offered, deflate = dict(offer), agree(*offer)
        if deflate is None or offered.get(WINDOWS[1]) == b"8":
            continue  # zlib on its side cannot do that either
        client = PerMessageDeflate(
            client_no_context_takeover=FLAGS[0] in offered,
            server_no_context_takeover=FLAGS[1] in offered,
            client_max_window_bits=int(offered.get(WINDOWS[1]) or 15),
            server_max_window_bits=int(offered.get(WINDOWS[0]) or 15),
        )
        client.finalize(deflate.response.decode())
        assert client.client_no_context_takeover is deflate.inward_reset
        assert client.server_no_context_takeover is deflate.outward_reset
        assert client.client_max_window_bits == deflate.inward_bits
        assert client.server_max_window_bits == deflate.outward_bits


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize(
    "value",
    [
        *(b"0", b"7", b"16", b"08", b"015", b"100", b"9" * 5000),
        *(b"8.0", b"-8", b"+9", b"1_2", b"x", b"1x", "\u0662".encode(), b"\xb2"),
    ],
)
def test_window_that_is_none(name: bytes, value: bytes) -> None:
    assert agree((name, value)) is None


@pytest.mark.parametrize(
    "offer",
    [
        [(WINDOWS[0], b"")],
        [(FLAGS[0], b"1")],
        [(FLAGS[1], b"true")],
        [(b"x", b"")],
        [(b"x", b""), (FLAGS[0], b"")],
        [(b"Server_no_context_takeover", b"")],
        [(FLAGS[0], b""), (FLAGS[0], b"")],
        [(WINDOWS[0], b"10"), (WINDOWS[0], b"10")],
        [(WINDOWS[1], b""), (WINDOWS[1], b"10")],
    ],
)
def test_offer_with_a_wrong_parameter_is_declined(offer: list[tuple[bytes, bytes]]) -> None:
    assert agree(*offer) is None


def test_first_offer_that_can_be_agreed_to() -> None:
    """Section 7.1.3: a client puts what it prefers first."""
    offers = [
        Offer(b"x-other", []),
        Offer(NAME, [(b"unknown", b"")]),
        Offer(NAME, [(WINDOWS[0], b"8")]),
        Offer(NAME, [(FLAGS[1], b""), (WINDOWS[0], b"10")]),
        Offer(NAME, []),
    ]
    deflate = negotiated(offers, LIMITS)
    assert deflate is not None
    assert parameters_of(deflate.response) == {WINDOWS[0]: b"10", FLAGS[1]: b""}


@pytest.mark.parametrize(
    "name", [b"x-webkit-deflate-frame", b"permessage-bzip2", b"Permessage-deflate"]
)
def test_other_extensions_are_not_spoken(name: bytes) -> None:
    assert agree(name=name) is None


def test_nothing_is_agreed_to_without_an_offer() -> None:
    assert negotiated([], LIMITS) is None
