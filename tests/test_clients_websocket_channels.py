"""Channels: however a client leaves, its consumer hears of it, once, and nothing is in the log."""

import random
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.processes import Process, get, read_all, wait_until
from tests.ws_clients import CLOSE, TEXT, Peer, close_frame, frame, handshake, reset

APP = "tests.ws_channels:app"
# Ways to leave: the last bytes, and the code that they make.
WAYS = {
    "closes": (close_frame(1001), 1001),
    "errs": (frame(3), 1002),
    "ends": (b"", 1006),
    "resets": (b"", 1006),
}


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Process]:
    options = ["--loop", request.param, "--no-access-log", "--verbosity", "2"]
    with Process(APP, *options) as server:
        ask(server, "/tell")
        yield server
        assert "Traceback" not in server.stderr


def ask(server: Process, path: str) -> None:
    with server.connect() as sock:
        sock.sendall(get(path, "Connection: close"))
        assert read_all(sock).startswith(b"HTTP/1.1 200 ")


def notes(server: Process, ending: str) -> Counter[str]:
    """Who has noted what ends so, and how often."""
    return Counter(re.findall(rf"^note: (.*) {ending}$", server.stderr, re.MULTILINE))


def test_consumer_hears_of_an_end_when_it_is_done_with_its_work(server: Process) -> None:
    rest = server.open_files
    told = []
    for way, (last, _) in WAYS.items():
        for place in ("connect", "receive"):
            # The message comes with the handshake: who asks for it never has to wait.
            early = frame(TEXT, b"work") if place == "receive" else b""
            client = Peer(server.connect(), f"/{place}?{way}-in-{place}", early=early)
            server.wait_for(f"note: {way}-in-{place} is at work")
            client.sock.sendall(last)
            if last:
                told.append(client)
            elif way == "resets":
                client.reset()
            else:
                client.sock.close()
    for client in told:
        with client:
            assert client.read_close()[0] in (1001, 1002)
    wait_until(lambda: server.open_files == rest)  # the server knows
    ask(server, "/go_on")
    for way, (_, code) in WAYS.items():
        server.wait_for(f"note: {way}-in-connect disconnect {code}")
        server.wait_for(f"note: {way}-in-receive disconnect {code}")
    assert set(notes(server, r"disconnect \d+").values()) == {1}
    assert notes(server, "has worked") == {f"{way}-in-receive": 1 for way in WAYS}


def test_consumer_that_accepts_too_late_hears_that_nobody_is_there(server: Process) -> None:
    rest = server.open_files
    sock = server.connect()
    sock.sendall(handshake("/before?early"))
    server.wait_for("note: early is at work")
    reset(sock)
    wait_until(lambda: server.open_files == rest)
    ask(server, "/go_on")
    server.wait_for("note: early disconnect 1006")
    assert notes(server, r"disconnect \d+") == {"early": 1}


@pytest.mark.parametrize("path", ["/member", "/thread"])
def test_members_of_a_group_that_leave_all_the_time_hear_of_it_once_each(
    server: Process, path: str
) -> None:
    chance = random.Random(1)
    peers = []
    for number in range(100):
        # Some have something to say at once; to all of them is always something said.
        early = frame(TEXT, b"hi") * chance.randrange(3)
        peers.append((number, Peer(server.connect(), f"{path}?{number}", early=early)))
        if number % 10 == 9:
            ask(server, "/tell")
        while peers and chance.random() < 0.6:
            leave(*peers.pop(chance.randrange(len(peers))), chance)
    for number, peer in peers:
        leave(number, peer, chance)
    wait_until(lambda: notes(server, r"disconnect \d+").total() >= 100)
    everybody = dict.fromkeys(map(str, range(100)), 1)
    assert notes(server, "connect") == everybody
    assert notes(server, r"disconnect \d+") == everybody


def leave(number: int, peer: Peer, chance: random.Random) -> None:
    """Leave in one of the ways."""
    way = chance.choice(list(WAYS))
    with peer:
        peer.sock.sendall(WAYS[way][0])
        if WAYS[way][0]:
            while peer.read()[0] != CLOSE:
                pass
        elif way == "resets":
            peer.reset()
