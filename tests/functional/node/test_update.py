"""Another image in place: fetched, booted, and taken back when it does not come up."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import HOST, Lab, run
from moorage.model.boot import BootRecord, Slot
from serving import folder_server, serving
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.timeout(1800)]

CONTROL_PLANE, WORKER = "lab-control-plane-0", "lab-worker-0"
PORT = 8080
READY = {"ready_timeout": 120}
"""Seconds in which the worker must be Ready at each boot: it needs about five, and a slow machine fifty."""


@pytest.fixture(scope="module")
def images(node_image: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images by name: the cluster's own, one of zeros, and one without Kubernetes."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "good").symlink_to(node_image.squashfs)
    (folder / "zeros").write_bytes(b"hsqs" + bytes(8192))
    root = folder / "root"
    root.mkdir()
    run("mount", "-t", "squashfs", "-o", "loop,ro", str(node_image.squashfs), str(root))
    try:
        fast = ("-quiet", "-no-progress", "-noD", "-noF")
        left_out = ("usr/lib/moorage/bin", "usr/lib/moorage/images")
        run("mksquashfs", str(root), str(folder / "broken"), *fast, "-e", *left_out)
    finally:
        run("umount", str(root))
    return folder


@pytest.fixture(scope="module")
def cluster(lab: Lab, images: Path) -> Iterator[Lab]:
    lab.boot(CONTROL_PLANE, "10.66.0.10", lab.user_data("control-plane"))
    lab.boot(WORKER, "10.66.0.11", lab.user_data("worker", node=READY))
    for name in (CONTROL_PLANE, WORKER):
        assert lab.signal_of(name)["status"] == "SUCCESS"
    with serving(folder_server((HOST, PORT), images)):
        yield lab


def update(lab: Lab, images: Path, name: str, check: bool = True) -> str:
    digest = hashlib.sha256((images / name).read_bytes()).hexdigest()
    arguments = (f"http://{HOST}:{PORT}/{name}", digest, name)
    return lab.inside(WORKER, "moorage-node", "update", *arguments, check=check)


def reboot(lab: Lab, image: str, failed: str = "") -> float:
    """Boot what is next, and wait until the node reports this image as running; the seconds that it took."""
    began = time.monotonic()
    assert lab.inside(WORKER, "moorage-node", "switch") == "rebooting"
    wanted = f"{image} {failed}".strip()
    path = "{.metadata.annotations.moorage\\.io/image} {.metadata.annotations.moorage\\.io/failed-image}"
    ask = ("get", "node", WORKER, "-o", f"jsonpath={path}")
    until(
        lambda: lab.kubectl(*ask, check=False).strip(),
        lambda found: found == wanted,
        seconds=300,
        why=lambda: f"{lab.kubectl(*ask, check=False)}: {lab.console(WORKER)[-3000:]}",
    )
    until(lambda: " Ready " in lab.kubectl("get", "nodes", WORKER, "--no-headers", check=False))
    return time.monotonic() - began


def slots(lab: Lab) -> tuple[Slot, ...]:
    return BootRecord.parse(lab.inside(WORKER, "cat", "/boot/grub/grubenv").encode()).slots


def test_image_is_updated_and_rolled_back(cluster: Lab, images: Path) -> None:
    own = cluster.image.version
    assert update(cluster, images, "good").splitlines()[-1] == "slot b (good) boots next"
    assert slots(cluster) == (Slot("b", "good", 3), Slot("a", own))
    print(f"updated node Ready after {reboot(cluster, 'good'):.1f} s")
    assert slots(cluster) == (Slot("b", "good"), Slot("a", own))
    assert float(cluster.inside(WORKER, "cat", "/var/lib/moorage/ready-seconds")) > 0
    assert cluster.inside(WORKER, "moorage-node", "rollback", own) == f"slot a ({own}) boots next"
    reboot(cluster, own)
    assert slots(cluster) == (Slot("a", own), Slot("b", "good"))


def test_image_that_cannot_be_started_is_passed_over_at_once(cluster: Lab, images: Path) -> None:
    own = cluster.image.version
    update(cluster, images, "zeros")
    print(f"former image Ready after {reboot(cluster, own, failed='zeros'):.1f} s")
    assert "slot b (zeros) cannot be started" in cluster.console(WORKER)
    assert slots(cluster) == (Slot("b", "zeros", 0), Slot("a", own))


def test_image_that_does_not_get_ready_is_replaced_by_the_former_one(cluster: Lab, images: Path) -> None:
    """Kubernetes has the reason as a condition and as an Event; pods run again."""
    own = cluster.image.version
    update(cluster, images, "broken")
    print(f"former image Ready after {reboot(cluster, own, failed='broken'):.1f} s")
    assert slots(cluster) == (Slot("b", "broken", 0), Slot("a", own))
    message = f"the image broken did not come up; the node runs {own} from slot a"
    path = 'jsonpath={.status.conditions[?(@.type=="MoorageImage")].message}'
    assert cluster.kubectl("get", "node", WORKER, "-o", path) == message
    events = ("get", "events", "--field-selector", "reason=ImageFailed", "-o", "jsonpath={.items[*].message}")
    until(lambda: message in cluster.kubectl(*events))


def test_other_image_than_announced_is_refused(cluster: Lab, images: Path) -> None:
    arguments = (f"http://{HOST}:{PORT}/zeros", "0" * 64, "other")
    before = slots(cluster)[-1]
    cluster.inside(WORKER, "moorage-node", "update", *arguments, check=False)
    assert slots(cluster) == (before,)
