"""The release's sidecars, started with their units' arguments, on a real API server: they work with the driver and with
only the permissions that a cluster gives them. The driver's volumes are in memory.
"""

import json
import os
import re
import shutil
from contextlib import ExitStack

import pytest

from api_server import RealApi, free_port, running
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.config import Paths
from moorage.csi.cinder.backend import NAME, TOPOLOGY
from moorage.csi.cinder.reader import Settings
from moorage.csi.main import start
from moorage.image import node_image
from moorage.image.release import find_release
from moorage.kube.kubeconfig import with_files
from moorage.node import api as node_api
from moorage.node import objects
from moorage.node.api import Api, Credential, Refused
from moorage.node.layout import Layout
from waiting import until

pytestmark = pytest.mark.functional

UNITS = node_image.ROOTFS / "usr/lib/systemd/system"
SIDECARS = ("csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter", "snapshot-controller")
STORAGE, SNAPSHOT = "storage.k8s.io/v1", "snapshot.storage.k8s.io/v1"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
SNAPSHOTS = f"/apis/{SNAPSHOT}/namespaces/default/volumesnapshots"
ATTACHMENT = f"/apis/{STORAGE}/volumeattachments/one"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sidecars")


@pytest.fixture(scope="module")
def volumes():
    return MemoryVolumes(servers={"server-1"})


@pytest.fixture(scope="module")
def api(folder, volumes):
    """An API server with the types for volumes and snapshots; the sidecars, controllers and the driver run."""
    release = find_release(Paths.from_environment(os.environ).cache)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        server = RealApi(folder, stack)
        server.until_ready()
        patch.setattr(node_api, "PORT", server.ports[2])
        admin = configure(folder, server, "admin", "system:masters", "admin")
        configure(folder, server, "csi", "moorage", "moorage:csi")
        api = Api("127.0.0.1", server.server_ca(), admin)
        wait_until(lambda: api.get_text("/healthz"))  # once it has created its own roles
        ensure(api, objects.volumes())
        for name in SIDECARS:  # before the driver runs and before the API server has the snapshot types
            stack.enter_context(running(folder / f"{name}.log", *command(name, release, folder)))
        install_driver_objects(api, folder, release)
        flags = (f"--kubeconfig={folder}/admin.conf", "--leader-elect=false", f"--secure-port={free_port()}")
        stack.enter_context(running(folder / "manager.log", release.program("kube-controller-manager"), *flags))
        driver = start(volumes, Settings("demo"), folder / "csi.sock")
        yield api
        driver.stop(0).wait(5)
        api.close()


def configure(folder, server, file, organization, name):
    access = server.access(organization, name)
    (folder / "server-ca.crt").write_text(access.ca)
    credential = Credential(folder / f"{file}.crt", folder / f"{file}.key")
    credential.certificate.write_text(access.certificate)
    credential.key.write_text(access.key)
    config = with_files(server.url, folder / "server-ca.crt", credential.certificate, credential.key)
    (folder / f"{file}.conf").write_text(json.dumps(config))
    return credential


def command(name, release, folder):
    text = (UNITS / f"{name}.service").read_text().replace("\\\n", " ")
    program, *flags = re.search(r"ExecStart=(.*)", text)[1].split()
    local_flags = [flag.replace("/etc/kubernetes", str(folder)).replace("/run/csi", str(folder)) for flag in flags]
    return [str(release.program(program.rpartition("/")[2])), *local_flags]


def install_driver_objects(api, folder, release):
    layout = Layout(folder / "root")
    layout.snapshot_definitions.parent.mkdir(parents=True)
    shutil.copy(release.data("snapshot-crds.yaml"), layout.snapshot_definitions)
    for _ in range(2):  # as at a second boot
        ensure(api, [*objects.volumes(), *objects.snapshot_definitions(layout)])
        wait_until(lambda: ensure(api, [objects.snapshot_class()]))
    node = {"name": "node-1", "labels": {TOPOLOGY: "nova"}}
    driver = {"name": NAME, "nodeID": "server-1", "topologyKeys": [TOPOLOGY]}
    ensure(api, [build_object("v1", "Namespace", "default"), build_object("v1", "Node", "node-1", metadata=node)])
    api.ensure(build_object(STORAGE, "CSINode", "node-1", spec={"drivers": [driver]}))
    api.ensure(build_object(STORAGE, "StorageClass", "files", provisioner=NAME, allowVolumeExpansion=True))
    api.ensure(build_object(STORAGE, "StorageClass", "odd", provisioner=NAME, parameters={"colour": "red"}))
    api.ensure(build_object(STORAGE, "VolumeAttributesClass", "fast", driverName=NAME, parameters={"type": "fast"}))


def ensure(api, manifests):
    for manifest in manifests:
        api.ensure(manifest)
    return True


def build_object(version, kind, name, **fields):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}} | fields


def claim(api, name, storage_class="files", size="1Gi", **fields):
    spec = {"accessModes": ["ReadWriteOncePod"], "storageClassName": storage_class}
    spec["resources"] = {"requests": {"storage": size}}
    metadata = {"name": name, "namespace": "default"}
    return api.apply(build_object("v1", "PersistentVolumeClaim", name, metadata=metadata, spec=spec | fields))


def wait_until(check):
    """Wait while the API server refuses requests for objects or types that do not exist yet."""
    return until(check, yet=(Refused,))


def wait_until_bound(api, name):
    """Wait for the claim's PersistentVolume; returns its name."""
    wait_until(lambda: api.get(f"{CLAIMS}/{name}")["status"].get("phase") == "Bound")
    return api.get(f"{CLAIMS}/{name}")["spec"]["volumeName"]


def test_claim_gets_volume_with_owner_metadata(api, volumes):
    claim(api, "one")
    name = wait_until_bound(api, "one")
    spec = api.get(f"/api/v1/persistentvolumes/{name}")["spec"]
    [volume] = volumes.list()
    assert (spec["csi"]["volumeHandle"], spec["csi"]["fsType"]) == (volume.id, "ext4")
    assert spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["nova"]
    assert volume.metadata["csi.storage.k8s.io/pvc/name"] == "one"


def test_volume_is_attached(api, volumes):
    spec = {"attacher": NAME, "nodeName": "node-1", "source": {"persistentVolumeName": wait_until_bound(api, "one")}}
    api.ensure(build_object(STORAGE, "VolumeAttachment", "one", spec=spec))
    wait_until(lambda: api.get(ATTACHMENT).get("status", {}).get("attached"))
    assert [one.server for one in volumes.list()[0].attachments] == ["server-1"]


def test_volume_in_use_is_expanded_and_retyped(api, volumes):
    claim(api, "one", size="3Gi")
    path = f"/api/v1/persistentvolumes/{wait_until_bound(api, 'one')}"
    wait_until(lambda: api.get(path)["spec"]["capacity"]["storage"] == "3Gi")
    claim(api, "one", size="3Gi", volumeAttributesClassName="fast")
    wait_until(lambda: api.get(f"{CLAIMS}/one")["status"].get("currentVolumeAttributesClassName") == "fast")
    assert [(volume.size, volume.type) for volume in volumes.list()] == [(3, "fast")]


def test_volume_in_use_is_snapshotted_restored_and_cloned(api, volumes):
    snapshot_object = build_object(
        SNAPSHOT, "VolumeSnapshot", "s", spec={"source": {"persistentVolumeClaimName": "one"}}
    )
    snapshot_object["metadata"]["namespace"] = "default"
    api.ensure(snapshot_object)
    wait_until(lambda: api.get(f"{SNAPSHOTS}/s").get("status", {}).get("readyToUse"))
    [snapshot] = volumes.snapshots()
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
    claim(api, "restored", size="3Gi", dataSource=source)
    wait_until_bound(api, "restored")
    claim(api, "clone", size="3Gi", dataSource={"kind": "PersistentVolumeClaim", "name": "restored"})
    wait_until_bound(api, "clone")
    first, restored, clone = volumes.list()
    assert (snapshot.volume, restored.snapshot, clone.source) == (first.id, snapshot.id, restored.id)


def test_impossible_request_gets_event(api):
    claim(api, "odd", "odd")

    def reported():
        events = api.get("/api/v1/namespaces/default/events")["items"]
        return [
            one["message"] for one in events if one["involvedObject"].get("name") == "odd" and one["type"] == "Warning"
        ]

    assert "a StorageClass has no parameter 'colour'" in wait_until(reported)[0]


def test_volumes_are_deleted_with_objects(api, volumes):
    for path in (ATTACHMENT, f"{SNAPSHOTS}/s", *(f"{CLAIMS}/{name}" for name in ("one", "restored", "clone", "odd"))):
        api._ask("DELETE", path)
    wait_until(lambda: not volumes.list() and not volumes.snapshots())
    contents = f"/apis/{SNAPSHOT}/volumesnapshotcontents"
    for path in (CLAIMS, SNAPSHOTS, contents, "/api/v1/persistentvolumes", f"/apis/{STORAGE}/volumeattachments"):
        wait_until(lambda path=path: not api.get(path)["items"])


def test_sidecars_have_all_permissions(api, folder):
    for name in SIDECARS:
        lines = (folder / f"{name}.log").read_text().splitlines()
        assert [line for line in lines if "forbidden" in line] == []
