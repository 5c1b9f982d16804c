"""A spec as a file: read and written again, and every mistake reported by its key."""

from __future__ import annotations

import pytest
import yaml

from moorage.clusters import spec_file
from moorage.model.cluster import ClusterSpec, NodeGroup, Taint
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit

TEXT = """
name: demo
flavor: m1.large
node_cidr: 10.7.0.0/24
dns_nameservers: [192.0.2.1]
registry_mirrors: {docker.io: "http://m:5000"}
cloud_provider: ""
groups:
- {name: workers, count: 3}
- name: gpu
  count: 1
  flavor: g1.large
  labels: {example.com/gpu: "yes"}
  taints: ["gpu=yes:NoSchedule", "slow:NoExecute"]
  zones: [one, two]
  min_count: 1
  max_count: 4
"""
GPU = NodeGroup(
    "gpu",
    1,
    "g1.large",
    labels={"example.com/gpu": "yes"},
    taints=(Taint("gpu", "NoSchedule", "yes"), Taint("slow", "NoExecute")),
    zones=("one", "two"),
    min_count=1,
    max_count=4,
)
SPEC = ClusterSpec(
    "demo",
    (NodeGroup(count=3), GPU),
    flavor="m1.large",
    node_cidr="10.7.0.0/24",
    dns_nameservers=("192.0.2.1",),
    registry_mirrors={"docker.io": "http://m:5000"},
    cloud_provider="",
)


def test_file_is_read_and_written():
    assert spec_file.parse(TEXT) == SPEC
    for spec in (SPEC, ClusterSpec("demo"), ClusterSpec("demo", ())):
        dumped = spec_file.dump(spec)
        assert spec_file.parse(yaml.safe_dump(dumped)) == spec
        assert spec_file.parse(yaml.safe_dump({"name": "demo", "status": "ready", "spec": dumped})) == spec


def test_file_without_groups_has_the_default_one():
    assert spec_file.parse("name: demo").groups == (NodeGroup(),)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("", "the file None: not a mapping"),
        ("- a", "the file ['a']: not a mapping"),
        ("a: [", "the file is not YAML"),
        ("flavor: x", "name: missing"),
        ("{name: demo, flavour: x}", "flavour: no such key; did you mean flavor?"),
        ("{name: 7}", "name 7: not text; in quotes"),
        ("{name: demo, dns_nameservers: 192.0.2.1}", "dns_nameservers 192.0.2.1: not a list"),
        ("{name: demo, dns_nameservers: [1]}", "dns_nameservers[0] 1: not text"),
        ("{name: demo, registry_mirrors: [a]}", "registry_mirrors ['a']: not a mapping"),
        ("{name: demo, groups: [workers]}", "groups[0]. workers: not a mapping"),
        ("{name: demo, groups: [{cuont: 2}]}", "groups[0].cuont: no such key; did you mean count?"),
        ("{name: demo, groups: [{count: '2'}]}", "groups[0].count 2: not a whole number"),
        ("{name: demo, groups: [{count: true}]}", "groups[0].count True: not a whole number"),
        ("{name: demo, groups: [{labels: {a: yes}}]}", "groups[0].labels.a True: not text; in quotes"),
        ("{name: demo, groups: [{labels: {on: x}}]}", "groups[0].labels.True: the key is not text; in quotes"),
        ("{name: demo, groups: [{taints: [a]}]}", "groups[0].taints[0] a: not a taint; KEY=VALUE:EFFECT"),
        ("{name: demo, groups: [{taints: [{key: a}]}]}", "not a taint"),
    ],
)
def test_mistake_is_reported_by_its_key(text, reported):
    with pytest.raises(BadInput) as raised:
        spec_file.parse(text)
    assert reported in f"{raised.value.message}; {raised.value.hint}"


def test_all_mistakes_are_reported_together():
    with pytest.raises(BadInput, match="3 problems") as raised:
        spec_file.parse("{nmae: demo, groups: [{count: x}]}")
    assert "nmae: no such key; did you mean name?" in raised.value.message
