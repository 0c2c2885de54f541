"""Where options come from: command line > `ASERVER_*` environment > TOML file > default.

Everything is generated from the declarations in `aserver.config`; no option is spelled here.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from . import __version__
from .config import DECLARATIONS, Config
from .declarations import ConfigError, Declaration, split

_PREFIX = "ASERVER_"
_COMMAND_LINE = "command line"
_EPILOG = (
    "Each option is also read from the environment, as ASERVER_ and its name in upper case, and "
    "from a TOML file (-c). With no address given, the server listens on 127.0.0.1:8000."
)


@dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    Attributes:
        config: The configuration.
        origins: For each option that is not at its default, where its value comes from.
        action: "run", "print-config" or "check-config".
    """

    config: Config
    origins: dict[str, str]
    action: str

    def located(self, error: ConfigError) -> ConfigError:
        """What is wrong with an option's value, and where that was given.

        Some are looked at only when they are needed, and then nobody knows any more.
        """
        label = str(error).partition(":")[0].partition(" ")[0]
        for name, origin in self.origins.items():
            if DECLARATIONS[name].label == label and origin != _COMMAND_LINE:
                return ConfigError(f"{origin}: {error}")
        return error


class _Parser(argparse.ArgumentParser):
    """A mistake is a ConfigError, one line like all others."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            from .option_hints import hint  # only for who needs it

            self.error(hint(rest, self._option_string_actions))
        return found

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (aserver --help shows the options)")


class _Once(argparse.Action):
    """For what would be lost without a word, as the first of two addresses."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if hasattr(namespace, self.dest):
            raise argparse.ArgumentError(self, "given twice (--bind may be repeated)")
        setattr(namespace, self.dest, values)


def build_parser() -> argparse.ArgumentParser:
    """The command line's parser. Values stay texts: the declarations convert them."""
    parser = _Parser(
        prog="aserver",
        usage="aserver [options] MODULE:APPLICATION",
        description="Serve an ASGI application.",
        epilog=_EPILOG,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        # argparse makes a formatter for each option that is added; given a width, none of them
        # asks the terminal for its own, which takes another import.
        formatter_class=partial(argparse.HelpFormatter, width=80),
    )
    parser.add_argument("--version", action="version", version=f"aserver {__version__}")
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="Read options from this TOML file (ASERVER_CONFIG)."
    )
    for action, does in (
        ("print-config", "Print the configuration as TOML, and where each value comes from."),
        ("check-config", "Check the configuration and import the application, then exit."),
    ):
        parser.add_argument(
            f"--{action}", dest="action", action="store_const", const=action, help=does
        )
    for declaration in DECLARATIONS.values():
        add_option(parser, declaration)
    parser.formatter_class = argparse.HelpFormatter
    return parser


def add_option(parser: argparse._ActionsContainer, declaration: Declaration) -> None:
    """Add one option to a parser, or a group of it. Its values stay texts: see `convert`."""
    option = declaration.option
    text = describe(declaration)
    if not option.flags:
        parser.add_argument(declaration.name, nargs="?", metavar=option.metavar, help=text)
        return
    common: dict[str, Any] = {
        "dest": declaration.name,
        "help": text,
        "default": argparse.SUPPRESS,
    }
    if declaration.kind is bool:
        # Both ways, so that the command line can overrule the environment and the file.
        parser.add_argument(*option.flags, action="store_const", const="true", **common)
        common["help"] = f"The opposite of {option.long}."
        opposite = option.long.replace("--", "--no-", 1)
        parser.add_argument(opposite, action="store_const", const="false", **common)
        return
    metavar = option.metavar or ("{" + ",".join(option.choices) + "}" if option.choices else "N")
    action: Any = "append" if declaration.many else _Once if option.once else "store"
    parser.add_argument(*option.flags, action=action, metavar=metavar, **common)
    for flag, value, help_text in option.constants:
        parser.add_argument(
            flag, action="store_const", const=value, **{**common, "help": help_text}
        )


def describe(declaration: Declaration) -> str:
    """The help text, with unit and default."""
    default = declaration.show(declaration.default)
    facts = [declaration.option.unit, f"default {default}" if default not in ("", "false") else ""]
    suffix = ", ".join(fact for fact in facts if fact)
    text = f"{declaration.option.help} ({suffix})" if suffix else declaration.option.help
    return text.replace("%", "%%")


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Gather the options from all sources.

    Raises:
        ConfigError: A value or a name is wrong; the message says where it was given.
        SystemExit: From argparse, for `--help` and `--version`.
    """
    given = vars(build_parser().parse_args(argv))
    action = given.pop("action", "run")
    file = given.pop("config", None) or environ.get(f"{_PREFIX}CONFIG")
    in_file = _from_file(file) if file else {}
    in_environ = _from_environ(environ)
    in_arguments = _from_command_line(given)
    values = in_file | in_environ | in_arguments
    origins = dict.fromkeys(in_file, str(file))
    origins |= {name: _variable(DECLARATIONS[name], environ) for name in in_environ}
    origins |= dict.fromkeys(in_arguments, _COMMAND_LINE)
    return Settings(Config.of(**values), origins, action)


def _from_command_line(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: convert(DECLARATIONS[name], value) for name, value in given.items()}


def convert(declaration: Declaration, value: str | list[str]) -> Any:
    """The value of an option from its text, or texts.

    Raises:
        ConfigError: It cannot be; the message names the option.
    """
    if isinstance(value, list):
        return declaration.checked([declaration.parse(each) for each in value])
    return declaration.checked(declaration.parse(value))


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for name, declaration in DECLARATIONS.items():
        variable = _variable(declaration, environ)
        if not variable:
            continue
        text = environ[variable]
        try:
            found[name] = convert(declaration, split(text) if declaration.many else text)
        except ConfigError as error:
            raise ConfigError(f"{variable}: {error}") from None
    return found


def _variable(declaration: Declaration, environ: Mapping[str, str]) -> str:
    """Which variable gives the option, if one does."""
    variables = (_PREFIX + declaration.name.upper(), *declaration.option.variables)
    return next((each for each in variables if each in environ), "")


def _from_file(path: str) -> dict[str, Any]:
    import tomllib  # not at the top: most starts read no file, and this costs 3 ms

    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"--config: cannot read {path!r}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # the parser lets several kinds of them through
        raise ConfigError(f"--config: {path!r} is not TOML: {error}") from None
    found: dict[str, Any] = {}
    for section, content in document.items():
        if section in DECLARATIONS and section not in Config.sections:
            raise ConfigError(
                f"{path}: {section!r} belongs into the section [{DECLARATIONS[section].section}]"
            )
        if section not in Config.sections or not isinstance(content, dict):
            raise ConfigError(f"{path}: there is no section [{section}]")
        for name, value in content.items():
            declaration = DECLARATIONS.get(name)
            if declaration is None or declaration.section != section:
                raise ConfigError(f"{path}: there is no option {name!r} in section [{section}]")
            try:
                found[name] = declaration.checked(value)
            except ConfigError as error:
                raise ConfigError(f"{path}: {error}") from None
            except ValueError:  # Python refuses to write such a number
                raise ConfigError(f"{path}: {name}: a number with too many digits") from None
    return found


def to_toml(settings: Settings) -> str:
    """The configuration as a TOML file that `-c` reads, with each value's origin."""
    lines = []
    for section in Config.sections:
        lines.append(f"[{section}]")
        values = getattr(settings.config, section)
        for declaration in DECLARATIONS.values():
            if declaration.section == section:
                value = getattr(values, declaration.name)
                origin = settings.origins.get(declaration.name, "default")
                comment = origin if origin.isprintable() else repr(origin)
                lines.append(f"{_assignment(declaration, value)}  # {comment}")
        lines.append("")
    return "\n".join(lines)


def _assignment(declaration: Declaration, value: Any) -> str:
    if value is None:
        return f"# {declaration.name} is not set"
    if declaration.option.secret:
        return f"# {declaration.name} is set, and secret"
    return f"{declaration.name} = {_literal(declaration, value)}"


def _literal(declaration: Declaration, value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_quote(each) for each in value) + "]"
    if isinstance(value, str):
        return _quote(value)
    if declaration.option.octal:
        return f"0o{value:o}"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
