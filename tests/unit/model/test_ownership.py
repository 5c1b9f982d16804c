"""Names of a cluster's resources: each is read back as it was written, and by no other cluster."""

from __future__ import annotations

import pytest

from moorage.model import ownership

pytestmark = pytest.mark.unit

CLUSTERS = ["demo", "demo-2", "demo_2", "d", "demo, Service x"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_service_named_by_tag_for_own_cluster(cluster):
    tag = ownership.service_tag(cluster, "ns", "web")
    assert [other for other in CLUSTERS if ownership.service_named(tag, other)] == [cluster]
    assert ownership.service_named(tag, cluster) == "ns/web"


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_described_service_for_own_cluster(cluster):
    reported = ownership.service_description(cluster, "ns/web")
    assert [other for other in CLUSTERS if ownership.described_service(reported, other)] == [cluster]
    assert ownership.described_service(reported, cluster) == "ns/web"
    kept = ownership.service_description(cluster, "ns/web", kept=True)
    assert [other for other in CLUSTERS if ownership.described_service(kept, other)] == [cluster]
    assert (ownership.described_kept(reported), ownership.described_kept(kept)) == (False, True)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_formerly_described_for_own_cluster(cluster):
    reported = ownership.former_description(cluster, "ns/web")
    assert reported == f"Floating IP for Kubernetes external service ns/web from cluster {cluster}"
    assert [other for other in CLUSTERS if ownership.formerly_described(reported, other)] == [cluster]
    assert ownership.formerly_described(reported, cluster) == "ns/web"
    assert ownership.described_service(reported, cluster) is None


@pytest.mark.parametrize("reported", ["", "Moorage cluster demo", "Moorage cluster demo, Service ns", "of a person"])
def test_other_descriptions_name_no_service(reported):
    assert ownership.described_service(reported, "demo") is None
    assert ownership.formerly_described(reported, "demo") is None


def test_cluster_tag_and_serving_tag_differ():
    assert ownership.cluster_tag("demo") != ownership.serving_tag("demo")
    assert len(ownership.cluster_tag("c" * 300)) == len(ownership.serving_tag("c" * 300)) == 255
