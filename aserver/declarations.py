"""How an option is declared: its spelling, its kind, and what values it takes.

A field of a dataclass in `aserver.config` is a declaration; whoever reads options from the command
line, the environment or a file, or writes a table of them, goes through `Declaration`.
"""

import re
from dataclasses import Field, field
from enum import Enum
from typing import Any, NamedTuple

from .prefixes import clean_prefix

INT_MAX = 2**31 - 1  # more is not a number to C, and so to the kernel

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
# Control characters, and what Python makes of bytes that are no UTF-8.
_UNTEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_TRUTH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)


class ConfigError(ValueError):
    """A value that cannot be: the message names the option."""


class Subject(Enum):
    """What whoever has the server in it, as gunicorn and Django do, says in a way of its own."""

    ADDRESS = "where to listen"
    APPLICATION = "what to serve"


class Option(NamedTuple):
    """How a field is given from outside.

    Attributes:
        flags: Command line spellings; the first long one names it in messages.
        help: One sentence for `--help` and the reference.
        unit: What a number counts.
        metavar: The placeholder in `--help`.
        choices: The values allowed, if they are few.
        constants: Further flags that set a fixed value, as `--no-server-name` sets "".
        prefix: A prefix of paths; it is kept without a slash at its end.
        commas: Values that may be repeated may also stand in one text, with commas between them.
        octal: Written in octal, as file modes are.
        ascii: Printable ASCII only, as in a header.
        once: Given twice it is a mistake: elsewhere the last one wins.
        variables: Further ones in the environment, which others have made known.
        secret: Never shown: neither in messages, nor by --print-config.
        subject: What it is about, if a host of the server, as gunicorn, says it itself.
        minimum: The smallest number allowed.
        maximum: The largest.
    """

    flags: tuple[str, ...]
    help: str
    unit: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    constants: tuple[tuple[str, Any, str], ...] = ()
    prefix: bool = False
    commas: bool = False
    octal: bool = False
    ascii: bool = False
    once: bool = False
    secret: bool = False
    subject: Subject | None = None
    variables: tuple[str, ...] = ()
    minimum: float = 0
    maximum: float = INT_MAX

    @property
    def long(self) -> str:
        """The flag that names the option in messages."""
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])


def option(default: Any, *flags: str, help: str, **metadata: Any) -> Any:
    """A configuration field with its outside spelling."""
    declared = Option(flags, help, **metadata)
    # A configuration may end up in a traceback.
    return field(default=default, repr=not declared.secret, metadata={"option": declared})


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
            if self.option.commas:
                values = [
                    part
                    for each in values
                    for part in (split(each) if isinstance(each, str) else [each])
                ]
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
        return clean_prefix(value) if self.option.prefix else kind(value)

    def _check_text(self, text: str) -> None:
        option = self.option
        if option.choices and text not in option.choices:
            raise ConfigError(f"{self.label}: {text!r} is not one of {', '.join(option.choices)}")
        if option.prefix and clean_prefix(text) is None:
            raise ConfigError(f"{self.label}: {text!r} is no prefix of paths, as /shop is one")
        if _UNTEXT.search(text) or (option.ascii and not text.isascii()):
            shown = "the value" if option.secret else repr(text)
            raise ConfigError(f"{self.label}: {shown} has characters that are not allowed")

    def _check_range(self, number: float) -> None:
        option = self.option
        # So written that a NaN is refused.
        if not number >= option.minimum:
            raise ConfigError(f"{self.label}: {number} is not {self.show(option.minimum)} or more")
        if not number <= option.maximum:
            shown = self.show(number)
            most = self.show(option.maximum)
            hint = f" (octal; in TOML, 0o{most})" if option.octal else ""
            raise ConfigError(f"{self.label}: {shown} is more than {most}{hint}")

    def _wrong(self, value: object) -> ConfigError:
        kind = "an octal number" if self.option.octal else _KINDS[self.kind]
        shown = "the value" if self.option.secret else repr(value)
        return ConfigError(f"{self.label}: {shown} is not {kind}")

    def show(self, value: Any) -> str:
        """A value as a person would type it."""
        if value is None or value == ():
            return ""
        if self.option.octal:
            return f"{value:o}"
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:.15g}" if isinstance(value, float) else str(value)

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.option.long if self.option.flags else self.name


def split(text: str) -> list[str]:
    """Several values in one text: "a, b"."""
    return [part for each in text.split(",") if (part := each.strip())]
