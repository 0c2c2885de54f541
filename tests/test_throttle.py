"""What outsiders can provoke does not fill the log; the clock is the test's."""

import logging
import re
from collections.abc import Iterator

import pytest

from aserver.logs import peer_log, server_log
from aserver.throttle import SHOWN, WINDOW, Throttle


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "aserver"):
        yield


def test_few_records_are_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle()
    throttle.info(peer_log, "Refused %s: %s", "a", 1)
    throttle.warning(server_log, "Full")
    throttle.advance(WINDOW)
    throttle.close()
    assert [(each.name, each.levelname, each.message) for each in caplog.records] == [
        ("aserver.peer", "INFO", "Refused a: 1"),
        ("aserver.server", "WARNING", "Full"),
    ]


def test_the_rest_of_a_minute_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle()
    throttle.advance(100.0)
    for number in range(SHOWN + 7):
        throttle.info(peer_log, "Refused %d", number)
    throttle.advance(100.0 + WINDOW - 1)
    assert caplog.messages == [f"Refused {number}" for number in range(SHOWN)]
    throttle.advance(100.0 + WINDOW)
    summary = caplog.records[-1]
    assert (
        summary.message == f"7 more in 60 seconds that are not shown, the last: Refused {SHOWN + 6}"
    )
    assert (summary.name, summary.levelname) == ("aserver.peer", "INFO")
    throttle.advance(100.0 + 2 * WINDOW)
    assert len(caplog.records) == SHOWN + 1, "it is said once"
    throttle.info(peer_log, "Refused %d", 1)
    assert caplog.messages[-1] == "Refused 1", "and a new minute begins"


def test_each_kind_has_a_count_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle()
    for _ in range(100):
        throttle.info(peer_log, "Refused")
    throttle.info(peer_log, "Closed")
    assert caplog.messages == ["Refused"] * SHOWN + ["Closed"]


def test_the_end_of_the_server_loses_no_count(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle()
    for _ in range(SHOWN + 1):
        throttle.info(peer_log, "Refused")
    throttle.advance(3.0)
    throttle.close()
    throttle.close()
    assert caplog.messages[SHOWN:] == ["1 more in 3 seconds that are not shown, the last: Refused"]


def test_a_port_scan_of_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Five kinds of noise, a hundred a second."""
    throttle = Throttle()
    for second in range(60):
        throttle.advance(float(second))
        for number in range(100):
            throttle.info(peer_log, f"Noise of kind {number % 5} from %s", f"192.0.2.{number}")
    throttle.close()
    assert len(caplog.records) < 50
    more = [re.match(r"(\d+) more", message) for message in caplog.messages]
    shown = sum(match is None for match in more)
    assert sum(int(match[1]) for match in more if match) + shown == 6000


def test_who_debugs_sees_everything(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle()
    with caplog.at_level(logging.DEBUG, "aserver"):
        for _ in range(100):
            throttle.info(peer_log, "Refused")
        throttle.close()
    assert caplog.messages == ["Refused"] * 100


def test_what_is_not_logged_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle()
    with caplog.at_level(logging.WARNING, "aserver"):
        for _ in range(100):
            throttle.info(peer_log, "Refused")
        throttle.close()
    assert caplog.messages == []
