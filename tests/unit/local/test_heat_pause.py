import pytest

from moorage.local.projects.heat.threads import FIRST_PAUSE, LONGEST_PAUSE, poll_interval

pytestmark = pytest.mark.unit


def test_pause_grows_with_polls():
    pauses = [poll_interval(polls) for polls in range(1, 20)]
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE <= 1
