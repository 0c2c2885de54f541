"""The server's options as `runserver` has them: all but a few, generated from the declarations."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import DECLARATIONS
from ..declarations import Declaration
from ..options import add_option, convert
from .conf import ELSEWHERE

# What a development server does not take from the command line, and why.
LEFT_OUT = {
    **ELSEWHERE,
    "graceful_timeout": "a development server does not keep waiting who has changed its code",
}
# Flags of Daphne's runserver that its command line does not have.
DAPHNES_FLAGS = {
    "--http_timeout": "http_timeout",
    "--websocket_handshake_timeout": "websocket_connect_timeout",
}

_OPTIONS: dict[str, Declaration] = {
    name: declaration for name, declaration in DECLARATIONS.items() if name not in LEFT_OUT
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a command's parser. What is not given has no value there."""
    group = parser.add_argument_group("options of aserver")
    for declaration in _OPTIONS.values():
        add_option(group, declaration)
    for flag, name in DAPHNES_FLAGS.items():
        same = _OPTIONS[name].option.long
        group.add_argument(
            flag, dest=name, metavar="N", default=argparse.SUPPRESS, help=f"The same as {same}."
        )


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's options that are the server's: texts, or values from `call_command`.

    Raises:
        ConfigError: A value cannot be.
    """
    return {
        name: _value(declaration, options[name])
        for name, declaration in _OPTIONS.items()
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
    for declaration in _OPTIONS.values():
        if declaration.kind is not bool:
            flags.update(declaration.option.flags)
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        value = next(rest, None) if argument in flags else None
        found.append(argument if value is None else f"{argument}={value}")
    return found
