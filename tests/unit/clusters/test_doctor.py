"""What a cloud has for clusters."""

from __future__ import annotations

import pytest

from moorage.cloud.memory.cloud import MemoryCloud
from moorage.clusters.preflight.doctor import Finding, examine

pytestmark = pytest.mark.unit


@pytest.fixture
def cloud() -> MemoryCloud:
    return MemoryCloud()


def examined(cloud: MemoryCloud) -> dict[str, Finding]:
    return {finding.requirement: finding for finding in examine(cloud, lambda text: None, lambda seconds: None)}


def test_complete_cloud_lacks_nothing_and_has_nothing_left(cloud: MemoryCloud) -> None:
    found = examined(cloud)
    assert {finding.state for finding in found.values()} == {"ok"}, found
    assert set(found) >= {"credentials", "node image", "flavor", "external network", "Heat", "quotas", "volumes"}
    assert cloud.identity.created == []
    assert all(record.stack.status.startswith("DELETE") for record in cloud.stacks.records.values())


def test_every_check_is_reported(cloud: MemoryCloud) -> None:
    reported: list[str] = []
    examine(cloud, reported.append, lambda seconds: None)
    assert reported[0] == "checking credentials"
    assert len(reported) == 9


def test_refused_credentials_end_the_checks(cloud: MemoryCloud) -> None:
    cloud.identity.unreachable = "Keystone refused"
    found = [finding.state for finding in examine(cloud, print, lambda seconds: None)]
    assert found == ["missing"]


def test_what_clusters_can_do_without_is_limited(cloud: MemoryCloud) -> None:
    cloud.identity.allow_credentials = False
    cloud.volumes = cloud.load_balancers = None
    found = examined(cloud)
    limited = {name for name, finding in found.items() if finding.state == "limited"}
    assert limited == {"application credential", "load balancers", "volumes"}
    assert "missing" not in {finding.state for finding in found.values()}


def test_cloud_without_image_network_and_flavor(cloud: MemoryCloud) -> None:
    cloud.images.images.clear()
    cloud.network.external = ()
    cloud.defaults = {"flavor": "m1.tiny"}
    found = examined(cloud)
    missing = {name: finding.fix for name, finding in found.items() if finding.state == "missing"}
    assert set(missing) == {"node image", "external network", "flavor"}
    assert "moorage image upload" in missing["node image"]


def test_heat_without_a_stack_domain_has_its_reason(cloud: MemoryCloud) -> None:
    cloud.stacks.failing = {"handle": "stack_user_domain is not configured"}
    finding = examined(cloud)["Heat"]
    assert finding.state == "missing"
    assert "stack_user_domain" in finding.found
    assert "stack domain" in finding.fix


def test_service_that_does_not_answer_keeps_others_checked(cloud: MemoryCloud) -> None:
    cloud.stacks.unreachable = "Heat does not answer"
    found = examined(cloud)
    assert found["Heat"].found == "Heat does not answer"
    assert found["volumes"].state == "ok"
