"""The configuration: one frozen tree of values, and the only place where an option is declared.

The command line, the `ASERVER_*` environment, the TOML file and the reference table in the
documentation are all generated from the fields below (see `aserver.options`). Nothing here does IO,
sets up logging or imports an application.
"""

import re
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000

_INT_MAX = 2**31 - 1  # more is not a number to C, and so to the kernel


class ConfigError(ValueError):
    """A value that cannot be: the message names the option."""


class Option(NamedTuple):
    """How a field is given from outside.

    Attributes:
        flags: Command line spellings; the first long one names it in messages.
        help: One sentence for `--help` and the reference.
        unit: What a number counts.
        metavar: The placeholder in `--help`.
        choices: The values allowed, if they are few.
        constants: Further flags that set a fixed value, as `--no-server-name` sets "".
        octal: Written in octal, as file modes are.
        ascii: Printable ASCII only, as in a header.
        minimum: The smallest number allowed.
        maximum: The largest.
    """

    flags: tuple[str, ...]
    help: str
    unit: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    constants: tuple[tuple[str, Any, str], ...] = ()
    octal: bool = False
    ascii: bool = False
    minimum: float = 0
    maximum: float = _INT_MAX

    @property
    def long(self) -> str:
        """The flag that names the option in messages."""
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])


def option(default: Any, *flags: str, help: str, **metadata: Any) -> Any:
    """A configuration field with its outside spelling."""
    return field(default=default, metadata={"option": Option(flags, help, **metadata)})


@dataclass(frozen=True)
class Bind:
    """Where to listen."""

    bind: tuple[str, ...] = option(
        (),
        "-b",
        "--bind",
        metavar="ADDRESS",
        help="Listen here: HOST, HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N. May be repeated.",
    )
    port: int | None = option(
        None,
        "-p",
        "--port",
        minimum=0,
        maximum=65535,
        help=f"Port for addresses given without one; default {DEFAULT_PORT}. 0 takes a free port.",
    )
    unix_socket: str | None = option(
        None, "-u", "--unix-socket", metavar="PATH", help="Listen on a unix socket at this path."
    )
    unix_socket_mode: int = option(
        0o666,
        "--unix-socket-mode",
        octal=True,
        minimum=0,
        maximum=0o777,
        help="Permissions of unix sockets, in octal.",
    )
    unix_socket_group: str | None = option(
        None, "--unix-socket-group", metavar="GROUP", help="Group that owns unix sockets."
    )
    fd: int | None = option(
        None,
        "--fd",
        minimum=0,
        metavar="N",
        help="Listen on a socket inherited as this file descriptor.",
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
class Limits:
    """Deadlines; 0 switches one off, except for `graceful_timeout`, where it is no time at all."""

    header_timeout: float = option(
        15.0,
        "--header-timeout",
        minimum=0,
        unit="seconds",
        help="Time for a request's head to arrive, and for a new connection to send something.",
    )
    keep_alive: float = option(
        75.0,
        "--keep-alive",
        minimum=0,
        unit="seconds",
        help="How long an idle connection is kept; longer than the proxy in front keeps its own.",
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
        minimum=0,
        unit="seconds",
        help="How long the application may go on after its client left before it is cancelled.",
    )
    graceful_timeout: float = option(
        30.0,
        "--graceful-timeout",
        minimum=0,
        unit="seconds",
        help="How long a stopping server waits for requests in progress before it cancels them.",
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
        help="Access log file, - for stdout; default: stdout, unless --verbosity is 0.",
    )


@dataclass(frozen=True)
class Process:
    """The application and the process that runs it."""

    app: str = option("", metavar="APPLICATION", help="The ASGI application, as MODULE:OBJECT.")
    app_dir: str = option(
        ".", "--app-dir", metavar="DIR", help="Directory from which the application is imported."
    )
    factory: bool = option(
        False, "--factory", help="OBJECT is a function that returns the application."
    )
    lifespan: str = option(
        "auto",
        "--lifespan",
        choices=("auto", "on", "off"),
        help="The lifespan protocol: on makes an application without it an error.",
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
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
    process: Process = field(default_factory=Process)

    sections: ClassVar[dict[str, type]] = {
        "bind": Bind,
        "http": Http,
        "limits": Limits,
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


class Declaration(NamedTuple):
    """One field, found by its name: what `aserver.options` generates from."""

    section: str
    field: Field[Any]

    @property
    def name(self) -> str:
        """The field, the TOML key, and in upper case behind ASERVER_ the variable."""
        return self.field.name

    @property
    def default(self) -> Any:
        """The value when nobody gives one."""
        return self.field.default

    @property
    def option(self) -> Option:
        """How it is given from outside."""
        declared = self.field.metadata["option"]
        assert isinstance(declared, Option)
        return declared

    @property
    def many(self) -> bool:
        """Whether it may be given several times."""
        return isinstance(self.default, tuple)

    @property
    def kind(self) -> type[Any]:
        """The type of (one of) its values."""
        if self.many:
            return str
        if self.default is None:
            return int if "int" in str(self.field.type) else str
        return type(self.default)

    def parse(self, text: str) -> Any:
        """One value from the text of the command line or the environment."""
        kind = self.kind
        try:
            if kind is bool:
                return _TRUTH[text.strip().lower()]
            if kind is int:
                return int(text, 8 if self.option.octal else 10)
            return kind(text)
        except (ValueError, KeyError):
            raise self._wrong(text) from None

    def checked(self, value: Any) -> Any:
        """A value of the right type and in range, or ConfigError."""
        if value is None and self.default is None:
            return None
        if self.many:
            values = (value,) if isinstance(value, str) else value
            if not isinstance(values, list | tuple):
                raise self._wrong(value)
            return tuple(self._checked(each) for each in values)
        return self._checked(value)

    def _checked(self, value: Any) -> Any:
        kind = self.kind
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise self._wrong(value)
        if kind is str:
            self._check_text(value)
        elif kind is not bool:
            self._check_range(value)
        return kind(value)

    def _check_text(self, text: str) -> None:
        option = self.option
        if option.choices and text not in option.choices:
            raise ConfigError(f"{self.label}: {text!r} is not one of {', '.join(option.choices)}")
        if _UNTEXT.search(text) or (option.ascii and not text.isascii()):
            raise ConfigError(f"{self.label}: {text!r} has characters that are not allowed")

    def _check_range(self, number: float) -> None:
        option = self.option
        # So written that a NaN is refused.
        if not number >= option.minimum:
            raise ConfigError(f"{self.label}: {number} is not {self.show(option.minimum)} or more")
        if not number <= option.maximum:
            shown = self.show(number)
            raise ConfigError(f"{self.label}: {shown} is more than {self.show(option.maximum)}")

    def _wrong(self, value: object) -> ConfigError:
        kind = "an octal number" if self.option.octal else _KINDS[self.kind]
        return ConfigError(f"{self.label}: {value!r} is not {kind}")

    def show(self, value: Any) -> str:
        """A value as a person would type it."""
        if value is None or value == ():
            return ""
        if self.option.octal:
            return f"{value:o}"
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:.15g}" if isinstance(value, float) else str(value)

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.option.long if self.option.flags else self.name


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
# Control characters, and what Python makes of bytes that are no UTF-8.
_UNTEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_TRUTH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)

DECLARATIONS: dict[str, Declaration] = {
    each.name: Declaration(name, each)
    for name, section in Config.sections.items()
    for each in fields(section)
}
