"""The corpus, over both parsers and at every split point: one verdict, in one set of words."""

from collections.abc import Iterator

import pytest

from tests.corpus import Case, load
from tests.engines.wire import Outcome, exchange
from tests.fakes import PARSERS

CASES = {name: load(name) for name in ("valid", "refused", "advisories")}


def splits(case: Case) -> Iterator[list[bytes]]:
    """The whole, its pieces, single bytes, and every way to cut it in two."""
    data = case.data
    yield [data]
    yield case.pieces
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


@pytest.mark.parametrize("case", [case for cases in CASES.values() for case in cases], ids=str)
def test_verdict(case: Case) -> None:
    statuses = [200] * sum(found.complete for found in case.requests)
    reasons = exchange("h11", [case.data]).reasons
    assert len(reasons) == (case.refused is not None)
    if case.refused is not None:
        statuses.append(case.refused)
    expected = Outcome(case.requests, statuses, reasons)
    for name in PARSERS:
        for pieces in splits(case):
            assert exchange(name, pieces) == expected, (name, pieces)


@pytest.mark.parametrize(("file", "some"), [("valid", None), ("refused", True)])
def test_files_hold_what_they_say(file: str, some: bool | None) -> None:
    for case in CASES[file]:
        assert (case.refused and True) is some, case.name


def test_names_are_unique() -> None:
    for cases in CASES.values():
        names = [case.name for case in cases]
        assert len(names) == len(set(names))


def test_every_request_again_and_again(parser: str) -> None:
    """However often a request came before on its connection, it is what it was."""
    repeated = 0
    for case in CASES["valid"]:
        once = exchange(parser, [case.data])
        if not once.found or not all(each.keep_alive and each.complete for each in once.found):
            continue
        if not case.data.endswith((b"\r\n\r\n", once.found[-1].body or b"\r\n\r\n")):
            continue
        again = exchange(parser, [case.data] * 4)
        assert again.found == once.found * 4, case.name
        assert again.statuses == once.statuses * 4, case.name
        repeated += 1
    assert repeated > 100
