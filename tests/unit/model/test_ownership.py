"""The words by which a cluster's things are known: each is read back as it was written, and by no other cluster."""

from __future__ import annotations

import pytest

from moorage.model import ownership

pytestmark = pytest.mark.unit

CLUSTERS = ["demo", "demo-2", "demo_2", "d", "demo, Service x"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_tag_names_its_service_to_its_own_cluster_only(cluster):
    tag = ownership.service_tag(cluster, "ns", "web")
    assert [other for other in CLUSTERS if ownership.service_named(tag, other)] == [cluster]
    assert ownership.service_named(tag, cluster) == "ns/web"


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_description_names_its_service_to_its_own_cluster_only(cluster):
    said = ownership.service_description(cluster, "ns/web")
    assert [other for other in CLUSTERS if ownership.described_service(said, other)] == [cluster]
    assert ownership.described_service(said, cluster) == "ns/web"
    kept = ownership.service_description(cluster, "ns/web", kept=True)
    assert [other for other in CLUSTERS if ownership.described_service(kept, other)] == [cluster]
    assert (ownership.described_kept(said), ownership.described_kept(kept)) == (False, True)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_so_does_one_of_the_provider_before_us(cluster):
    said = ownership.former_description(cluster, "ns/web")
    assert said == f"Floating IP for Kubernetes external service ns/web from cluster {cluster}"
    assert [other for other in CLUSTERS if ownership.formerly_described(said, other)] == [cluster]
    assert ownership.formerly_described(said, cluster) == "ns/web"
    assert ownership.described_service(said, cluster) is None


@pytest.mark.parametrize("said", ["", "Moorage cluster demo", "Moorage cluster demo, Service ns", "of a person"])
def test_what_names_no_service_is_of_none(said):
    assert ownership.described_service(said, "demo") is None
    assert ownership.formerly_described(said, "demo") is None


def test_what_is_made_for_a_cluster_and_what_only_serves_it_have_different_tags():
    assert ownership.cluster_tag("demo") != ownership.serving_tag("demo")
    assert len(ownership.cluster_tag("c" * 300)) == len(ownership.serving_tag("c" * 300)) == 255
