"""A browser at the live server."""

import os

from django.contrib.auth.models import User
from playwright.sync_api import sync_playwright

from aserver.django.testing import ChannelsLiveServerTestCase

ASK = """url => new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.onmessage = event => resolve(event.data);
    socket.onerror = reject;
})"""


class Browser(ChannelsLiveServerTestCase):
    def test_page_and_websocket(self) -> None:
        User.objects.create(username="ann")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ["CHROMIUM"], args=["--no-sandbox", "--no-proxy-server"]
            )
            page = browser.new_page()
            page.goto(f"{self.live_server_url}/users")
            assert '"users": ["ann"]' in page.content()
            assert page.evaluate(ASK, self.live_server_ws_url) == "ann"
            # Its WebSocket is still open, and the browser is gone before the server is.
            browser.close()
