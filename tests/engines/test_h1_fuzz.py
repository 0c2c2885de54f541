"""Damaged requests: both parsers agree, and h11 as a whole agrees with them; see `tests.fuzz`."""

import pytest

from tests import fuzz
from tests.corpus import Found


@pytest.mark.parametrize("seed", range(4))
def test_damaged_requests(seed: int) -> None:
    count, refused = fuzz.run(seed, lambda done: done < 1250)
    assert 0.3 * count < refused < 0.9 * count  # else they are not damaged, or too much


def heard(**changes: object) -> fuzz.Heard:
    facts: dict[str, object] = {
        "method": "GET",
        "target": b"/",
        "version": "1.1",
        "headers": [(b"host", b"a")],
        "complete": True,
    }
    return fuzz.Heard(**{**facts, **changes})  # type: ignore[arg-type]


FOUND = Found("GET", b"/", [(b"host", b"a")])


def test_oracle_agrees() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert fuzz.heard_by_h11(data + b"\r\n" + data, 2) == [heard(), heard()]
    fuzz.compare(FOUND, heard(), refused=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "HEAD"},
        {"target": b"/x"},
        {"version": "1.0"},
        {"headers": [(b"host", b"b")]},
        {"headers": [(b"host", b"a"), (b"x", b"y")]},
        {"body": b"x"},
        {"complete": False},
        {"keep_alive": False},
    ],
    ids=str,
)
def test_oracle_sees_differences(changes: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        fuzz.compare(FOUND, heard(**changes), refused=False)
