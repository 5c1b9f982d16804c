"""The HOT files: consistent in themselves, commented, least in what they open."""

from __future__ import annotations

import pytest
import yaml

from moorage.clusters import parameters
from moorage.model.ownership import owned_by

pytestmark = pytest.mark.unit

NAMES = ("cluster.yaml", "control-plane.yaml", "node-group.yaml", "node.yaml")
HOT = {name: yaml.safe_load(parameters.template(name)) for name in NAMES}


def uses(value, function):
    """Every first argument of a HOT function in a template."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == function:
                yield inner[0] if isinstance(inner, list) else inner
            yield from uses(inner, function)
    elif isinstance(value, list):
        for inner in value:
            yield from uses(inner, function)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_declared_and_used(name):
    hot = HOT[name]
    used = set(uses(hot["resources"], "get_param")) | set(uses(hot["outputs"], "get_param"))
    used |= set(uses(hot.get("conditions", {}), "get_param"))
    assert {word for word in used if not word.startswith("OS::")} == set(hot["parameters"])
    named = set(uses(hot, "get_resource")) | set(uses(hot, "get_attr"))
    assert named <= set(hot["resources"])
    assert set(hot["resources"]).isdisjoint(hot["parameters"])


@pytest.mark.parametrize(
    ("outer", "inner"),
    [("cluster.yaml", "control-plane.yaml"), ("cluster.yaml", "node-group.yaml"), ("node-group.yaml", "node.yaml")],
)
def test_nested_templates_get_all_parameters(outer, inner):
    bodies = list(HOT[outer]["resources"].values())
    bodies += [body["properties"]["resource_def"] for body in bodies if "resource_def" in body.get("properties", {})]
    given = next(set(body["properties"]) for body in bodies if body["type"] == inner)
    declared = HOT[inner]["parameters"]
    assert given <= set(declared)
    assert {name for name, schema in declared.items() if "default" not in schema} <= given


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_outputs_have_descriptions(name):
    describe = [*HOT[name]["parameters"].values(), *HOT[name]["outputs"].values()]
    assert all("description" in entry for entry in describe if list(entry) != ["value"])


def test_secret_parameters_are_hidden():
    assert all(hot["parameters"]["bootstrap_token"]["hidden"] for hot in HOT.values())
    for name in ("cluster.yaml", "control-plane.yaml"):
        assert HOT[name]["parameters"]["cloud_credential"]["hidden"]


def test_output_for_node_groups_has_no_secret():
    value = HOT["control-plane.yaml"]["outputs"]["node_group"]["value"]
    assert not {"bootstrap_token", "cloud_credential"} & set(uses(value, "get_param"))
    assert set(value) <= set(HOT["node-group.yaml"]["parameters"])


def test_workers_user_data_has_no_key_and_own_signal():
    document = HOT["node.yaml"]["resources"]["server"]["properties"]["user_data"]["str_replace"]["params"]["$document"]
    assert set(document) == {"role", "cluster", "node", "signal"}
    assert set(document["signal"]) == {"endpoint", "token"}
    assert set(uses(document["signal"], "get_attr")) == {"handle"}


def test_security_group_rules_are_expected():
    lines = parameters.template("control-plane.yaml").splitlines()
    groups = [index for index, line in enumerate(lines) if line.strip() == "rules:"]
    assert len(groups) == 2
    for start in groups:
        assert lines[start + 1].strip().startswith("#")


@pytest.mark.parametrize("name", NAMES)
def test_only_one_resource_has_no_dependency(name):
    """Heat pauses for a second between two that do."""
    bodies = HOT[name]["resources"]
    first = [
        each
        for each, body in bodies.items()
        if "depends_on" not in body and not {*uses(body, "get_resource"), *uses(body, "get_attr")}
    ]
    assert len(first) == 1


def test_neutron_resources_have_clusters_description():
    """In the words of `model.ownership.owned_by`; a router's interface and an association have no description."""
    words = owned_by("").split()
    for body in [*HOT["control-plane.yaml"]["resources"].values(), *HOT["node.yaml"]["resources"].values()]:
        if body["type"].startswith("OS::Neutron::") and not body["type"].endswith(("Interface", "Association")):
            properties = body["properties"]
            reported = properties.get("description") or properties["value_specs"]["description"]
            separator, (first, name) = reported["list_join"]
            assert [*first.split(), separator] == [*words, " "]
            assert name["get_param"] in ("name", ["cluster", "name"])


def test_credential_is_in_control_planes_user_data_only():
    whole = HOT["control-plane.yaml"]["resources"]
    assert "cloud_credential" in set(uses(whole["control_plane"], "get_param"))
    others = {name: body for name, body in whole.items() if name != "control_plane"}
    assert "cloud_credential" not in set(uses(others, "get_param"))
