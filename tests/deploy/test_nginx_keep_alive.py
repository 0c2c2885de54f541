"""No request is lost to a connection that ends behind nginx: by its age, or with its server."""

import asyncio
from pathlib import Path

import pytest

from tests.deploy.load import APP, AROUND, SHORTER, ask_at_gaps, ask_through, two_servers
from tests.deploy.nginx import Nginx, upstream
from tests.processes import Process

pytestmark = pytest.mark.services


def test_gaps_around_the_keep_alive_of_nginx(tmp_path: Path) -> None:
    with (
        Process(APP, "--access-log", "") as server,
        Nginx("unified.conf", tmp_path, SHORTER, server=upstream(server)) as nginx,
    ):
        answers, made = asyncio.run(ask_at_gaps(nginx.address, 640, AROUND))
        assert answers == {"200": 640}
        # Some gaps were too long for a connection, and some were not: it is seen by the 320 GETs.
        assert 32 < made < 320
        assert not nginx.problems


def test_one_of_two_servers_is_always_there(tmp_path: Path) -> None:
    """Also for POSTs on connections that nginx has kept, and which it sends only once."""
    with two_servers(tmp_path) as (nginx, restarts):
        answers = asyncio.run(ask_through(nginx.address, restarts))
        assert answers.keys() == {"GET 200", "POST 200"}, answers
        assert min(answers.values()) > 100
