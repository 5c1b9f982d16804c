"""Nodes that boot another image in place, in a cluster in memory; also after a kill at every call."""

from __future__ import annotations

from base64 import b64decode

import pytest

from clustering import NODES, Clock, Joined, Killed, World
from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.memory.images import NODE_IMAGE
from moorage.cloud.port.images import ImageFile
from moorage.clusters import reconcile
from moorage.clusters.node_images import NodeImages
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import NODES as KUBE_NODES
from moorage.kube.port import PODS, SECRETS, key_of
from moorage.model.cluster import DrainOptions
from moorage.model.errors import BadInput, Conflict, Failed, KubernetesUnreachable, NotFound, TimedOut
from moorage.model.nodes import CORDONED, FAILED_IMAGE, IMAGE, IMAGE_FORMAT, OTHER_IMAGE, RETURNING

pytestmark = pytest.mark.unit

WORKER, OTHER = NODES[1:]
OLD, NEW = "12-1.37.2-0", "12-1.37.2-1"
OPTIONS = DrainOptions(timeout=30)


class Rebooting(Joined):
    """Nodes that run the pods of an update. `broken` images do not come up; `failure` is how the update fails,
    `refusal` why a node does not reboot.

    `kill_at` counts calls down, and kills the client at 0; `events` are what happened on the nodes.
    """

    def __init__(self):
        self.broken, self.failure, self.refusal, self.kill_at = set(), "", "", -1
        self.events, self.staged, self.tokens, self.commands = [], {}, [], []
        super().__init__()

    def _begin_call(self, call, resource):
        if self.kill_at == 0:
            raise Killed
        self.kill_at -= 1
        return super()._begin_call(call, resource)

    def create(self, resource, desired):
        made = super().create(resource, desired)
        if resource == PODS and "moorage-" in desired["metadata"]["name"]:
            self._run(desired)
        return made

    def _run(self, pod):
        action, node = pod["metadata"]["name"].removeprefix("moorage-").split("-", 1)
        command = pod["spec"]["containers"][0]["command"]
        self.events.append(f"{action} {node}")
        last = self.failure or f"slot b ({command[-1]}) boots next"
        if action == "update":
            self.tokens.append(b64decode(Joined.get(self, SECRETS, key_of(pod))["data"]["MOORAGE_TOKEN"]).decode())
            self.commands.append(command)
        if action in ("update", "rollback"):
            self.staged[node] = command[-3 if action == "update" else -1]
        if action == "switch":
            last = self.refusal or self._reboot(node)
        self.logs[key_of(pod)] = last
        phase = "Failed" if self.failure else "Succeeded"
        self.patch(PODS, key_of(pod), {"status": {"phase": phase}}, status=True)

    def _reboot(self, node):
        found = Joined.get(self, KUBE_NODES, node)["metadata"]["annotations"]
        image = self.staged.get(node, found[IMAGE])
        if image == found[IMAGE]:
            return "the slot that boots next is this one"
        running = {FAILED_IMAGE: image} if image in self.broken else {IMAGE: image, OTHER_IMAGE: found[IMAGE]}
        self.patch(KUBE_NODES, node, {"metadata": {"annotations": running}})
        return "rebooting"


@pytest.fixture
def cloud(tmp_path):
    cloud = MemoryCloud()
    for version, kind, kubernetes in (
        (NEW, "squashfs", "v1.37.2"),
        ("disk", "disk", "v1.37.2"),
        ("38", "squashfs", "v1.38.0"),
        ("39", "squashfs", "v1.39.0"),
        ("unhashed", "squashfs", "v1.37.2"),
    ):
        own = {"moorage_version": version, "moorage_format": kind, "moorage_kubernetes_version": kubernetes}
        file = tmp_path / version
        file.write_bytes(b"hsqs")
        hashes = {} if version == "unhashed" else {"moorage_sha256": "f" * 64, "moorage_file_sha256": "d" * 64}
        properties = {**NODE_IMAGE.properties, **own, **hashes}
        cloud.images.upload(ImageFile(f"moorage-{version}", file, 1, 1, properties), lambda count: None)
    return cloud


@pytest.fixture
def kube():
    return Rebooting()


@pytest.fixture
def world(cloud, kube, tmp_path):
    world = World(cloud, kube, tmp_path)
    world.create()
    for node in NODES:
        kube.patch(KUBE_NODES, node, {"metadata": {"annotations": {IMAGE: OLD}}})
    return world


@pytest.fixture
def images(world, cloud, kube):
    return NodeImages(cloud, kube.connect, world.folder, "demo", world.reported.append, 60, Clock().poll)


def annotations(kube, node):
    return kube.get(KUBE_NODES, node)["metadata"]["annotations"]


def is_cordoned(kube, node):
    return bool(kube.get(KUBE_NODES, node).get("spec", {}).get("unschedulable"))


def is_clean(kube):
    left = [key_of(found) for kind in (PODS, SECRETS) for found in kube.list(kind).items]
    return [key for key in left if "moorage-update" in key or "moorage-switch" in key] == []


def test_nodes_are_updated_one_after_the_other(images, kube):
    images.update([WORKER, OTHER], f"moorage-{NEW}", OPTIONS)
    assert kube.events == [f"{action} {node}" for node in (WORKER, OTHER) for action in ("update", "switch")]
    assert [annotations(kube, node)[IMAGE] for node in NODES] == [OLD, NEW, NEW]
    assert kube.tokens == ["token"] * 2
    assert not is_cordoned(kube, WORKER)
    assert CORDONED not in annotations(kube, WORKER)
    assert is_clean(kube)


def test_pods_leave_before_the_reboot(images, kube):
    kube.create(PODS, {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"nodeName": WORKER}})
    images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    assert kube.get(PODS, "shop/web") is None


def test_pods_stay_without_drain(images, kube):
    kube.create(PODS, {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"nodeName": WORKER}})
    images.update([WORKER], f"moorage-{NEW}", None)
    assert kube.get(PODS, "shop/web") is not None


def test_node_that_runs_the_image_is_left_alone(images, kube):
    for _ in range(2):
        images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    assert kube.events == [f"update {WORKER}", f"switch {WORKER}", f"update {WORKER}"], "no second reboot"


def test_image_that_does_not_come_up_is_reported_and_ends_the_run(images, kube):
    kube.broken = {NEW}
    with pytest.raises(Failed, match=f"{WORKER} did not come up with {NEW}; it runs {OLD} again"):
        images.update([WORKER, OTHER], f"moorage-{NEW}", OPTIONS)
    assert kube.events == [f"update {WORKER}", f"switch {WORKER}"]
    assert not is_cordoned(kube, WORKER)
    assert is_clean(kube)
    kube.broken = set()
    images.update([WORKER, OTHER], f"moorage-{NEW}", OPTIONS)
    assert annotations(kube, OTHER)[IMAGE] == NEW


def test_failed_download_has_the_nodes_reason(images, kube):
    kube.failure = "failed: http://glance answered 404 Not Found"
    with pytest.raises(Failed, match=f"^{WORKER}: http://glance answered 404"):
        images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    assert is_clean(kube)
    assert not is_cordoned(kube, WORKER)


def test_cordoned_node_stays_cordoned(images, kube):
    kube.patch(KUBE_NODES, WORKER, {"spec": {"unschedulable": True}})
    images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    assert is_cordoned(kube, WORKER)


def test_rollback_returns_to_the_former_image(images, kube):
    images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    images.roll_back([WORKER], OPTIONS)
    assert annotations(kube, WORKER)[IMAGE] == OLD
    assert RETURNING not in annotations(kube, WORKER)


def test_rollback_without_other_image_changes_no_node(images, kube):
    images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    with pytest.raises(Conflict, match=f"{OTHER}: no other image that was healthy"):
        images.roll_back([WORKER, OTHER], OPTIONS)
    assert annotations(kube, WORKER)[IMAGE] == NEW
    assert RETURNING not in annotations(kube, WORKER)


def test_interrupted_rollback_is_continued_and_not_undone(images, kube):
    images.update([WORKER, OTHER], f"moorage-{NEW}", OPTIONS)
    run, seen = kube._run, []

    def killed_at_the_second_node(pod):
        seen.append(pod["metadata"]["name"])
        if OTHER in seen[-1]:
            raise Killed
        run(pod)

    kube._run = killed_at_the_second_node
    with pytest.raises(Killed):
        images.roll_back([WORKER, OTHER], OPTIONS)
    kube._run = run
    images.roll_back([WORKER, OTHER], OPTIONS)
    assert [annotations(kube, node)[IMAGE] for node in (WORKER, OTHER)] == [OLD, OLD]


def test_update_to_another_image_after_an_interruption_reboots(images, kube):
    """The pod of the first reboot is still there."""
    images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    metadata = {"namespace": "kube-system", "name": f"moorage-switch-{WORKER}"}
    MemoryKubernetesClient.create(kube, PODS, {"metadata": metadata, "status": {"phase": "Succeeded"}})
    images.roll_back([WORKER], OPTIONS)
    assert annotations(kube, WORKER)[IMAGE] == OLD


def test_node_that_refuses_to_reboot_is_reported(images, kube):
    kube.refusal = "failed: no such unit"
    with pytest.raises(Failed, match=f"{WORKER} was not rebooted: failed: no such unit"):
        images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    assert not is_cordoned(kube, WORKER)


def test_token_does_not_remain_after_an_interruption(images, kube, monkeypatch):
    monkeypatch.setattr(kube, "_run", lambda pod: None)
    with pytest.raises(TimedOut):
        images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    assert [key_of(found) for found in kube.list(SECRETS).items if "moorage-update" in key_of(found)] == []


def test_failure_is_an_event_of_the_cluster(images, kube, world):
    kube.broken = {NEW}
    with pytest.raises(Failed):
        images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    listed = reconcile.list_events(world.cloud, kube.connect, world.folder, "demo")
    assert any("did not come up" in event.message for event in listed)


def test_each_node_gets_the_newest_image_of_its_format(images, kube, cloud):
    kube.patch(KUBE_NODES, OTHER, {"metadata": {"annotations": {IMAGE_FORMAT: "disk"}}})
    cloud.images.images = [image for image in cloud.images.images if image.name in (f"moorage-{NEW}", "moorage-disk")]
    images.update([WORKER, OTHER], None, OPTIONS)
    assert [annotations(kube, node)[IMAGE] for node in (WORKER, OTHER)] == [NEW, "disk"]
    assert [command[-5:] for command in kube.commands] == [
        [f"http://glance/v2/images/{id}/file", hash * 64, version, "--format", format]
        for id, hash, version, format in (("image-2", "f", NEW, "squashfs"), ("image-3", "d", "disk", "disk"))
    ]


def test_control_plane_is_updated_first(images, kube):
    images.update([WORKER, NODES[0]], "moorage-38", None)
    assert kube.events[0] == f"update {NODES[0]}"


@pytest.mark.parametrize(
    ("nodes", "image", "error", "reported"),
    [
        (["demo-workers-1-9"], f"moorage-{NEW}", NotFound, "no node 'demo-workers-1-9'"),
        ([WORKER], "moorage-none", NotFound, "no Moorage image moorage-none"),
        ([WORKER], "moorage-disk", BadInput, "moorage-disk is not of the format squashfs"),
        ([WORKER], "moorage-unhashed", BadInput, "has no hash"),
        ([WORKER], "moorage-38", BadInput, r"would have Kubernetes 1\.38, the control plane 1\.37"),
        (NODES, "moorage-39", BadInput, r"the image has Kubernetes 1\.39, the control plane 1\.37"),
    ],
)
def test_bad_input_changes_nothing(images, kube, nodes, image, error, reported):
    with pytest.raises(error, match=reported):
        images.update(nodes, image, OPTIONS)
    assert kube.events == []


def test_control_plane_may_be_updated_to_the_next_minor_version(images, kube):
    images.update([NODES[0]], "moorage-38", None)
    assert annotations(kube, NODES[0])[IMAGE] == "38"


def test_node_that_does_not_return_times_out(images, kube, monkeypatch):
    monkeypatch.setattr(kube, "_run", lambda pod: None)
    with pytest.raises(TimedOut):
        images.update([WORKER], f"moorage-{NEW}", OPTIONS)


def test_api_that_never_answered_is_reported(images, kube):
    kube.unreachable = "the Kubernetes API does not answer"
    with pytest.raises(KubernetesUnreachable):
        images.update([WORKER], f"moorage-{NEW}", OPTIONS)


def test_unreachable_api_is_waited_for(images, kube):
    asked, get = [], kube.get

    def refusing(resource, key):
        asked.append(key)
        if kube.events and len(asked) % 3 == 0:
            raise KubernetesUnreachable("it reboots")
        return get(resource, key)

    kube.get = refusing
    images.update([WORKER], f"moorage-{NEW}", OPTIONS)
    kube.get = get
    assert annotations(kube, WORKER)[IMAGE] == NEW


def test_kill_at_any_call_is_continued_by_the_next_run(images, kube):
    for number in range(200):
        kube.kill_at = number
        try:
            images.update([WORKER], f"moorage-{NEW}", OPTIONS)
            break
        except Killed:
            kube.kill_at = -1
        images.update([WORKER], f"moorage-{NEW}", OPTIONS)
        assert annotations(kube, WORKER)[IMAGE] == NEW
        assert not is_cordoned(kube, WORKER)
        assert is_clean(kube)
        kube.patch(KUBE_NODES, WORKER, {"metadata": {"annotations": {IMAGE: OLD}}})
    assert number > 10
