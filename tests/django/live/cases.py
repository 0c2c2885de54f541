"""The same tests with the server in a process and in a thread."""

import json
import os
from typing import Any
from urllib.request import urlopen

from django.contrib.auth.models import User
from django.db import connections
from django.test import override_settings
from websockets.sync.client import connect

from aserver.django.testing import ChannelsLiveServerTestCase, LiveServerTestCase


class Asking:
    """What a page, a WebSocket and a static file say."""

    live_server_url: str
    live_server_ws_url: str
    word = "as it is in the file"

    def ask(self, query: str = "") -> dict[str, Any]:
        with urlopen(f"{self.live_server_url}/users{query}", timeout=10) as page:
            assert page.headers["server"] == "live"
            answer = json.load(page)
        assert isinstance(answer, dict)
        assert answer["word"] == self.word
        return answer

    def test_the_server_sees_what_the_test_writes(self) -> None:
        User.objects.create(username="ann")
        assert self.ask()["users"] == ["ann"]
        with connect(self.live_server_ws_url, origin=None) as websocket:
            assert websocket.recv(10) == "ann"

    def test_the_test_sees_what_the_server_writes(self) -> None:
        self.ask("?new=bob")
        assert [user.username for user in User.objects.all()] == ["bob"]

    def test_static_files(self) -> None:
        with urlopen(f"{self.live_server_url}/static/cases.py", timeout=10) as page:
            assert page.read().startswith(b'"""The same tests')


class Process(Asking, ChannelsLiveServerTestCase):
    def test_it_is_a_process(self) -> None:
        assert self.ask()["pid"] == self._server_process.pid != os.getpid()


@override_settings(WORD="changed")
class ChangedProcess(Asking, ChannelsLiveServerTestCase):
    word = "changed"


class Thread(Asking, LiveServerTestCase):
    def test_it_is_a_thread(self) -> None:
        assert self.ask()["pid"] == os.getpid()

    def test_a_connection_to_a_database_in_memory_is_shared(self) -> None:
        own = connections["default"]
        assert (self.ask()["connection"] == id(own)) == own.is_in_memory_db()


@override_settings(WORD="changed")
class ChangedThread(Asking, LiveServerTestCase):
    word = "changed"
