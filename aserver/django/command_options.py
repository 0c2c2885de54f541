"""The server's options as `runserver` has them, generated from the declarations.

Those that have no place there are known, too, for who gives one is to read where its place is, and
argparse would take `--access-log` for the beginning of `--access-log-exclude`.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import DECLARATIONS
from ..declarations import ConfigError, Declaration
from ..options import add_option, convert
from .option_places import DJANGOS, ELSEWHERE, HERE

# Flags of Daphne's runserver that its command line does not have.
DAPHNES_FLAGS = {
    "--http_timeout": "http_timeout",
    "--websocket_handshake_timeout": "websocket_connect_timeout",
}


class _Misplaced(argparse.Action):
    """Notes what is wrong, for `given_options`: said here, the usage of all options would come."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, f"{option_string} has no place here: {self.const}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a command's parser. What is not given has no value there."""
    group = parser.add_argument_group("options of aserver")
    for declaration in HERE.values():
        add_option(group, declaration)
    for flag, name in DAPHNES_FLAGS.items():
        same = HERE[name].option.long
        group.add_argument(
            flag, dest=name, metavar="N", default=argparse.SUPPRESS, help=f"The same as {same}."
        )
    for name, reason in ELSEWHERE.items():
        flags = _flags(DECLARATIONS[name])
        if flags and name not in DJANGOS:
            group.add_argument(
                *flags,
                action=_Misplaced,
                nargs="?",
                dest="misplaced",
                const=reason,
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
            )


def _flags(declaration: Declaration) -> list[str]:
    """All that `add_option` makes of it."""
    option = declaration.option
    opposite = [option.long.replace("--", "--no-", 1)] if declaration.kind is bool else []
    return [*option.flags, *opposite, *(flag for flag, _, _ in option.constants)]


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's options that are the server's: texts, or values from `call_command`.

    Raises:
        ConfigError: A value cannot be, or an option has no place here.
    """
    if "misplaced" in options:
        raise ConfigError(options["misplaced"])
    return {
        name: _value(declaration, options[name])
        for name, declaration in HERE.items()
        if options.get(name) is not None
    }


def _value(declaration: Declaration, value: Any) -> Any:
    texts = value if isinstance(value, list | tuple) else [value]
    if all(isinstance(text, str) for text in texts):
        return convert(declaration, list(texts) if declaration.many else value)
    return declaration.checked(value)


def joined(arguments: Sequence[str]) -> list[str]:
    """The same command line, with `--option=value` for `--option value`.

    While a project is broken, Django knows its own `runserver` only, and drops what that does not
    know: an option, but not a value that stands alone, which it would take for an address.
    """
    flags = set(DAPHNES_FLAGS)
    for declaration in HERE.values():
        if declaration.kind is not bool:
            flags.update(declaration.option.flags)
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        value = next(rest, None) if argument in flags else None
        found.append(argument if value is None else f"{argument}={value}")
    return found
