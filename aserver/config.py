"""The configuration: one frozen tree of values, and the only place where an option is declared.

The command line, the `ASERVER_*` environment, the TOML file and the reference table in the
documentation are all generated from the fields below and in `aserver.limit_options`,
`aserver.http2_options`, `aserver.tls_options` and `aserver.proxy_options` (see `aserver.options`).
Nothing here does IO, sets up logging or imports an application.
"""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from .declarations import ConfigError, Declaration, Subject, option
from .http2_options import Http2 as Http2
from .limit_options import Limits as Limits
from .limit_options import WebSocket as WebSocket
from .proxy_options import Proxy as Proxy
from .tls_options import Tls as Tls

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000


@dataclass(frozen=True)
class Bind:
    """Where to listen."""

    bind: tuple[str, ...] = option(
        (),
        "-b",
        "--bind",
        metavar="ADDRESS",
        help="Listen here: HOST, HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N. May be repeated.",
        subject=Subject.ADDRESS,
    )
    port: int | None = option(
        None,
        "-p",
        "--port",
        minimum=0,
        maximum=65535,
        help=f"Port for addresses given without one; default {DEFAULT_PORT}. 0 takes a free port.",
        subject=Subject.ADDRESS,
    )
    unix_socket: str | None = option(
        None,
        "-u",
        "--unix-socket",
        metavar="PATH",
        once=True,
        help="Listen on a unix socket at this path.",
        subject=Subject.ADDRESS,
    )
    unix_socket_mode: int = option(
        0o666,
        "--unix-socket-mode",
        octal=True,
        minimum=0,
        maximum=0o777,
        help="Permissions of unix sockets, in octal.",
        subject=Subject.ADDRESS,
    )
    unix_socket_group: str | None = option(
        None,
        "--unix-socket-group",
        metavar="GROUP",
        help="Group that owns unix sockets.",
        subject=Subject.ADDRESS,
    )
    fd: int | None = option(
        None,
        "--fd",
        once=True,
        minimum=0,
        metavar="N",
        help="Listen on a socket inherited as this file descriptor.",
        subject=Subject.ADDRESS,
    )
    endpoint: tuple[str, ...] = option(
        (),
        "-e",
        "--endpoint",
        metavar="STRING",
        help="Listen as an endpoint string of Twisted says: tcp:PORT, tcp6:PORT, unix:PATH, "
        "fd:fileno=N, systemd:name=NAME, and with TLS ssl:PORT:privateKey=FILE:certKey=FILE. May "
        "be repeated.",
        subject=Subject.ADDRESS,
    )
    insecure_bind: tuple[str, ...] = option(
        (),
        "--insecure-bind",
        metavar="ADDRESS",
        help="Listen here without TLS, beside what has a certificate. May be repeated.",
        subject=Subject.ADDRESS,
    )
    redirect_bind: tuple[str, ...] = option(
        (),
        "--redirect-bind",
        metavar="ADDRESS",
        help="Answer every request here with a redirect to https. May be repeated.",
        subject=Subject.ADDRESS,
    )
    proxy_protocol_bind: tuple[str, ...] = option(
        (),
        "--proxy-protocol-bind",
        metavar="ADDRESS",
        help="Listen here for proxies that begin each connection with a PROXY header, version 1 or "
        "2. May be repeated.",
        subject=Subject.ADDRESS,
    )
    redirect_port: int | None = option(
        None,
        "--redirect-port",
        minimum=1,
        maximum=65535,
        help="Port that --redirect-bind sends to, where it is mapped to another one on the way; "
        "default: that of the first address with TLS.",
        subject=Subject.ADDRESS,
    )
    backlog: int = option(
        2048,
        "--backlog",
        minimum=1,
        unit="connections",
        help="Length of the kernel's accept queue.",
    )
    v6only: bool = option(
        False, "--v6only", help="Do not take IPv4 connections on IPv6 addresses such as [::]."
    )


@dataclass(frozen=True)
class Http:
    """How HTTP is spoken."""

    http: str = option(
        "auto",
        "--http",
        choices=("auto", "httptools", "h11"),
        help="HTTP/1 parser; auto takes httptools where it is installed.",
    )
    root_path: str = option(
        "",
        "--root-path",
        metavar="PATH",
        prefix=True,
        help="The scope's root_path: where the application is mounted.",
    )
    server_name: str = option(
        "aserver",
        "-s",
        "--server-name",
        metavar="NAME",
        ascii=True,
        constants=(("--no-server-name", "", "Send no Server header."),),
        help="Value of the Server header where the application sets none.",
    )


@dataclass(frozen=True)
class Log:
    """What is written, and where."""

    verbosity: int = option(
        1,
        "-v",
        "--verbosity",
        minimum=0,
        maximum=3,
        help="0: warnings, no access log; 1: normal; 2: debug; 3: debug, and asyncio's debug mode.",
    )
    access_log: str | None = option(
        None,
        "--access-log",
        metavar="PATH",
        constants=(("--no-access-log", "", "Write no access log."),),
        help="Access log: a file, - for stdout, syslog:, syslog:/SOCKET or syslog://HOST:PORT; "
        "default: stdout, unless --verbosity is 0.",
    )
    access_log_format: str = option(
        "daphne",
        "--access-log-format",
        metavar="FORMAT",
        help="daphne, common, combined, json, or a text with atoms such as %(h)s.",
    )
    access_log_exclude: tuple[str, ...] = option(
        (),
        "--access-log-exclude",
        metavar="PATTERN",
        ascii=True,
        help="Log no request to this path, or paths: /health, /static/*. May be repeated.",
    )
    log_fmt: str = option(
        "%(asctime)s %(levelname)-8s %(message)s",
        "--log-fmt",
        metavar="FORMAT",
        help="Format of the server's own log, as Python's logging has it.",
    )
    log_config: str | None = option(
        None,
        "--log-config",
        metavar="FILE",
        help="Configure Python's logging from this file, JSON, TOML or INI; then neither --log-fmt "
        "nor --verbosity says what the server logs.",
    )


@dataclass(frozen=True)
class Process:
    """The application and the process that runs it."""

    app: str = option(
        "",
        metavar="APPLICATION",
        help="The ASGI application, as MODULE:OBJECT.",
        subject=Subject.APPLICATION,
    )
    app_dir: str = option(
        ".",
        "--app-dir",
        metavar="DIR",
        help="Directory from which the application is imported.",
        subject=Subject.APPLICATION,
    )
    factory: bool = option(
        False,
        "--factory",
        help="OBJECT is a function that returns the application.",
        subject=Subject.APPLICATION,
    )
    interface: str = option(
        "auto",
        "--interface",
        choices=("auto", "asgi3", "asgi2", "wsgi"),
        help="What the application speaks; auto is ASGI, of either version. WSGI takes an extra, "
        "aserver[wsgi].",
    )
    lifespan: str = option(
        "auto",
        "--lifespan",
        choices=("auto", "on", "off"),
        help="The lifespan protocol: on makes an application without it an error.",
    )
    threads: int | None = option(
        None,
        "--threads",
        minimum=1,
        unit="threads",
        variables=("ASGI_THREADS",),
        help="Most threads in which the application's synchronous code runs at a time; default: "
        "Python's, a few for each processor.",
    )
    loop: str = option(
        "auto",
        "--loop",
        choices=("auto", "uvloop", "asyncio"),
        help="Event loop; auto takes uvloop where it is installed.",
    )


@dataclass(frozen=True)
class Config:
    """All of it. Build one with `Config.of(port=0, access_log="-")`, or section by section."""

    bind: Bind = field(default_factory=Bind)
    http: Http = field(default_factory=Http)
    http2: Http2 = field(default_factory=Http2)
    tls: Tls = field(default_factory=Tls)
    proxy: Proxy = field(default_factory=Proxy)
    limits: Limits = field(default_factory=Limits)
    websocket: WebSocket = field(default_factory=WebSocket)
    log: Log = field(default_factory=Log)
    process: Process = field(default_factory=Process)

    sections: ClassVar[dict[str, type]] = {
        "bind": Bind,
        "http": Http,
        "http2": Http2,
        "tls": Tls,
        "proxy": Proxy,
        "limits": Limits,
        "websocket": WebSocket,
        "log": Log,
        "process": Process,
    }

    @classmethod
    def of(cls, **options: Any) -> "Config":
        """Build a configuration from options by name, whatever section they are in.

        Raises:
            ConfigError: An option is unknown, or its value is of the wrong type or out of range.
        """
        for name, value in options.items():
            if name not in DECLARATIONS:
                raise ConfigError(f"there is no option {name!r}")
            options[name] = DECLARATIONS[name].checked(value)
        sections = {
            name: section(**{f.name: options[f.name] for f in fields(section) if f.name in options})
            for name, section in cls.sections.items()
        }
        return cls(**sections)

    def flat(self) -> dict[str, Any]:
        """All options by name, as `of` takes them."""
        return {
            name: getattr(getattr(self, each.section), name) for name, each in DECLARATIONS.items()
        }


DECLARATIONS: dict[str, Declaration] = {
    each.name: Declaration(name, each)
    for name, section in Config.sections.items()
    for each in fields(section)
}


def _about(subject: Subject) -> frozenset[str]:
    return frozenset(name for name, each in DECLARATIONS.items() if each.option.subject is subject)


# Those without a place where somebody else says where to listen, and what to serve.
ADDRESS_OPTIONS = _about(Subject.ADDRESS)
APPLICATION_OPTIONS = _about(Subject.APPLICATION)
