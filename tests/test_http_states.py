"""The states of the HTTP cycle, as an application reads them in an error."""

import pytest

from aserver import http_states
from aserver.http_states import Receiving, Sending


@pytest.mark.parametrize("states", [Receiving, Sending])
def test_every_state_says_what_it_means(states: type[Receiving] | type[Sending]) -> None:
    values = [state.value for state in states]
    assert len(set(values)) == len(values) == len(states.__members__)
    for value in values:
        assert value[0].islower()
        assert not value.endswith(".")


def test_every_state_has_a_constant() -> None:
    names = [*Receiving.__members__, *Sending.__members__]
    assert len(set(names)) == len(names)
    for states in (Receiving, Sending):
        for name, state in states.__members__.items():
            assert getattr(http_states, name) is state
