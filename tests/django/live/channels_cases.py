"""The test case of Channels itself, without Daphne."""

from urllib.request import urlopen

from aserver.django.testing import import_channels_testing

import_channels_testing()

from channels.testing import ChannelsLiveServerTestCase, WebsocketCommunicator  # noqa: E402

assert WebsocketCommunicator


class Channels(ChannelsLiveServerTestCase):  # type: ignore[misc]  # Channels has no types
    host = "127.0.0.1"

    def test_the_server_is_ours(self) -> None:
        with urlopen(f"{self.live_server_url}/static/cases.py", timeout=10) as page:
            assert page.headers["server"].startswith("aserver")
