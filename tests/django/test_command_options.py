"""The options of `runserver`, and those of the command line."""

import argparse
from collections.abc import Set

import pytest

from aserver.declarations import ConfigError
from aserver.django.command_options import DAPHNES_FLAGS, add_options, given_options, joined
from aserver.django.option_places import ELSEWHERE
from aserver.options import build_parser

# Of the command line itself: neither of them is an option of the server.
ITS_OWN = {"-h", "--help", "--version", "-c", "--config", "--print-config", "--check-config"}


def new_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    add_options(parser)
    return parser


def flags(parser: argparse.ArgumentParser, *, without: Set[str]) -> set[str]:
    return {
        flag
        for action in parser._actions
        for flag in action.option_strings
        if action.dest not in without
    }


def test_they_are_those_of_the_command_line_but_for_a_few() -> None:
    expected = flags(build_parser(), without=ELSEWHERE.keys()) - ITS_OWN
    assert flags(new_parser(), without={"misplaced"}) - DAPHNES_FLAGS.keys() == expected
    assert {"--certfile", "--no-http2", "--proxy-headers", "--root-path", "-t"} <= expected


def test_the_others_are_known() -> None:
    djangos = {"-v", "--verbosity"}
    every = flags(build_parser(), without=set()) - ITS_OWN - djangos
    assert flags(new_parser(), without=set()) - DAPHNES_FLAGS.keys() == every


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--access-log", "-"], "--access-log has no place here: the setting LOGGING says"),
        (["--access-log=-"], "--access-log has no place here: the setting LOGGING says"),
        (["--no-access-log"], "--no-access-log has no place here: the setting LOGGING says"),
        (["-p", "8001"], "-p has no place here: runserver's argument"),
        (["--no-factory"], "--no-factory has no place here: the setting ASGI_APPLICATION names"),
        (["--graceful-timeout", "9"], "--graceful-timeout has no place here: who develops"),
    ],
)
def test_an_option_without_a_place_is_a_mistake(arguments: list[str], message: str) -> None:
    given = vars(new_parser().parse_args(arguments))
    with pytest.raises(ConfigError) as raised:
        given_options(given)
    assert str(raised.value).startswith(message)


def test_daphnes_spellings() -> None:
    given = new_parser().parse_args(["--http_timeout", "5", "--websocket_handshake_timeout", "7"])
    assert given_options(vars(given)) == {"http_timeout": 5.0, "websocket_connect_timeout": 7.0}


def test_texts_from_a_command_line() -> None:
    arguments = ["--no-http2", "--proxy-headers", "--certfile", "a", "--certfile", "b", "-t", "1"]
    others = {"verbosity": 1, "addrport": "8000", "use_ipv6": False, "settings": None}
    given = vars(new_parser().parse_args(arguments))
    assert given_options({**others, **given}) == {
        "http2": False,
        "proxy_headers": True,
        "certfile": ("a", "b"),
        "http_timeout": 1.0,
    }
    assert given_options(others) == {}


def test_values_from_call_command() -> None:
    options = {"http2": False, "certfile": "a", "keyfile": ("b",), "http_timeout": 5}
    assert given_options({**options, "keep_alive": None, "port": 1}) == {
        "http2": False,
        "certfile": ("a",),
        "keyfile": ("b",),
        "http_timeout": 5.0,
    }


@pytest.mark.parametrize("value", ["x", object(), True])
def test_a_value_that_cannot_be(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^--http-timeout: .* is not a number"):
        given_options({"http_timeout": value})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["runserver", "8000", "--noreload"], ["runserver", "8000", "--noreload"]),
        (
            ["runserver", "--certfile", "a", "--no-http2", "-t", "5", "8000"],
            ["runserver", "--certfile=a", "--no-http2", "-t=5", "8000"],
        ),
        (["--websocket_timeout", "-1"], ["--websocket_timeout=-1"]),
        (["--http_timeout=5", "8000"], ["--http_timeout=5", "8000"]),
        (["--certfile"], ["--certfile"]),
    ],
)
def test_values_are_joined_to_their_options(arguments: list[str], expected: list[str]) -> None:
    assert joined(arguments) == expected
    assert joined(expected) == expected


def test_an_option_means_the_same_when_joined() -> None:
    parser = new_parser()
    apart = ["--certfile", "a", "-t", "5", "--http_timeout", "7", "--websocket_timeout", "-1"]
    assert parser.parse_args(joined(apart)) == parser.parse_args(apart)
