"""Globs of paths that are not logged."""

import pytest

from aserver.access_exclusions import compile_exclusions
from aserver.declarations import ConfigError


@pytest.mark.parametrize(
    ("patterns", "excluded", "logged"),
    [
        (["/health"], [b"/health", b"/health?a", b"/health?"], [b"/healthy", b"/", b"/a/health"]),
        (["/health*"], [b"/health", b"/healthy/a?b"], [b"/Health"]),
        (["*.css"], [b"/a/b.css", b"/b.css?v=1"], [b"/?a.css", b"/b.cssx"]),
        (["/[ab]/?"], [b"/a/1", b"/b/2?c"], [b"/c/1", b"/a/", b"/a/12"]),
        (["/a", "/b*c*d", "/e*f*g"], [b"/a", b"/b1c2d", b"/efg"], [b"/ab", b"/bc", b"/e"]),
        (["*"], [b"*", b"/"], []),
    ],
)
def test_exclusions(patterns: list[str], excluded: list[bytes], logged: list[bytes]) -> None:
    is_excluded = compile_exclusions(patterns)
    assert is_excluded is not None
    assert all(is_excluded(target) for target in excluded)
    assert not any(is_excluded(target) for target in logged)


def test_no_exclusions_are_no_test() -> None:
    assert compile_exclusions(()) is None


def test_a_pattern_that_no_path_can_match() -> None:
    with pytest.raises(ConfigError, match="--access-log-exclude: 'health' does not begin with a /"):
        compile_exclusions(["/", "health"])
