"""Classes whose tests end before their requests do."""

import socket
import sys
import time
from urllib.parse import urlsplit

from aserver.django.testing import LiveServerTestCase
from tests.django.live import asgi


class Asking(LiveServerTestCase):
    """It keeps a connection."""

    connection: socket.socket

    def ask(self, path: str) -> socket.socket:
        url = urlsplit(self.live_server_url)
        connection = socket.create_connection((url.hostname, url.port), timeout=10)
        type(self).connection = connection
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: {url.hostname}\r\n\r\n".encode())
        return connection


class Leaving(Asking):
    """It says how long its end takes, the server's included."""

    @classmethod
    def doClassCleanups(cls) -> None:
        before = time.monotonic()
        super().doClassCleanups()
        sys.stderr.write(f"ended in {time.monotonic() - before:.2f} s\n")
        cls.connection.close()

    def test_a_stream_is_open(self) -> None:
        assert self.ask("/endless").recv(65536)


class Late(Asking):
    """A sync view writes to the database, once there is no test any more."""

    @classmethod
    def doClassCleanups(cls) -> None:
        super().doClassCleanups()
        cls.connection.close()

    def test_a_view_is_at_work(self) -> None:
        self.ask("/late")
        assert asgi.at_work.wait(10)
