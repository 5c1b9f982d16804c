"""From specification to parameters, and whichever way Heat gives them back."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import yaml

from moorage.cloud.port.stacks import Stack
from moorage.clusters import parameters
from moorage.model.cluster import ClusterSpec, NodeGroup, Taint

pytestmark = pytest.mark.unit

GROUP = NodeGroup(
    "big",
    3,
    "m1.large",
    "image-2",
    labels={"example.com/disk": "ssd"},
    taints=(Taint("gpu", "NoSchedule", "yes"), Taint("slow", "NoExecute")),
    zones=("one", "two"),
    min_count=1,
    max_count=5,
)
SPEC = ClusterSpec(
    "demo",
    groups=(NodeGroup(flavor="m1.node", image="image-1"), GROUP),
    image="image-1",
    flavor="m1.node",
    external_network="public",
    dns_nameservers=("192.0.2.1", "192.0.2.2"),
    registry_mirrors={"docker.io": "http://m:5000"},
)
TOKEN = "abcdef.0123456789abcdef"


def as_heat_tells(request):
    """Heat 27 gives every parameter back as text."""
    return {k: json.dumps(v) if isinstance(v, dict | list) else str(v) for k, v in request.parameters.items()}


def recorded(spec):
    """The spec that Heat's stacks have."""
    base = Stack("id", "demo", "CREATE_COMPLETE", outputs={"node_group": {"cluster": {"name": "demo"}}})
    base = replace(base, parameters=as_heat_tells(parameters.base_request(spec, "a request", TOKEN, 600)))
    requests = [parameters.group_request(base, group, TOKEN, 600) for group in spec.groups]
    groups = [Stack("g", request.name, "CREATE_COMPLETE", parameters=as_heat_tells(request)) for request in requests]
    return parameters.recorded_spec(base, groups)


def test_certificates_of_the_cloud_are_a_parameter_only_if_there_are_any():
    """A base stack of an older version does not have the parameter."""
    assert "cloud_ca" not in parameters.base_request(SPEC, "a request", TOKEN, 600).parameters
    assert parameters.base_request(SPEC, "a request", TOKEN, 600, cloud_ca="PEM").parameters["cloud_ca"] == "PEM"


def test_recorded_spec_is_the_requested_one():
    assert recorded(SPEC) == SPEC
    bare = replace(SPEC, groups=(), dns_nameservers=(), registry_mirrors={}, cloud_provider="")
    assert recorded(bare) == bare


def test_differences_name_field_group_and_both_values():
    there = recorded(SPEC)
    assert parameters.differences(SPEC, there) == []
    left_open = (replace(SPEC.groups[0], flavor="", image=""),)
    loose = replace(SPEC, image=None, flavor="", external_network="", groups=left_open)
    assert parameters.differences(loose, there) == []
    other = replace(SPEC, flavor="m1.large", dns_nameservers=(), registry_mirrors={"docker.io": "http://m:5001"})
    assert parameters.differences(other, there) == [
        "flavor m1.node, not m1.large",
        "dns_nameservers 192.0.2.1,192.0.2.2, not (none)",
        'registry_mirrors {"docker.io": "http://m:5000"}, not {"docker.io": "http://m:5001"}',
    ]
    groups = (NodeGroup(count=3), replace(GROUP, taints=GROUP.taints[:1], labels={}))
    assert parameters.differences(replace(SPEC, groups=groups), there) == [
        "count of workers 2, not 3",
        'labels of big {"example.com/disk": "ssd"}, not (none)',
        "taints of big gpu=yes:NoSchedule,slow:NoExecute, not gpu=yes:NoSchedule",
    ]


def test_requests_have_declared_parameters_only():
    base = Stack("id", "demo", "CREATE_COMPLETE", outputs={"node_group": {"network": "n"}})
    for request in (
        parameters.base_request(SPEC, "a request", TOKEN, 600),
        parameters.group_request(base, GROUP, TOKEN, 600),
    ):
        declared = yaml.safe_load(request.template)["parameters"]
        assert set(request.parameters) <= set(declared)
        assert request.parameters["signal_timeout"] > request.parameters["ready_timeout"]


def test_first_join_token_is_the_same_for_a_key_and_a_cluster():
    token = parameters.first_join_token("key", "demo")
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token)
    assert parameters.first_join_token("key", "demo") == token
    assert len({token, parameters.first_join_token("key", "other"), parameters.first_join_token("k", "demo")}) == 3


def test_join_token_has_format_and_is_random():
    first, second = parameters.join_token(), parameters.join_token()
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", first)
    assert first != second
