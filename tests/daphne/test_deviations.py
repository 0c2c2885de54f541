"""What Daphne's own tests assert and aserver does otherwise stands in the guide, with its reason.

The tests beside this one say "on purpose" where they hold such a case.
"""

import pytest

from tests.test_docs import tables
from tests.test_docs_migration import guide

HEAD = ["Daphne", "aserver", "why, and what to do"]
DELIBERATE = [
    # The command line
    "every failure is exit code 1, often a traceback",
    "`Server: daphne`",
    # Requests
    "none, or two, `Host` headers are taken",
    "no other keys",
    '`asgi` is `{"version": "3.0"}`',
    "`client` and `server` are lists",
    "headers are grouped by name",
    "any method, also `get` and `FOO`",
    "the application is called when the whole body has arrived",
    "`request_buffer_size` cuts the body",
    "the byte 0x85 in a header's value is refused",
    'error pages are HTML, and end in "Daphne"',
    # Who is in front
    "`--proxy-headers` believes everybody",
    "of `X-Forwarded-For` the leftmost address counts",
    "a scheme only counts beside `X-Forwarded-For`",
    "`Daphne-Root-Path` works always",
    # Responses
    "no `Date`",
    "a response of one message is chunked",
    "a message is wrong: `ValueError`",
    # WebSockets
    "a WebSocket's scope has no `scheme` and no `http_version`",
    "empty messages of the application are dropped",
    "bad UTF-8, a missing mask, too much: the connection is reset",
]


def differences() -> dict[str, list[str]]:
    """The other cells of each row of the guide, by the first."""
    found = [rows for rows in tables(guide("daphne")) if rows[0] == HEAD]
    assert len(found) > 5
    return {row[0]: row[1:] for rows in found for row in rows[1:]}


@pytest.mark.parametrize("row", DELIBERATE)
def test_it_is_told(row: str) -> None:
    assert row in differences()


def test_every_difference_has_its_reason() -> None:
    without = [row for row, (_, reason) in differences().items() if not reason]
    assert without == []
