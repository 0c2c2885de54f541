"""The options of HTTP/2: spelling and defaults."""

from aserver.config import Config
from aserver.http2_options import Http2
from aserver.options import load


def test_defaults() -> None:
    assert Config().http2 == Http2(http2=True, http2_max_streams=100, http2_max_requests=1_000_000)


def test_http2_is_switched_off() -> None:
    argv = ["--no-http2", "--http2-max-streams", "1", "--http2-max-requests", "0"]
    assert load(argv, {}).config.http2 == Http2(False, 1, 0)
    assert load([], {"ASERVER_HTTP2": "no"}).config.http2 == Http2(False)
