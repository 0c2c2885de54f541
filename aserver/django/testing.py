"""Live servers for Django's tests: WebSockets and all, for Selenium, Playwright and the like.

`LiveServerTestCase` serves in a thread, and is used as Django's own; `ChannelsLiveServerTestCase`
serves in a process, and is used as that of `channels.testing`. Neither needs Channels or Daphne.
Both heed the setting ASERVER, but for addresses and certificates.
"""

from .channels_testing import import_channels_testing
from .live_server import LiveServerTestCase
from .live_server_process import ChannelsLiveServerTestCase

__all__ = ["ChannelsLiveServerTestCase", "LiveServerTestCase", "import_channels_testing"]
