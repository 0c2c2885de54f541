"""Who has asked a server to stop; what comes of it is in test_server_states."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from aserver.stopping import State, StopRequests


def told(stops: StopRequests) -> tuple[bool, bool, bool]:
    return stops.asked.is_set(), stops.hurry.is_set(), stops.rested.is_set()


def test_nobody_has_asked() -> None:
    stops = StopRequests()
    assert not stops.heed()
    assert told(stops) == (False, False, False)


def test_a_request_is_told_when_it_is_heeded() -> None:
    stops = StopRequests()
    stops.add()
    assert told(stops) == (False, False, False)
    assert stops.heed()
    assert told(stops) == (True, False, False)


def test_heeding_it_twice_makes_no_second_one() -> None:
    stops = StopRequests()
    stops.add()
    assert stops.heed()
    assert stops.heed()
    assert told(stops) == (True, False, False)


@pytest.mark.parametrize("times", [2, 3])
def test_a_second_one_is_in_a_hurry(times: int) -> None:
    stops = StopRequests()
    with ThreadPoolExecutor(times) as threads:
        for _ in range(times):
            threads.submit(stops.add)
    assert stops.heed()
    assert told(stops) == (True, True, False)


def test_who_waits_for_a_request_is_told_of_the_end() -> None:
    stops = StopRequests()
    stops.end()
    assert told(stops) == (True, False, True)
    assert not stops.heed()  # there was none


def test_states_complete_a_sentence() -> None:
    assert [f"the server {state.value}" for state in State] == [
        "the server is not started",
        "the server is starting",
        "the server has started",
        "the server is stopping",
    ]
