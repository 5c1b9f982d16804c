"""Node groups as a user creates, resizes and deletes them: interrupted, and with pods that may not be evicted."""

from __future__ import annotations

import json

import pytest

from cluster import RunCluster, kill_at_line
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800), pytest.mark.usefixtures("emptied")]

NAME, GROUP, LABEL = RunCluster.NAME, "extra", "example.com/extra"
PLACED = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: placed}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: placed}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: placed}}
  template:
    metadata: {labels: {app: placed}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {example.com/extra: "yes"}
      tolerations: [{key: extra, operator: Exists}]
      containers:
        - {name: placed, image: "moorage.local/pause:1", volumeMounts: [{name: data, mountPath: /data}]}
      volumes: [{name: data, persistentVolumeClaim: {claimName: placed}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: placed}
spec: {minAvailable: 1, selector: {matchLabels: {app: placed}}}
"""


@pytest.fixture
def group(cloud, cluster):
    yield cluster
    cluster.kubectl("delete", "pdb", "placed", "--ignore-not-found")
    if GROUP in [row["name"] for row in groups(cloud)]:
        nodegroup(cloud, "delete", GROUP, "--yes", "--force", "--drain-timeout", "1")


def nodegroup(cloud, verb, *words, check=True):
    return cloud.moorage("--cloud", "moorage", "nodegroup", verb, NAME, *words, check=check, timeout=900)


def groups(cloud):
    return json.loads(nodegroup(cloud, "list", "-o", "json").stdout)


def nodes(cluster):
    """The group's nodes."""
    found = cluster.object("nodes", "-l", f"moorage.io/node-group={GROUP}")
    return {node["metadata"]["name"]: node for node in found["items"]}


def is_restored(node):
    taints = node["spec"].get("taints", [])
    return node["metadata"]["labels"].get(LABEL) == "yes" and any(taint["key"] == "extra" for taint in taints)


def events(cloud):
    listed = json.loads(cloud.moorage("--cloud", "moorage", "cluster", "events", NAME, "-o", "json").stdout)
    return [(event["reason"], event["message"]) for event in listed]


def test_group_survives_kills_and_is_drained_before_it_is_deleted(cloud, group):
    options = [GROUP, "--count", "1", "--label", f"{LABEL}=yes", "--taint", "extra=yes:NoSchedule", "--max", "2"]
    kill_at_line(cloud, 2, "--cloud", "moorage", "nodegroup", "create", NAME, *options)
    nodegroup(cloud, "create", *options)
    [(first, node)] = nodes(group).items()
    assert node["metadata"]["labels"][LABEL] == "yes"
    assert {"key": "extra", "value": "yes", "effect": "NoSchedule"} in node["spec"]["taints"]
    assert [(row["name"], row["count"], row["ready"]) for row in groups(cloud)] == [(GROUP, 1, 1), ("workers", 2, 2)]
    group.kubectl("label", "node", first, f"{LABEL}-")
    group.kubectl("taint", "node", first, "extra-")
    until(lambda: is_restored(nodes(group)[first]), seconds=240)

    upgraded = [GROUP, "--label", f"{LABEL}=yes", "--label", "example.com/tier=new"]
    kill_at_line(cloud, 3, "--cloud", "moorage", "nodegroup", "upgrade", NAME, *upgraded)
    nodegroup(cloud, "upgrade", *upgraded)
    [(first, node)] = nodes(group).items()
    assert first == f"{NAME}-{GROUP}-2-0"
    assert node["metadata"]["labels"]["example.com/tier"] == "new"
    assert is_restored(node), "what is not given stays"

    group.apply(PLACED)
    until(lambda: group.pod("placed"), seconds=240)
    refused = nodegroup(cloud, "resize", GROUP, "--count", "3", check=False)
    assert refused.returncode == 2
    assert "has the limits 0 to 2" in refused.stderr
    nodegroup(cloud, "resize", GROUP, "--count", "2")
    assert len(nodes(group)) == 2

    stopped = cloud.moorage(
        *("--cloud", "moorage", "node", "delete", NAME, first, "--yes", "--drain-timeout", "5"),
        check=False,
        timeout=600,
    )
    assert stopped.returncode == 1
    assert "disruption budget placed needs 1 healthy pods" in stopped.stderr
    assert nodes(group)[first]["spec"]["unschedulable"]

    group.kubectl("delete", "pdb", "placed")
    kill_at_line(cloud, 1, "--cloud", "moorage", "node", "delete", NAME, first, "--yes")
    cloud.moorage("--cloud", "moorage", "node", "delete", NAME, first, "--yes", timeout=900)
    (second,) = nodes(group)
    assert second != first, "the node that was named is the one that is deleted"
    assert group.sdk.compute.find_server(first) is None
    until(lambda: group.pod("placed"), seconds=240)
    assert group.pod("placed")["spec"]["nodeName"] == second, "with its volume"

    assert [f"resize node group {GROUP} to 2 nodes", f"delete {first}"] == [
        message for reason, message in events(cloud) if reason == "Requested" and "create" not in message
    ][-3::2], "events of all runs, the killed one and the one that failed too"
    assert any(reason == "Failed" and "disruption budget placed" in message for reason, message in events(cloud))

    nodegroup(cloud, "delete", GROUP, "--yes")
    assert nodes(group) == {}
    assert [row["name"] for row in groups(cloud)] == ["workers"]
    assert [stack.name for stack in group.sdk.orchestration.stacks() if GROUP in stack.name] == []
    (volume,) = group.volumes()
    assert volume.status == "available", "it was detached before its server was deleted"
