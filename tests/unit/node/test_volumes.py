"""A cluster's objects for volumes use the same driver and user names."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorage.csi.cinder import parameters
from moorage.csi.cinder.backend import NAME
from moorage.node import objects
from moorage.node.api import path_of
from moorage.node.layout import Layout

pytestmark = pytest.mark.unit

USER = "moorage:csi"


def test_csi_driver_has_name() -> None:
    driver = objects.volumes()[0]
    assert (driver["kind"], driver["metadata"]["name"]) == ("CSIDriver", NAME)
    assert driver["spec"]["fsGroupPolicy"] == "File"  # the node service refuses to do it by mount option


def test_role_is_bound_to_user() -> None:
    role, binding = objects.volumes()[1:]
    assert (role["kind"], binding["kind"]) == ("ClusterRole", "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [USER]


def test_role_has_no_unneeded_permission() -> None:
    rules = objects.volumes()[1]["rules"]
    given = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert not {resource for resource, _ in given} & {"secrets", "pods", "leases", "*"}
    assert not {(resource, verb) for resource, verb in given if verb in ("*", "deletecollection")}
    assert ("persistentvolumeclaims", "delete") not in given
    assert {resource for resource, verb in given if verb in ("create", "delete")} == {
        "persistentvolumes",
        "volumesnapshotcontents",
        "events",
    }


def test_snapshot_definitions_are_from_image(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.snapshot_definitions.parent.mkdir(parents=True)
    names = ["volumesnapshotclasses.snapshot.storage.k8s.io", "volumesnapshots.snapshot.storage.k8s.io"]
    layout.snapshot_definitions.write_text("".join(DEFINITION.format(name) for name in names))
    definitions = objects.snapshot_definitions(layout)
    assert [one["metadata"]["name"] for one in definitions] == names
    assert definitions[0]["spec"]["versions"][0]["pattern"] == "^${}$"  # nothing is filled in


DEFINITION = """---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {}}}
spec: {{versions: [{{name: v1, pattern: "^${{}}$"}}]}}
"""


def test_default_snapshot_class_is_valid() -> None:
    wanted = objects.snapshot_class()
    assert wanted["driver"] == NAME
    assert parameters.parse_snapshot_class(wanted["parameters"]) is True
    assert wanted["metadata"]["annotations"] == {"snapshot.storage.kubernetes.io/is-default-class": "true"}


@pytest.mark.parametrize(
    ("group", "kind", "plural"),
    [
        ("storage.k8s.io", "CSIDriver", "csidrivers"),
        ("storage.k8s.io", "StorageClass", "storageclasses"),
        ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
        ("snapshot.storage.k8s.io", "VolumeSnapshotClass", "volumesnapshotclasses"),
        ("snapshot.storage.k8s.io", "VolumeSnapshot", "volumesnapshots"),
    ],
)
def test_snapshot_definition_paths(group: str, kind: str, plural: str) -> None:
    wanted = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "x"}}
    assert path_of(wanted) == f"/apis/{group}/v1/{plural}/x"
