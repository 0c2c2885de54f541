"""The client that checks over TLS and over HTTP/2: one connection, no load."""

import asyncio
import ssl

import httpx

from benchmarks.cases import Case, Exchange
from benchmarks.failures import BenchmarkFailure
from benchmarks.servers import HOST

_ANSWER_SECONDS = 5.0


class HttpxChecker:
    """Speaks the case's protocol and no other."""

    def __init__(self, case: Case, port: int, trust: ssl.SSLContext) -> None:
        self._case = case
        self._url = f"{'https' if case.wire.encrypted else 'http'}://{HOST}:{port}/"
        self._trust = trust

    def ask(self) -> None:
        asyncio.run(self._conversation(1))

    def probe(self) -> None:
        """Once, then as many times at once as under load."""
        try:
            asyncio.run(self._conversation(1, self._case.streams))
        except OSError as error:
            raise BenchmarkFailure(f"probe: {error}") from error

    async def _conversation(self, *turns: int) -> None:
        multiplexed = self._case.wire.multiplexed
        connections: set[object] = set()
        async with httpx.AsyncClient(
            http1=not multiplexed,
            http2=multiplexed,
            verify=self._trust,
            trust_env=False,
            timeout=_ANSWER_SECONDS,
        ) as client:
            for number in turns:
                asked = (self._answer(client) for _ in range(number))
                connections.update(await asyncio.gather(*asked))
        if len(connections) > 1:
            raise BenchmarkFailure("probe: the connection is not kept")

    async def _answer(self, client: httpx.AsyncClient) -> object:
        """Check one answer; return the client's end of the connection that it came on."""
        exchange = self._case.exchange
        try:
            async with client.stream(
                exchange.method, self._url, content=exchange.body, headers=list(exchange.headers)
            ) as response:
                # Now: at the end of the answer the connection may be closed.
                came_on = response.extensions["network_stream"].get_extra_info("client_addr")
                await response.aread()
        except httpx.TransportError as error:
            raise ConnectionError(repr(error)) from error
        version = "HTTP/2" if self._case.wire.multiplexed else "HTTP/1.1"
        check(response, exchange, version)
        return came_on


def check(response: httpx.Response, exchange: Exchange, version: str) -> None:
    """A wrong status, body or version is a failure, not a slow success."""
    if response.http_version != version:
        raise BenchmarkFailure(f"probe: {response.http_version} in place of {version}")
    if response.status_code != 200:
        raise BenchmarkFailure(f"probe: status {response.status_code} in place of 200")
    if response.content != exchange.expected:
        size = f"{len(response.content)} bytes, expected {len(exchange.expected)}"
        raise BenchmarkFailure(f"probe: wrong body ({size})")
