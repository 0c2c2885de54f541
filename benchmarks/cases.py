"""The table of cases. To add one, add a row here (and an application to ``apps.py``)."""

from dataclasses import dataclass
from enum import Enum

from benchmarks import apps


class Kind(Enum):
    """What is measured; the value is the unit that a report prints."""

    LOAD = "us CPU per request"
    STARTUP = "ms to first response"
    MEMORY = "KiB per idle connection"
    ECHO = "us CPU per message"
    SOCKETS = "KiB per idle WebSocket"

    @property
    def under_load(self) -> bool:
        return self in (Kind.LOAD, Kind.ECHO)

    @property
    def idle(self) -> bool:
        return self in (Kind.MEMORY, Kind.SOCKETS)


class Wire(Enum):
    """What a case speaks with a server; the value is how a text names it."""

    HTTP = "HTTP/1.1"
    TLS = "HTTP/1.1 over TLS"
    H2 = "HTTP/2, cleartext with prior knowledge"
    H2_TLS = "HTTP/2 over TLS"
    WEBSOCKET = "WebSocket"

    @property
    def encrypted(self) -> bool:
        return self in (Wire.TLS, Wire.H2_TLS)

    @property
    def multiplexed(self) -> bool:
        return self in (Wire.H2, Wire.H2_TLS)


@dataclass(frozen=True)
class Exchange:
    """The one request a case sends, and the body that must come back with a 200."""

    expected: bytes
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


@dataclass(frozen=True)
class Talk:
    """What every WebSocket of a case says; the same must come back in one frame."""

    size: int
    text: bool = False
    deflate: bool = False
    """Offer permessage-deflate, and send compressed what can be."""


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    app: str
    exchange: Exchange
    """What a server must answer before it counts as started; in HTTP cases it is the load, too."""
    kind: Kind = Kind.LOAD
    wire: Wire = Wire.HTTP
    talk: Talk | None = None
    """For the WebSocket cases only."""
    connections: int = 64
    """Open connections: of the load generator, or idle ones where memory is measured."""
    streams: int = 1
    """Requests that are open at a time on each connection: more than one in HTTP/2 only."""
    script: str = "report.lua"
    access_log: bool = False
    min_rounds: int = 1
    unmeasured_rounds: int = 0
    """Rounds thrown away at the start, for what only the first ever start of a program pays."""


HELLO = Exchange(apps.HELLO)
LARGE = Exchange(apps.BODY_100K)

# What a browser adds to Host when it follows a link on a site it has been to before.
BROWSER_HEADERS = (
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/131.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.7"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://example.org/some/page?with=query"),
    ("Cookie", "sessionid=0123456789abcdef0123456789abcdef; csrftoken=abcdefghijklmnopqrstuvwxyz"),
    ("Cache-Control", "max-age=0"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("DNT", "1"),
)

H2_CONNECTIONS, H2_STREAMS = 8, 32

POST_BODY = b"x" * 1024  # the same as in wrk/post_1k.lua
UPLOAD_BODY = b"x" * (1 << 20)  # the same as in wrk/post_1m.lua
UPLOAD = Exchange(b"%d" % len(UPLOAD_BODY), method="POST", body=UPLOAD_BODY)
UPLOAD_CONNECTIONS, UPLOAD_STREAMS = 8, 4


def _upload(name: str, title: str, wire: Wire) -> Case:
    return Case(
        name,
        title,
        "measure",
        UPLOAD,
        wire=wire,
        connections=UPLOAD_CONNECTIONS,
        streams=UPLOAD_STREAMS if wire.multiplexed else 1,
        script="post_1m.lua",
    )


def _http2(name: str, title: str, app: str, exchange: Exchange, wire: Wire) -> Case:
    return Case(
        name, title, app, exchange, wire=wire, connections=H2_CONNECTIONS, streams=H2_STREAMS
    )


CASES = (
    Case("hello", "13 bytes, keep-alive", "hello", HELLO),
    Case("hello-log", "13 bytes, access log to a file", "hello", HELLO, access_log=True),
    Case(
        "hello-headers",
        "13 bytes, 12 more request headers",
        "hello",
        Exchange(apps.HELLO, headers=BROWSER_HEADERS),
    ),
    Case(
        "varied-headers",
        "13 bytes, 12 more request headers, no two requests alike",
        "hello",
        Exchange(apps.HELLO, headers=BROWSER_HEADERS),
        script="varied.lua",
    ),
    Case(
        "post-1k",
        "POST 1 KiB, echoed",
        "echo",
        Exchange(POST_BODY, method="POST", body=POST_BODY),
        script="post_1k.lua",
    ),
    Case("body-100k", "100 kB response", "body_100k", LARGE),
    Case(
        "stream-10m",
        "10 MiB in 64 KiB messages",
        "stream_10m",
        Exchange(apps.CHUNK * apps.CHUNKS),
        connections=4,
    ),
    Case("sleep-10ms", "application sleeps 10 ms", "sleep_10ms", HELLO),
    _upload("upload-1m", "POST 1 MiB, taken as it comes", Wire.HTTP),
    Case("tls-hello", "13 bytes over TLS, keep-alive", "hello", HELLO, wire=Wire.TLS),
    Case("tls-100k", "100 kB response over TLS", "body_100k", LARGE, wire=Wire.TLS),
    _upload("tls-upload-1m", "POST 1 MiB over TLS, taken as it comes", Wire.TLS),
    _http2("h2-hello", "HTTP/2 in the clear, 13 bytes", "hello", HELLO, Wire.H2),
    _http2("h2-tls-hello", "HTTP/2 over TLS, 13 bytes", "hello", HELLO, Wire.H2_TLS),
    _http2("h2-100k", "HTTP/2 in the clear, 100 kB response", "body_100k", LARGE, Wire.H2),
    _http2("h2-tls-100k", "HTTP/2 over TLS, 100 kB response", "body_100k", LARGE, Wire.H2_TLS),
    _upload("h2-tls-upload-1m", "HTTP/2 over TLS, POST 1 MiB, taken as it comes", Wire.H2_TLS),
    Case(
        "startup",
        "start to first response",
        "hello",
        HELLO,
        kind=Kind.STARTUP,
        min_rounds=7,
        unmeasured_rounds=1,
    ),
    Case(
        "idle-memory",
        "5,000 idle keep-alive connections",
        "hello",
        HELLO,
        kind=Kind.MEMORY,
        connections=5000,
    ),
    Case(
        "ws-echo-32",
        "WebSocket, 32 bytes of text, echoed",
        "ws_echo",
        HELLO,
        kind=Kind.ECHO,
        wire=Wire.WEBSOCKET,
        talk=Talk(32, text=True),
    ),
    Case(
        "ws-echo-64k",
        "WebSocket, 64 KiB of binary data, echoed",
        "ws_echo",
        HELLO,
        kind=Kind.ECHO,
        wire=Wire.WEBSOCKET,
        talk=Talk(65536),
        connections=16,
    ),
    Case(
        "ws-idle-memory",
        "2,000 idle WebSockets",
        "ws_echo",
        HELLO,
        kind=Kind.SOCKETS,
        wire=Wire.WEBSOCKET,
        talk=Talk(32, text=True),
        connections=2000,
    ),
    Case(
        "ws-idle-memory-deflate",
        "2,000 idle WebSockets with permessage-deflate",
        "ws_echo",
        HELLO,
        kind=Kind.SOCKETS,
        wire=Wire.WEBSOCKET,
        talk=Talk(32, text=True, deflate=True),
        connections=2000,
    ),
)
