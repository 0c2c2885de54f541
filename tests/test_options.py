"""Options from the command line, the environment, a TOML file and the defaults."""

import itertools
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver import __version__
from aserver.config import DECLARATIONS, Config
from aserver.declarations import ConfigError, Declaration
from aserver.options import Settings, build_parser, describe, load, to_toml

WriteFile = Callable[[str], str]


@pytest.fixture
def toml(tmp_path: Path) -> WriteFile:
    def write(text: str) -> str:
        path = tmp_path / "aserver.toml"
        path.write_text(text)
        return str(path)

    return write


def value_of(config: Config, declaration: Declaration) -> Any:
    return getattr(getattr(config, declaration.section), declaration.name)


# The command line


def test_nothing_given() -> None:
    assert load([], {}) == Settings(Config(), {}, "run")


@pytest.mark.parametrize(
    "argv",
    [
        ["mysite:app", "-p", "1", "--factory", "-b", "a", "--bind=b"],
        ["-p", "1", "--factory", "-b", "a", "--bind=b", "mysite:app"],
        ["-p1", "-b", "a", "mysite:app", "--factory", "-bb"],
        ["--port=1", "-b", "a", "mysite:app", "-b", "b", "--factory"],
        ["--factory", "--port", "1", "-b", "a", "-b", "b", "--", "mysite:app"],
    ],
)
def test_options_stand_before_and_after_the_application(argv: list[str]) -> None:
    config = load(argv, {}).config
    assert config == Config.of(app="mysite:app", port=1, factory=True, bind=["a", "b"])


def test_daphnes_short_flags() -> None:
    argv = ["-b", "h", "-p", "1", "-u", "s", "-t", "5", "-v", "2", "-s", "n", "m:a"]
    assert load(argv, {}).config == Config.of(
        bind="h", port=1, unix_socket="s", http_timeout=5, verbosity=2, server_name="n", app="m:a"
    )


@pytest.mark.parametrize(
    ("argv", "option", "value"),
    [
        (["--no-server-name"], "server_name", ""),
        (["-s", "me", "--no-server-name"], "server_name", ""),
        (["--no-server-name", "-s", "me"], "server_name", "me"),
        (["--no-access-log"], "access_log", ""),
        (["--access-log", "-"], "access_log", "-"),
        (["--v6only"], "v6only", True),
        (["--v6only", "--no-v6only"], "v6only", False),
        (["-p", "1", "-p", "2"], "port", 2),
    ],
)
def test_flags_that_set_a_value_the_last_one_wins(argv: list[str], option: str, value: Any) -> None:
    assert load(argv, {}).config == Config.of(**{option: value})


@pytest.mark.parametrize(
    ("argv", "action"),
    [([], "run"), (["--print-config"], "print-config"), (["--check-config"], "check-config")],
)
def test_actions(argv: list[str], action: str) -> None:
    assert load(argv, {}).action == action


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--colour"], "there is no option --colour (aserver --help shows the options)"),
        (["--verb", "1"], "there is no option --verb ("),  # no abbreviations
        (["a:b", "c:d"], "unrecognized arguments: c:d"),
        (["--host", "0.0.0.0", "a:b"], "there is no option --host; is it --bind?"),
        (["--keepalive=5", "a:b"], "there is no option --keepalive; is it --keep-alive?"),
        (["a:b", "-w", "4"], "there is no option -w: one aserver is one process"),
        (["--port"], "argument -p/--port: expected one argument"),
        (["--factory=yes"], "argument --factory: ignored explicit argument 'yes'"),
        (["-p", "web"], "--port: 'web' is not a whole number"),
        (["-t", "-1"], "--http-timeout: -1.0 is not 0 or more"),
        (["--http", "nghttp"], "--http: 'nghttp' is not one of auto, httptools, h11"),
    ],
)
def test_mistakes_on_the_command_line(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(argv, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "text"), [("--version", f"aserver {__version__}\n"), ("-h", "--keep-alive N")]
)
def test_version_and_help(flag: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load([flag], {})
    assert caught.value.code == 0
    assert text in capsys.readouterr().out


def test_help_has_every_flag_with_unit_and_default() -> None:
    # Lines break behind hyphens, too.
    text = " ".join(build_parser().format_help().split()).replace("- ", "-")
    for declaration in DECLARATIONS.values():
        for flag in declaration.option.flags:
            assert re.search(rf" {flag}[ ,]", text)
        described = describe(declaration).replace("%%", "%").replace("- ", "-")
        assert described.rstrip(")") in text
    assert "the server listens on 127.0.0.1:8000" in text
    assert "(seconds, default 75)" in describe(DECLARATIONS["keep_alive"])
    assert "(default 666)" in describe(DECLARATIONS["unix_socket_mode"])
    assert "default" not in describe(DECLARATIONS["factory"])


# The environment


@pytest.mark.parametrize(
    ("variable", "text", "option", "value"),
    [
        ("ASERVER_PORT", "1", "port", 1),
        ("ASERVER_BIND", "a, unix:b", "bind", ("a", "unix:b")),
        ("ASERVER_BIND", "", "bind", ()),  # and not "", which would be an address
        ("ASERVER_FACTORY", "true", "factory", True),
        ("ASERVER_KEEP_ALIVE", "1.5", "keep_alive", 1.5),
        ("ASERVER_UNIX_SOCKET_MODE", "600", "unix_socket_mode", 0o600),
        ("ASERVER_SERVER_NAME", "", "server_name", ""),
        ("ASERVER_ACCESS_LOG", "", "access_log", ""),
        ("ASERVER_APP", "mysite:app", "app", "mysite:app"),
    ],
)
def test_environment(variable: str, text: str, option: str, value: Any) -> None:
    found = load([], {variable: text, "OTHER_PORT": "2", "PORT": "3"})
    assert found.config == Config.of(**{option: value})
    assert found.origins == {option: variable}


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("ASERVER_PORT", "web", "ASERVER_PORT: --port: 'web' is not a whole number"),
        ("ASERVER_PORT", "-1", "ASERVER_PORT: --port: -1 is not 0 or more"),
        ("ASERVER_BIND", "x,a\nb", "ASERVER_BIND: --bind: .* characters that are not allowed"),
        ("ASERVER_LOOP", "tokio", "ASERVER_LOOP: --loop: 'tokio' is not one of"),
    ],
)
def test_mistakes_in_the_environment_name_the_variable(
    variable: str, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load([], {variable: text})


def test_environment_names_the_file(toml: WriteFile) -> None:
    file = toml("[bind]\nport = 1")
    assert load([], {"ASERVER_CONFIG": file}).config == Config.of(port=1)
    other = Path(file).with_name("other.toml")
    other.write_text("[bind]\nport = 2")
    assert load(["-c", str(other)], {"ASERVER_CONFIG": file}).config == Config.of(port=2)


# The file


def test_file(toml: WriteFile) -> None:
    file = toml(
        """
        [bind]
        bind = ["[::]:80", "unix:/run/a"]
        unix_socket_mode = 0o600
        [limits]
        keep_alive = 5
        [process]
        app = "mysite:app"
        factory = true
        """
    )
    found = load(["--config", file], {})
    assert found.config == Config.of(
        bind=["[::]:80", "unix:/run/a"],
        unix_socket_mode=0o600,
        keep_alive=5,
        app="mysite:app",
        factory=True,
    )
    assert found.origins["keep_alive"] == file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[bind]\nport = 'web'", "{file}: --port: 'web' is not a whole number"),
        ("[bind]\nport = true", "{file}: --port: True is not a whole number"),
        ("[bind]\nbind = 8000", "{file}: --bind: 8000 is not a text"),
        ("[bind]\nbind = [[]]", "{file}: --bind: [] is not a text"),
        (
            "[bind]\nunix_socket_mode = 666",
            "{file}: --unix-socket-mode: 1232 is more than 777 (octal; in TOML, 0o777)",
        ),
        ('[log]\naccess_log = "a\\u0000"', "{file}: --access-log: 'a\\x00' has characters that"),
        ("[limits]\nkeep_alive = 2020-01-01", "{file}: --keep-alive: datetime.date("),
        ("[bind]\nkeep_alive = 1", "{file}: there is no option 'keep_alive' in section [bind]"),
        ("[bind]\nprot = 1", "{file}: there is no option 'prot' in section [bind]"),
        ("[binds]\nport = 1", "{file}: there is no section [binds]"),
        ("port = 1", "{file}: 'port' belongs into the section [bind]"),
        ("bind = 'a'", "{file}: there is no section [bind]"),
        ("[bind\nport = 1", "--config: '{file}' is not TOML: "),
        ("[bind]\nport = 1\nport = 2", "--config: '{file}' is not TOML: "),
        ("[bind]\nport = " + "1" * 5000, "--config: '{file}' is not TOML: "),
        ("[bind]\nport = " + "[" * 5000, "--config: '{file}' is not TOML: "),
        ("[bind]\nport = 0x" + "1" * 5000, "{file}: port: a number with too many digits"),
    ],
)
def test_mistakes_in_the_file_name_the_file(toml: WriteFile, text: str, message: str) -> None:
    file = toml(text)
    with pytest.raises(ConfigError) as caught:
        load(["-c", file], {})
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config: cannot read '.*': No such file or directory"):
        load(["-c", str(tmp_path / "none.toml")], {})
    with pytest.raises(ConfigError, match=r"--config: cannot read '.*': Is a directory"):
        load(["-c", str(tmp_path)], {})
    (tmp_path / "latin").write_bytes(b"[http]\nserver_name = '\xff'")
    with pytest.raises(ConfigError, match=r"--config: '.*' is not TOML: "):
        load(["-c", str(tmp_path / "latin")], {})


# Mistakes that are found when the value is needed


@pytest.mark.parametrize(
    ("argv", "environ", "place"),
    [
        (["--forwarded-allow-ips", "x"], {}, ""),
        ([], {"ASERVER_FORWARDED_ALLOW_IPS": "x"}, "ASERVER_FORWARDED_ALLOW_IPS: "),
        ([], {"FORWARDED_ALLOW_IPS": "x"}, "FORWARDED_ALLOW_IPS: "),
        (["-c", "FILE"], {}, "FILE: "),
    ],
)
def test_they_name_the_place_too(
    argv: list[str], environ: dict[str, str], place: str, toml: WriteFile
) -> None:
    file = toml("[proxy]\nforwarded_allow_ips = ['x']")
    found = load([each.replace("FILE", file) for each in argv], environ)
    error = ConfigError("--forwarded-allow-ips: 'x' is no address")
    assert str(found.located(error)) == place.replace("FILE", file) + str(error)
    assert str(found.located(ConfigError("--forwarded: no"))) == "--forwarded: no"
    assert str(found.located(ConfigError("nothing"))) == "nothing"


# Precedence: command line > environment > file > default

Samples = list[tuple[str, str, list[str], Any]]


def samples(declaration: Declaration) -> Samples:
    """Values of one option, each as TOML, as a variable, as arguments, and as it is in the end."""
    flags = declaration.option.flags
    if declaration.kind is bool:
        yes = ("true", "yes", [flags[0]], True)
        no = ("false", "no", [flags[-1].replace("--", "--no-")], False)
        return [yes, no, yes]
    if declaration.option.prefix:
        return [(f"'/{n}/'", f"/{n}", [flags[0], f"/{n}//"], f"/{n}") for n in (1, 2, 3)]
    if declaration.option.choices:
        texts = [each for each in declaration.option.choices if each != declaration.default]
        if declaration.many:
            return [
                (f"['{text}']", f"for, {text}", [flags[0], f"{text},port"], value)
                for text, value in (
                    ("proto", ("proto",)),
                    ("host", ("for", "host")),
                    ("prefix", ("prefix", "port")),
                )
            ]
        texts = [declaration.default, texts[0], texts[-1]]
        return [(f"'{text}'", text, [flags[0], text], text) for text in reversed(texts)]
    if declaration.kind is str:
        return [
            (
                f"['{text}']" if declaration.many else f"'{text}'",
                text,
                [*flags[-1:], text],
                (text,) if declaration.many else text,
            )
            for text in ("one", "two", "three")
        ]
    if declaration.option.octal:
        return [(f"0o{n}", f"{n}", [flags[0], f"{n}"], int(f"{n}", 8)) for n in (600, 640, 660)]
    least = int(declaration.option.minimum) + 1
    numbers = (least, least + 1, least + 2)
    return [(f"{n}", f"{n}", [flags[0], f"{n}"], declaration.kind(n)) for n in numbers]


@pytest.mark.parametrize("name", DECLARATIONS)
def test_precedence(name: str, toml: WriteFile) -> None:
    declaration = DECLARATIONS[name]
    in_file, in_environment, in_arguments = samples(declaration)
    file = toml(f"[{declaration.section}]\n{name} = {in_file[0]}")
    for has_file, has_environment, has_arguments in itertools.product((False, True), repeat=3):
        argv = [*(["-c", file] if has_file else []), *(in_arguments[2] if has_arguments else [])]
        environ = {f"ASERVER_{name.upper()}": in_environment[1]} if has_environment else {}
        expected, origin = declaration.default, None
        if has_file:
            expected, origin = in_file[3], file
        if has_environment:
            expected, origin = in_environment[3], f"ASERVER_{name.upper()}"
        if has_arguments:
            expected, origin = in_arguments[3], "command line"
        found = load(argv, environ)
        assert value_of(found.config, declaration) == expected
        assert found.origins.get(name) == origin


# --print-config


def a_value(declaration: Declaration) -> st.SearchStrategy[Any]:
    option = declaration.option
    if declaration.kind is bool:
        return st.booleans()
    if option.choices:
        return st.sampled_from(option.choices)
    if option.prefix:
        return st.sampled_from(["", "/a", "/\N{SNOWMAN}/b"])
    if declaration.kind is str:
        alphabet = st.characters(codec="ascii" if option.ascii else "utf-8", exclude_categories=())
        text = st.text(alphabet).filter(lambda text: not set(text) & CONTROL_CHARACTERS)
        return st.lists(text) if declaration.many else text
    low, high = int(option.minimum), int(option.maximum)
    return st.integers(low, high) if declaration.kind is int else st.floats(low, high)


CONTROL_CHARACTERS = {*map(chr, range(32)), "\x7f"}
ANY_OPTIONS = st.fixed_dictionaries({}, optional={n: a_value(d) for n, d in DECLARATIONS.items()})


@settings(max_examples=60, deadline=None)
@given(options=ANY_OPTIONS)
def test_the_printed_configuration_reads_back_as_the_same(
    options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = Config.of(**options)
    file = tmp_path_factory.getbasetemp() / "printed.toml"
    file.write_text(to_toml(Settings(config, {}, "print-config")), "utf-8")
    again = load(["-c", str(file)], {})
    assert again.config == replace(config, tls=replace(config.tls, keyfile_password=None))
    assert set(options) - {"keyfile_password"} <= set(again.origins)


def test_the_printed_configuration_keeps_secrets() -> None:
    text = to_toml(load(["--keyfile-password", "hidden"], {}))
    assert "# keyfile_password is set, and secret  # command line" in text.splitlines()
    assert "hidden" not in text


def test_the_printed_configuration_tells_where_values_come_from(toml: WriteFile) -> None:
    file = toml("[limits]\nkeep_alive = 5\n[log]\naccess_log = '-'")
    found = load(["-c", file, "-u", 'a\\b"c'], {"ASERVER_FACTORY": "1"})
    lines = to_toml(found).splitlines()
    assert f"keep_alive = 5.0  # {file}" in lines
    assert "factory = true  # ASERVER_FACTORY" in lines
    assert 'unix_socket = "a\\\\b\\"c"  # command line' in lines
    assert "unix_socket_mode = 0o666  # default" in lines
    assert "# port is not set  # default" in lines
    assert "bind = []  # default" in lines


def test_the_printed_configuration_names_every_option() -> None:
    text = to_toml(load([], {}))
    document = tomllib.loads(text)
    assert list(document) == list(Config.sections)
    for declaration in DECLARATIONS.values():
        written = declaration.name in document[declaration.section]
        assert written or f"# {declaration.name} is not set" in text


def test_a_files_name_does_not_break_the_printed_configuration(tmp_path: Path) -> None:
    file = tmp_path / "a\nb.toml"
    file.write_text("[bind]\nport = 1")
    printed = to_toml(load(["-c", str(file)], {}))
    assert tomllib.loads(printed)["bind"]["port"] == 1


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (["-u", "a", "--unix-socket", "b"], "-u/--unix-socket"),
        (["--fd", "3", "--fd", "4"], "--fd"),
    ],
)
def test_an_address_given_twice_is_a_mistake(argv: list[str], flag: str) -> None:
    with pytest.raises(ConfigError, match=f"argument {flag}: given twice"):
        load(argv, {})


def test_of_other_options_the_last_one_wins() -> None:
    assert load(["--keep-alive", "1", "--keep-alive", "2"], {}).config.limits.keep_alive == 2
