"""From specification to parameters, and whichever way Heat gives them back."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml

from moorage.cloud.port.stacks import Stack
from moorage.clusters import parameters
from moorage.model.cluster import ClusterSpec

pytestmark = pytest.mark.unit

SPEC = ClusterSpec(
    "demo",
    image="image-1",
    flavor="m1.node",
    external_network="public",
    dns_nameservers=("192.0.2.1", "192.0.2.2"),
    registry_mirrors={"docker.io": "http://m:5000"},
)


def as_heat_tells(values):
    """Heat 27 gives every parameter back as text."""
    import json

    return {k: json.dumps(v) if isinstance(v, dict) else str(v) for k, v in values.items()}


def test_differences_with_heats_values_are_empty():
    stack = Stack("id", "demo", "CREATE_COMPLETE", parameters=as_heat_tells(parameters.user_parameters(SPEC)))
    assert parameters.differences(SPEC, stack) == []
    assert parameters.differences(replace(SPEC, image=None, flavor="", external_network=""), stack) == []
    assert parameters.differences(replace(SPEC, flavor="m1.large"), stack) == [
        "flavor m1.node, not m1.large",
        "worker_flavor m1.node, not m1.large",
    ]
    other = ClusterSpec("demo", registry_mirrors={"docker.io": "http://m:5001"})
    assert parameters.differences(other, stack) == [
        "dns_nameservers 192.0.2.1,192.0.2.2, not (none)",
        'registry_mirrors {"docker.io": "http://m:5000"}, not {"docker.io": "http://m:5001"}',
    ]


def test_user_parameters_are_compared_and_declared():
    assert set(parameters.USER_PARAMETERS) == set(parameters.user_parameters(SPEC))
    declared = yaml.safe_load(parameters.template("cluster.yaml"))["parameters"]
    request = parameters.stack_request(SPEC, "a request", 600)
    assert set(request.parameters) <= set(declared)
    assert request.parameters["signal_timeout"] > request.parameters["ready_timeout"]


def test_bootstrap_token_has_format_and_is_random():
    first, second = parameters.bootstrap_token(), parameters.bootstrap_token()
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", first)
    assert first != second
