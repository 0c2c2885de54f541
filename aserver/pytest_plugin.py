"""A pytest fixture; installed with aserver, loaded by pytest itself.

def test_page(aserver):
    server = aserver("mysite.asgi:application")
    assert httpx.get(server.url).status_code == 200
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


@pytest.fixture
def aserver() -> Iterator[Callable[..., Any]]:
    """Start servers in threads: `aserver(app, **options)`; they stop with the test."""
    # Not at the top: pytest loads this module in every project that has aserver installed.
    from .testing import serve

    with ExitStack() as stack:

        def start(app: Any, **options: Any) -> serve:
            return stack.enter_context(serve(app, **options))

        yield start
