"""What is said of flags that there are not."""

import pytest

from aserver.config import DECLARATIONS
from aserver.option_hints import _HERE, hint

FLAGS = [flag for each in DECLARATIONS.values() for flag in each.option.flags]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a:b"], "unrecognized arguments: a:b"),
        (["a:b", "--host"], "there is no option --host; is it --bind?"),
        (["--host=::"], "there is no option --host; is it --bind?"),
        (["--colour", "red"], "there is no option --colour"),
        (["--keepalive"], "there is no option --keepalive; is it --keep-alive?"),
        (["--root_path", "/"], "there is no option --root_path; is it --root-path?"),
        (["--x", "--y"], "there is no option --x"),
    ],
)
def test_one_is_named(arguments: list[str], message: str) -> None:
    assert hint(arguments, FLAGS) == message


def test_a_short_flag_and_its_value_may_be_one() -> None:
    assert hint(["-w4"], FLAGS) == hint(["-w", "4"], FLAGS)


@pytest.mark.parametrize("flag", ["--workers", "-w", "--reload", "-k", "--worker-class"])
def test_what_is_done_in_another_way(flag: str) -> None:
    assert hint([flag], FLAGS).startswith(f"there is no option {flag}: ")


def test_names_of_others_are_not_ours_and_what_they_are_here_is() -> None:
    assert not set(_HERE) & set(FLAGS)
    assert set(_HERE.values()) <= set(FLAGS)
