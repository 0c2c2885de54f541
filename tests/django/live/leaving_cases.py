"""A class whose tests end before their requests do."""

import socket
import sys
import time
from urllib.parse import urlsplit

from aserver.django.testing import LiveServerTestCase


class Leaving(LiveServerTestCase):
    """It says how long its end takes, the server's included."""

    connection: socket.socket

    @classmethod
    def doClassCleanups(cls) -> None:
        before = time.monotonic()
        super().doClassCleanups()
        sys.stderr.write(f"ended in {time.monotonic() - before:.2f} s\n")
        cls.connection.close()

    def test_a_stream_is_open(self) -> None:
        url = urlsplit(self.live_server_url)
        connection = socket.create_connection((url.hostname, url.port), timeout=10)
        type(self).connection = connection
        connection.sendall(f"GET /endless HTTP/1.1\r\nhost: {url.hostname}\r\n\r\n".encode())
        assert connection.recv(65536)
