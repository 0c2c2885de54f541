"""The options that bound what a client may take: deadlines, sizes, numbers, also of WebSockets.

They are sections of the tree in `aserver.config`, which says how options are declared.
"""

from dataclasses import dataclass

from .declarations import option

_SIZE_MAX = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """Deadlines and sizes; 0 switches one off, unless it is said to be no time at all."""

    first_byte_timeout: float = option(
        15.0,
        "--first-byte-timeout",
        minimum=0,
        unit="seconds",
        help="Time for a new connection to send something.",
    )
    header_timeout: float = option(
        15.0,
        "--header-timeout",
        minimum=0,
        unit="seconds",
        help="Time for a request's head to arrive, from its first byte on.",
    )
    body_timeout: float = option(
        20.0,
        "--body-timeout",
        minimum=0,
        unit="seconds",
        help="How long a request body may arrive slower than at --min-body-rate.",
    )
    min_body_rate: int = option(
        256,
        "--min-body-rate",
        minimum=0,
        unit="bytes per second",
        help="How fast a request body must arrive, on the average of each --body-timeout.",
    )
    keep_alive: float = option(
        75.0,
        "--keep-alive",
        minimum=-1,
        unit="seconds",
        help="How long an idle connection is kept; longer than the proxy in front keeps its own. "
        "0: it is closed behind its response; -1: for ever.",
    )
    write_timeout: float = option(
        60.0,
        "--write-timeout",
        minimum=0,
        unit="seconds",
        help="How long a client may go without reading anything of its response.",
    )
    http_timeout: float = option(
        0.0,
        "-t",
        "--http-timeout",
        minimum=0,
        unit="seconds",
        help="Time for the application to begin its response, else 503; 0 is no limit.",
    )
    application_close_timeout: float = option(
        10.0,
        "--application-close-timeout",
        minimum=-1,
        unit="seconds",
        help="How long the application may go on after its client left before it is cancelled; "
        "0: no time at all; -1: for ever.",
    )
    graceful_timeout: float = option(
        30.0,
        "--graceful-timeout",
        minimum=0,
        unit="seconds",
        help="How long a stopping server waits for requests in progress before it cancels them; "
        "0: no time at all.",
    )
    max_request_line: int = option(
        8192,
        "--max-request-line",
        minimum=0,
        unit="bytes",
        help="Longest request line: method, target and version. Longer: 414.",
    )
    max_header_size: int = option(
        16_384,
        "--max-header-size",
        minimum=0,
        unit="bytes",
        help="Largest single header, name and value. Larger: 431.",
    )
    max_header_count: int = option(
        100,
        "--max-header-count",
        minimum=0,
        unit="headers",
        help="Most headers of a request. More: 431.",
    )
    max_headers_size: int = option(
        65_536,
        "--max-headers-size",
        minimum=0,
        unit="bytes",
        help="All headers of a request together. Larger: 431.",
    )
    max_body_size: int = option(
        5 * 2**30,
        "--max-body-size",
        minimum=0,
        maximum=_SIZE_MAX,
        unit="bytes",
        help="Largest request body. Larger: 413.",
    )
    read_buffer: int = option(
        65_536,
        "--read-buffer",
        minimum=1,
        unit="bytes",
        help="Request body, or pipelined requests, that wait for the application; "
        "above, nothing more is read from the client.",
    )
    write_buffer: int = option(
        65_536,
        "--write-buffer",
        minimum=1,
        unit="bytes",
        help="Response that waits for the client; above, the application's send() waits.",
    )
    max_connections: int | None = option(
        None,
        "--max-connections",
        minimum=0,
        unit="connections",
        help="Most connections at a time; further ones wait in the kernel's accept queue. "
        "Default: as many as the limit of open files allows.",
    )
    max_connections_per_client: int = option(
        0,
        "--max-connections-per-client",
        minimum=0,
        unit="connections",
        help="Most connections of one client address; further ones are closed. 0 is no limit.",
    )
    max_concurrency: int = option(
        0,
        "--max-concurrency",
        minimum=0,
        unit="requests",
        help="Most requests at work in the application at a time; further ones get a 503. "
        "0 is no limit.",
    )


@dataclass(frozen=True)
class WebSocket:
    """WebSockets; 0 switches a deadline or a limit off, as -1 does where Daphne has it."""

    ws: str = option(
        "auto",
        "--ws",
        choices=("auto", "wsproto", "none"),
        help="WebSocket frame engine; none serves a handshake as the plain request that it is.",
    )
    websocket_max_message_size: int = option(
        16 * 2**20,
        "--websocket-max-message-size",
        minimum=0,
        maximum=_SIZE_MAX,
        unit="bytes",
        help="Largest message of a client, put together and inflated. Larger: closed with 1009. "
        "0 is no limit.",
    )
    websocket_max_frame_size: int = option(
        16 * 2**20,
        "--websocket-max-frame-size",
        minimum=0,
        maximum=_SIZE_MAX,
        unit="bytes",
        help="Largest frame of a message, inflated. Larger: closed with 1009. 0 is no limit.",
    )
    websocket_max_fragments: int = option(
        131_072,
        "--websocket-max-fragments",
        minimum=0,
        unit="frames",
        help="Most frames that make up a message. More: closed with 1009. 0 is no limit.",
    )
    websocket_queue: int = option(
        32,
        "--websocket-queue",
        minimum=1,
        unit="messages",
        help="Messages that wait for the application; above, or above --read-buffer bytes, nothing "
        "more is read from the client.",
    )
    websocket_connect_timeout: float = option(
        5.0,
        "--websocket-connect-timeout",
        "--websocket_connect_timeout",
        minimum=-1,
        unit="seconds",
        help="Time for the application to accept or refuse a handshake, else 503.",
    )
    websocket_close_timeout: float = option(
        5.0,
        "--websocket-close-timeout",
        minimum=0,
        unit="seconds",
        help="Time for the client to answer a close frame.",
    )
    websocket_idle_timeout: float = option(
        0.0,
        "--websocket-idle-timeout",
        minimum=-1,
        unit="seconds",
        help="How long a WebSocket may go without a message, either way, before it is closed with "
        "1001; 0 is no limit.",
    )
    websocket_timeout: float = option(
        0.0,
        "--websocket-timeout",
        "--websocket_timeout",
        minimum=-1,
        unit="seconds",
        help="How long a WebSocket may be open before it is closed with 1001; 0 is no limit.",
    )
    ping_interval: float = option(
        20.0,
        "--ping-interval",
        minimum=0,
        unit="seconds",
        help="How often a WebSocket's client is sent a ping; 0: never.",
    )
    ping_timeout: float = option(
        30.0,
        "--ping-timeout",
        minimum=0,
        unit="seconds",
        help="How long a client may show no sign of life behind a ping before it counts as lost; "
        "0: for ever.",
    )
    websocket_compression: bool = option(
        True,
        "--websocket-compression",
        help="Compress messages with clients that offer it (permessage-deflate, RFC 7692).",
    )
    websocket_compression_threshold: int = option(
        1024,
        "--websocket-compression-threshold",
        minimum=0,
        unit="bytes",
        help="Smaller messages are sent as they are.",
    )
    websocket_window_bits: int = option(
        12,
        "--websocket-window-bits",
        minimum=9,
        maximum=15,
        unit="bits",
        help="Size of the compression windows: each one more doubles their memory.",
    )
