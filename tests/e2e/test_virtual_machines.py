"""A cluster of machine containers and a virtual machine of Nova's libvirt driver, as a user adds one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import waiting
from cluster import RunCluster

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(5400), pytest.mark.usefixtures("emptied")]
until = partial(waiting.until, seconds=600)

NAME, GROUP = RunCluster.NAME, "vms"
NODE = f"{NAME}-{GROUP}-1-0"
SERVED = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: served}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: served}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: served}}
  template:
    metadata: {labels: {app: served}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {moorage.io/node-group: vms}
      containers:
        - name: served
          image: %(image)s
          command: [sh, -c, "echo started >> /data/index.html; sync; exec httpd -f -p 8080 -h /data"]
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: served}}]
---
apiVersion: v1
kind: Service
metadata: {name: served}
spec: {selector: {app: served}, ports: [{port: 80, targetPort: 8080}]}
"""


def nodegroup(cloud, verb, *words, check=True):
    return cloud.moorage("--cloud", "moorage", "nodegroup", verb, NAME, *words, check=check, timeout=3600)


@pytest.fixture
def with_vm(cloud, cluster):
    """A worker that is a virtual machine; the cloud offers them until its end."""
    cloud.moorage("cloud", "up", "--with", "vm", timeout=900)
    nodegroup(cloud, "create", GROUP, "--flavor", "m1.vm", "--timeout", "3000")
    yield cluster
    nodegroup(cloud, "delete", GROUP, "--yes", "--force", "--drain-timeout", "1")
    assert cluster.sdk.compute.find_server(NODE) is None


READ = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


def read(cluster):
    """What a machine container reads from the pod on the virtual machine, through the Service."""
    address = cluster.object("service", "served")["spec"]["clusterIP"]
    command = ("python3", "-c", READ, f"http://{address}/")
    return cluster.inside(f"{NAME}-control-plane-0", *command, check=False).split()


def boot_id(cluster):
    node = cluster.object("node", NODE)
    return node and node["status"]["nodeInfo"]["bootID"]


def test_virtual_machine_serves_pods_with_volumes_and_reboots(cloud, with_vm):
    cluster = with_vm
    node = cluster.object("node", NODE)
    assert "cloud" in node["status"]["nodeInfo"]["kernelVersion"], "a kernel of its own"
    assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "m1.vm"

    cluster.apply(SERVED % {"image": cluster.image})
    until(lambda: read(cluster) == ["started"])
    lookup = ("exec", "deployment/served", "--", "nslookup", "kubernetes.default.svc.cluster.local")
    until(lambda: "10.96.0.1" in cluster.kubectl(*lookup, check=False))
    [volume] = cluster.volumes()
    assert [found["server_id"] for found in volume.attachments] == [cluster.server(NODE).id]

    file = f"volume-{volume.id}"
    assert file in files_of_qemu()

    former = boot_id(cluster)
    cluster.sdk.compute.reboot_server(cluster.server(NODE), "SOFT")
    until(lambda: boot_id(cluster) not in (former, None))
    until(lambda: read(cluster) == ["started", "started"])

    cluster.kubectl("scale", "deployment", "served", "--replicas=0")
    until(lambda: [one.status for one in cluster.volumes()] == ["available"])
    assert file not in files_of_qemu()
    cluster.kubectl("scale", "deployment", "served", "--replicas=1")
    until(lambda: read(cluster) == ["started"] * 3)

    cluster.kubectl("delete", "deployment,pvc", "served", timeout=600)
    until(lambda: cluster.volumes() == [])


def files_of_qemu():
    """The names of the files that virtual machines have open."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "exe").readlink().name.startswith("qemu-system"):
                found |= {descriptor.readlink().name for descriptor in (process / "fd").iterdir()}
    return found
