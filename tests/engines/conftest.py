"""What the tests of the engines have in common."""

import pytest

from aserver.engines.ws_frames import NewFrames
from tests.engines.wire import Wire
from tests.fakes import FRAMES


@pytest.fixture
def wire(parser: str) -> Wire:
    """An HTTP/1 engine, with each parser."""
    return Wire(parser)


@pytest.fixture(params=FRAMES)
def new_frames(request: pytest.FixtureRequest) -> NewFrames:
    """Each WebSocket frame engine: what makes one."""
    return FRAMES[request.param]
