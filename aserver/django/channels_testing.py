"""`channels.testing` where Daphne is not installed, which it imports: aserver stands in for it."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from .child_state import renew_executor
from .live_server_process import LiveServerProcess


def import_channels_testing() -> None:
    """Import `channels.testing`, which imports Daphne, where Daphne is not installed.

    Call it before that is first imported: in `conftest.py`, or the `__init__.py` of the tests. The
    server of its `ChannelsLiveServerTestCase` is aserver then. Where Daphne is installed, nothing
    is changed.
    """
    if "daphne" not in sys.modules and find_spec("daphne") is None:
        stand_in = ModuleType("daphne.testing")
        vars(stand_in)["DaphneProcess"] = _ChannelsProcess
        sys.modules.update({"daphne": ModuleType("daphne"), "daphne.testing": stand_in})
        try:
            import_module("channels.testing")
        finally:
            del sys.modules["daphne"], sys.modules["daphne.testing"]


class _ChannelsProcess(LiveServerProcess):
    """What it is given comes from `channels.testing`: a spawned child must import that, too."""

    def run(self) -> None:
        import_channels_testing()
        renew_executor()
        super().run()
