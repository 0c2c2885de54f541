"""What the tests of the engines have in common."""

import pytest

from tests.engines.wire import Wire


@pytest.fixture
def wire(parser: str) -> Wire:
    """An HTTP/1 engine, with each parser."""
    return Wire(parser)
