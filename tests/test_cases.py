"""One test of many cases: nothing of their failures is lost."""

import inspect

import pytest

from tests.cases import each


def test_every_value_that_fails_is_named() -> None:
    seen = []

    @each("code", range(100))
    def test(code: int) -> None:
        seen.append(code)
        assert code % 3 or code > 50
        if code == 77:
            with pytest.raises(ValueError, match="a number"):
                int("7")

    with pytest.raises(BaseExceptionGroup) as caught:
        test()
    assert seen == [*range(100)]
    expected = [*range(0, 51, 3), 77]
    assert str(caught.value).startswith(f"{len(expected)} of 100 failed: code in {expected} ")
    assert [failure.__notes__ for failure in caught.value.exceptions[:2]] == [
        ["with code=0"],
        ["with code=3"],
    ]


def test_whoever_interrupts_it_ends_it() -> None:
    @each("code", range(100))
    def test(code: int) -> None:
        raise KeyboardInterrupt(code)

    with pytest.raises(KeyboardInterrupt, match="0"):
        test()


def test_other_arguments_are_fixtures_and_parameters() -> None:
    begun: list[int] = []

    @each("code", [1, 2], before=lambda: begun.append(len(begun)))
    def test(other: str, code: int) -> None:
        """What it is about."""
        assert (begun[-1], other) == (code - 1, "x")

    test(other="x")
    assert [*inspect.signature(test).parameters] == ["other"]
    assert test.__doc__ == "What it is about."


def test_nothing_is_no_test() -> None:
    with pytest.raises(AssertionError, match="a test of nothing"):
        each("code", [])


def test_a_test_without_the_argument_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no argument code"):

        @each("code", [1])
        def test() -> None: ...
