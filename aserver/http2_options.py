"""The options of HTTP/2.

A section of the tree in `aserver.config`, which says how options are declared.
"""

from dataclasses import dataclass

from .declarations import option


@dataclass(frozen=True)
class Http2:
    """HTTP/2."""

    http2: bool = option(
        True,
        "--http2",
        help="Speak HTTP/2: by ALPN over TLS, with prior knowledge in cleartext.",
    )
    http2_max_streams: int = option(
        100,
        "--http2-max-streams",
        minimum=1,
        unit="streams",
        help="Most requests of one connection at a time; further ones are refused.",
    )
    http2_max_requests: int = option(
        1_000_000,
        "--http2-max-requests",
        minimum=0,
        unit="requests",
        help="Requests of one connection, after which it is closed with GOAWAY. 0 is no limit.",
    )
