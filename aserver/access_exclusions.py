"""The paths that the access log leaves out: globs, compiled to one test."""

import fnmatch
import re
from collections.abc import Callable, Sequence

from .declarations import ConfigError


def compile_exclusions(patterns: Sequence[str]) -> Callable[[bytes], bool] | None:
    """One test for all patterns: paths, or globs of them, matched with the path of a target.

    Raises:
        ConfigError: A pattern that no path can match.
    """
    for pattern in patterns:
        if not pattern.startswith(("/", "*", "?", "[")):
            raise ConfigError(f"--access-log-exclude: {pattern!r} does not begin with a /")
    if not patterns:
        return None
    alternatives = "|".join(fnmatch.translate(pattern) for pattern in patterns)
    match = re.compile(alternatives.encode("ascii")).match

    def is_excluded(target: bytes) -> bool:
        return match(target.partition(b"?")[0]) is not None

    return is_excluded
