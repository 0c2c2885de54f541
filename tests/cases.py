"""Tables of hundreds of small cases, as one test: an item of pytest's for each of them takes longer
than all that it checks, in every worker."""

import functools
import inspect
from collections.abc import Callable, Collection

import pytest

Test = Callable[..., None]
# The rest fails for the same reason, in all likelihood; their values are named all the same.
_SHOWN = 10


def each(
    name: str, values: Collection[object], *, before: Callable[[], object] = lambda: None
) -> Callable[[Test], Test]:
    """Like `pytest.mark.parametrize`, but one test: it goes through all values, whatever fails.

    Its failure names every value that failed, and shows why the first of them did. Fixtures are
    made once for all.

    Args:
        name: Of the test's argument.
        values: For that argument, one after another.
        before: Called ahead of each; for what the cases must not have in common.
    """

    def decorated(test: Test) -> Test:
        @functools.wraps(test)
        def all_of_them(**arguments: object) -> None:
            failures: list[BaseException] = []
            failed: list[object] = []
            for value in values:
                before()
                try:
                    test(**arguments, **{name: value})
                except (Exception, pytest.fail.Exception) as failure:
                    failure.add_note(f"with {name}={value!r}")
                    failures.append(failure)
                    failed.append(value)
            if failures:
                said = f"{len(failed)} of {len(values)} failed: {name} in {failed!r}"
                raise BaseExceptionGroup(said, failures[:_SHOWN])

        signature = inspect.signature(test)
        rest = [each for each in signature.parameters.values() if each.name != name]
        assert len(rest) < len(signature.parameters), f"{test.__name__} has no argument {name}"
        all_of_them.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=rest
        )
        return all_of_them

    assert values, "a test of nothing"
    return decorated
