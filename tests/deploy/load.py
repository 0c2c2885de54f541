"""Many requests through a real nginx while connections end behind it; what counts is every answer.

    python -m tests.deploy.load gaps 10000      # gaps of about nginx's keep-alive
    python -m tests.deploy.load adverse 10000   # the server's keep-alive is the shorter one
    python -m tests.deploy.load restarts 10     # two servers, one after the other restarted

The tests do the same with fewer.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import signal
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

from tests.deploy.fronts import HOST
from tests.deploy.nginx import RECIPES, Nginx, upstream
from tests.processes import DEADLINE, Process

GET = f"GET /facts HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
POST = f"POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbody".encode()
USERS = 32
APP = "tests.deploy.site:app"
# nginx closes an idle connection to the server after 50 ms, in the place of 60 seconds. Users who
# come at once need as many connections, and it keeps them all for the next time.
SHORTER = {"keepalive 32;": f"keepalive {USERS}; keepalive_timeout 50ms;"}
AROUND = (0.03, 0.07)

Answers = Counter[str]


class User:
    """A client of nginx with one connection, which it keeps as long as nginx does.

    Attributes:
        upstreams: nginx's addresses towards the server, of each answered GET.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.upstreams: set[str] = set()

    async def ask(self, request: bytes) -> str:
        """Send a request and read the whole answer; returns its status."""
        async with asyncio.timeout(DEADLINE):
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._address)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status, *lines = head.decode("latin-1").lower().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines if line)
            body = await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":  # nginx has had a thousand requests on it
            await self.close()
        code = status.split()[1]
        if code == "200" and request is GET:
            self.upstreams.add(str(json.loads(body)["client"]))
        return code

    async def close(self) -> None:
        """Close its connection, if it has one."""
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(ConnectionError):  # nginx may have ended first
                await self._streams[1].wait_closed()
            self._streams = None


async def with_users(
    address: tuple[str, int], count: int, work: Callable[[list[User]], Awaitable[Answers]]
) -> Answers:
    """Let so many users work, and close their connections."""
    users = [User(address) for _ in range(count)]
    try:
        return await work(users)
    finally:
        await asyncio.gather(*(user.close() for user in users))


async def ask_at_gaps(
    address: tuple[str, int],
    requests: int,
    gaps: tuple[float, float],
    users: int = USERS,
) -> tuple[Answers, int]:
    """Users who all ask at once, and again after a random gap.

    So each of nginx's connections to the server is idle for about that gap, every time. Half of the
    requests are POSTs, which nginx sends only once.

    Returns:
        How many answers there were of each status, and how many connections nginx has made.
    """
    chance = random.Random(1)
    connections: set[str] = set()

    async def work(there: list[User]) -> Answers:
        answers: Answers = Counter()
        for number in range(-(-requests // len(there))):
            request = (GET, POST)[number % 2]
            answers.update(await asyncio.gather(*(user.ask(request) for user in there)))
            await asyncio.sleep(chance.uniform(*gaps))
        connections.update(*(user.upstreams for user in there))
        return answers

    return await with_users(address, users, work), len(connections)


async def ask_through(address: tuple[str, int], events: Iterable[Callable[[], None]]) -> Answers:
    """Users who ask without a pause while all this happens, one after the other.

    Returns:
        How many answers there were of each method and status.
    """
    done = asyncio.Event()

    async def go_on(user: User, request: bytes) -> Answers:
        method = request.partition(b" ")[0].decode()
        answers: Answers = Counter()
        while not done.is_set():
            answers[f"{method} {await user.ask(request)}"] += 1
            await asyncio.sleep(0.001)
        return answers

    async def work(there: list[User]) -> Answers:
        asking = [
            asyncio.create_task(go_on(user, (GET, POST)[number % 2]))
            for number, user in enumerate(there)
        ]
        for event in events:
            await asyncio.to_thread(event)
        done.set()
        return sum(await asyncio.gather(*asking), Counter())

    return await with_users(address, 8, work)


class Restarted:
    """A server at a unix socket that is ended and started again, as a deployment does it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = self._start()
        self.url = self._process.url

    def _start(self) -> Process:
        return Process(APP, "-u", str(self._path), "--access-log", "")

    def restart(self) -> None:
        """End it with SIGTERM; when it has ended, start it again, and wait until it serves."""
        with self._process as process:
            process.signal(signal.SIGTERM)
            assert process.exit_code() == 0, process.stderr
        self._process = self._start()
        assert self._process.url == self.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        with self._process:
            pass


@contextlib.contextmanager
def two_servers(directory: Path) -> Iterator[tuple[Nginx, list[Callable[[], None]]]]:
    """The two processes of http2.conf behind its upstream, in cleartext; and their restarts."""
    with (
        Restarted(directory / "first.sock") as first,
        Restarted(directory / "second.sock") as second,
        Nginx(
            "unified.conf",
            directory / "nginx",
            {"server 127.0.0.1:8000;": upstreams(first.url, second.url)},
        ) as nginx,
    ):
        yield nginx, [first.restart, second.restart]


def upstreams(first: str, second: str) -> str:
    """The lines of http2.conf that say where the two are."""
    recipe = (RECIPES / "http2.conf").read_text(encoding="utf-8")
    lines = re.findall(r"^    (server .*;)$", recipe, re.MULTILINE)
    assert len(lines) == 2
    return " ".join(
        re.sub(r"unix:\S+aserver\d\.sock", where, line)
        for line, where in zip(lines, (first, second), strict=True)
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Many requests through nginx.")
    parser.add_argument("what", choices=("gaps", "adverse", "restarts"))
    parser.add_argument("count", type=int, help="requests; of restarts, of each server")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if asked.what == "restarts":
            with two_servers(directory) as (nginx, restarts):
                answers = asyncio.run(ask_through(nginx.address, restarts * asked.count))
            print(dict(answers))  # noqa: T201
            return
        changes, gaps, users, seconds = SHORTER, AROUND, USERS, "75"
        if asked.what == "adverse":
            changes, gaps, users, seconds = (
                {"keepalive 32;": "keepalive 512;"},
                (0.9, 2.1),
                500,
                "1",
            )
        with (
            Process(APP, "--access-log", "", "--keep-alive", seconds) as server,
            Nginx("unified.conf", directory, changes, server=upstream(server)) as nginx,
        ):
            answers, made = asyncio.run(ask_at_gaps(nginx.address, asked.count, gaps, users))
        print(dict(answers), "over", made, "connections")  # noqa: T201


if __name__ == "__main__":
    main()
