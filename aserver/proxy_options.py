"""The options of proxies in front: whom to believe, and what.

A section of the tree in `aserver.config`, which says how options are declared.
"""

from dataclasses import dataclass

from .declarations import ConfigError, option

FIELDS = ("for", "proto", "port", "host", "prefix", "root-path")
# Options for other names of headers, and the fields that they are about: to Daphne, the host is
# the client's.
RENAMED = {"host": "for", "port": "port", "proto": "proto", "prefix": "prefix"}
# Who is asked for nothing is on this machine. An address that is not would be a guess.
NEARBY = ("127.0.0.0/8", "::1", "unix")
_WHO = "addresses, networks such as 10.0.0.0/8, unix for those of unix sockets, * for any peer"


@dataclass(frozen=True)
class Proxy:
    """Proxies in front of the server."""

    proxy_headers: bool = option(
        False,
        "--proxy-headers",
        help="Believe what trusted proxies say of the client in headers: X-Forwarded-For, -Proto "
        "and -Port.",
    )
    forwarded_allow_ips: tuple[str, ...] = option(
        NEARBY,
        "--forwarded-allow-ips",
        metavar="LIST",
        ascii=True,
        commas=True,
        variables=("FORWARDED_ALLOW_IPS",),
        help=f"Proxies that --proxy-headers trusts: {_WHO}.",
    )
    proxy_headers_trust: tuple[str, ...] = option(
        FIELDS[:3],
        "--proxy-headers-trust",
        metavar="LIST",
        choices=FIELDS,
        commas=True,
        help="What --proxy-headers believes. Each must be set by the proxy, or removed: what it "
        "passes on is the client's. host: X-Forwarded-Host is the Host header; prefix: "
        "X-Forwarded-Prefix was taken off the path; root-path: Daphne-Root-Path is the root_path.",
    )
    proxy_headers_kind: str = option(
        "x-forwarded",
        "--proxy-headers-kind",
        choices=("x-forwarded", "forwarded"),
        help="Which headers: X-Forwarded-*, or Forwarded (RFC 7239).",
    )
    proxy_headers_host: str | None = option(
        None,
        "--proxy-headers-host",
        metavar="NAME",
        ascii=True,
        help="Header with the client's address, in place of X-Forwarded-For.",
    )
    proxy_headers_port: str | None = option(
        None,
        "--proxy-headers-port",
        metavar="NAME",
        ascii=True,
        help="Header with the client's port, in place of X-Forwarded-Port.",
    )
    proxy_headers_proto: str | None = option(
        None,
        "--proxy-headers-proto",
        metavar="NAME",
        ascii=True,
        help="Header with the client's scheme, in place of X-Forwarded-Proto.",
    )
    proxy_headers_prefix: str | None = option(
        None,
        "--proxy-headers-prefix",
        metavar="NAME",
        ascii=True,
        help="Header with the prefix, in place of X-Forwarded-Prefix.",
    )
    proxy_protocol_allow_ips: tuple[str, ...] = option(
        NEARBY,
        "--proxy-protocol-allow-ips",
        metavar="LIST",
        ascii=True,
        commas=True,
        help=f"Proxies that may come to --proxy-protocol-bind; others are closed: {_WHO}.",
    )
    proxy_protocol_timeout: float = option(
        5.0,
        "--proxy-protocol-timeout",
        minimum=0,
        unit="seconds",
        help="Time for the PROXY header to arrive; 0 is no limit.",
    )

    def check(self) -> None:
        """Whether the options fit together.

        Raises:
            ConfigError: They do not.
        """
        if self.proxy_headers_trust != FIELDS[:3] and not self.proxy_headers:
            raise ConfigError("--proxy-headers-trust: --proxy-headers has to be passed for this")
        if not self.proxy_headers_trust:
            raise ConfigError("--proxy-headers-trust: the list is empty")
        for option_, field in RENAMED.items():
            if getattr(self, f"proxy_headers_{option_}") is not None:
                self._check_renamed(f"--proxy-headers-{option_}", field)
        if self.proxy_headers_kind == "forwarded" and "prefix" in self.proxy_headers_trust:
            raise ConfigError(
                "--proxy-headers-trust prefix: Forwarded has none (--proxy-headers-kind forwarded)"
            )

    def _check_renamed(self, label: str, field: str) -> None:
        if not self.proxy_headers:
            raise ConfigError(f"{label}: --proxy-headers has to be passed for this")
        if self.proxy_headers_kind == "forwarded":
            raise ConfigError(
                f"{label}: there is one header for all (--proxy-headers-kind forwarded)"
            )
        if field not in self.proxy_headers_trust:
            raise ConfigError(f"{label}: it is not believed (--proxy-headers-trust {field})")
