"""At most one candidate holds the lease, whatever happens to the API."""

from __future__ import annotations

import pytest

from moorage.kube.lease import Elector, ObservedLease, decide
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import LEASES

pytestmark = pytest.mark.unit
KEY = "kube-system/moorage-controller"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def api():
    return MemoryKubernetesClient()


@pytest.fixture
def electors(api, clock):
    return [Elector(api, KEY, name, clock) for name in ("one", "two")]


@pytest.mark.parametrize(
    ("observed", "now", "action"),
    [
        (None, 0, "create"),
        (ObservedLease({"holderIdentity": "me", "leaseDurationSeconds": 15}, 0), 99, "renew"),
        (ObservedLease({"holderIdentity": "", "leaseDurationSeconds": 15}, 0), 1, "acquire"),
        (ObservedLease({"holderIdentity": "other", "leaseDurationSeconds": 15}, 0), 14.9, "wait"),
        (ObservedLease({"holderIdentity": "other", "leaseDurationSeconds": 15}, 0), 15, "acquire"),
    ],
)
def test_decide_action(observed, now, action):
    assert decide(observed, "me", now) == action


def test_second_candidate_waits_for_expiry(api, clock, electors):
    one, two = electors
    assert (one.step(), two.step()) == (True, False)
    clock.now += 10
    assert one.step()
    clock.now += 10
    assert not two.step(), "it was renewed meanwhile"
    assert not one.is_leader, "the first gave up before the second may acquire it"
    clock.now += 15
    assert two.step()
    assert not one.step()
    assert api.get(LEASES, KEY)["spec"]["leaseTransitions"] == 1


def test_released_lease_is_taken_at_once(api, electors):
    one, two = electors
    one.step()
    two.step()
    one.release()
    assert not one.is_leader
    assert two.step()
    one.release()
    assert api.get(LEASES, KEY)["spec"]["holderIdentity"] == "two"


def test_lease_is_held_for_a_while_without_api(api, clock, electors):
    one = electors[0]
    one.step()
    api.unreachable = "etcd has no leader"
    clock.now += 9
    assert one.step()
    clock.now += 1
    assert not one.step()
    api.unreachable = ""
    assert one.step()


def test_stale_write_loses_the_lease(api, clock, electors):
    one, two = electors
    one.step()
    two.step()
    clock.now += 15
    stale = api.get(LEASES, KEY)
    assert two.step()
    one.api = Stale(api, stale)
    assert not one.step()
    assert two.step()


def test_deleted_lease_is_created_again(api, electors):
    electors[0].step()
    api.delete(LEASES, KEY)
    assert electors[0].step()
    assert api.get(LEASES, KEY)["spec"]["holderIdentity"] == "one"


class Stale:
    """An API with an outdated response to `get`."""

    def __init__(self, api, old):
        self.get = lambda *_: old
        self.replace = api.replace
