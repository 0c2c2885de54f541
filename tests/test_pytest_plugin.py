"""The pytest fixture, as a project uses it that has nothing but aserver installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import run_python

TESTS = '''
import sys

import httpx


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            print("lifespan", event, file=sys.__stdout__)
            await send({"type": f"lifespan.{event}.complete"})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": scope["root_path"].encode()})


def test_two_servers(aserver):
    first = aserver(app, root_path="/first")
    second = aserver(app, root_path="/second")
    assert httpx.get(first.url).text == "/first"
    assert httpx.get(second.url).text == "/second"


def test_that_fails(aserver):
    """Its server stops all the same."""
    aserver(app)
    raise AssertionError


def test_without():
    assert httpx
'''


def test_servers_start_in_a_test_and_stop_with_it(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(TESTS)
    options = ["-q", "-s", "-W", "error", "-p", "no:asyncio"]
    code, output = run_python("-m", "pytest", *options, cwd=tmp_path)
    assert code == 1, output
    assert "1 failed, 2 passed" in output
    assert output.count("lifespan startup") == output.count("lifespan shutdown") == 3


def test_the_fixture_is_documented(tmp_path: Path) -> None:
    code, output = run_python("-m", "pytest", "--fixtures", cwd=tmp_path)
    assert code == 0, output
    assert "Start servers in threads: `aserver(app, **options)`" in output


def test_here(aserver: Callable[..., Any], loop_name: str) -> None:
    server = aserver("tests.served:app", loop=loop_name)
    assert httpx.get(f"{server.url}/hello").text == "hello"


def test_a_server_that_cannot_start_fails_the_test(aserver: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="there is no module 'nothing_at_all'"):
        aserver("nothing_at_all:app")
