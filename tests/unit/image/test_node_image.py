"""The image's recipe: its version names its inputs, and its units name only what it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from moorage.csi.cinder.reader import Timeouts
from moorage.image import debian, node_image
from moorage.image.release import CONTENTS
from moorage.model.errors import NotFound
from moorage.node import control_plane, steps
from moorage.node.configuration import Identity, Resources, environment, node_environment
from moorage.node.layout import Layout
from moorage.node.userdata import Cluster, UserData

pytestmark = pytest.mark.unit

UNITS = node_image.ROOTFS / "usr/lib/systemd/system"


@dataclass(frozen=True)
class PaperRelease:
    hash: str = "0123"
    kubernetes_version: str = "v1.37.2"


def version(release: PaperRelease) -> str:
    return node_image.version_of(release)  # type: ignore[arg-type]  # all that is asked of a release


def test_version_has_debian_kubernetes_and_inputs() -> None:
    assert re.fullmatch(r"12-1\.37\.2-[0-9a-f]{8}", version(PaperRelease()))
    assert version(PaperRelease()) == version(PaperRelease())
    assert version(PaperRelease(hash="4567")) != version(PaperRelease())


def test_changed_sources_change_version(monkeypatch: pytest.MonkeyPatch) -> None:
    source = node_image.HERE.parent / "node" / "main.py"
    monkeypatch.setattr(node_image, "_python_sources", lambda: [source])
    before = version(PaperRelease())
    monkeypatch.setattr(node_image, "_python_sources", lambda: [source.with_name("boot.py")])
    assert version(PaperRelease()) != before


def test_missing_image_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as missing:
        node_image.load(tmp_path)
    assert missing.value.hint == "moorage image build"


def texts() -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(UNITS.glob("*.service"))}


def test_units_run_programs_of_the_image() -> None:
    held = {*node_image.PROGRAMS, *node_image.KUBERNETES}
    run = {name for text in texts().values() for name in re.findall(r"=/usr/lib/moorage/bin/([\w-]+)", text)}
    assert {"etcd", "kube-apiserver", "kubelet", "flanneld"} <= run <= held


SIDECARS = ("csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter")


def test_sidecars_use_the_drivers_socket() -> None:
    socket = "/run/csi/csi.sock"
    for name in SIDECARS:
        assert f"--csi-address={socket} " in texts()[f"{name}.service"]
    driver = texts()["moorage-csi-controller.service"]
    assert f"--socket {socket} " in driver
    assert "RuntimeDirectory=csi\n" in driver


def test_sidecar_timeout_exceeds_drivers() -> None:
    for name in SIDECARS:
        (seconds,) = re.findall(r"--timeout=(\d+)s", texts()[f"{name}.service"])
        assert int(seconds) > Timeouts().total


def test_sidecars_restart_and_are_confined() -> None:
    for name in (*SIDECARS, "snapshot-controller", "moorage-csi-controller"):
        text = texts()[f"{name}.service"]
        assert {"Restart=always", "StartLimitIntervalSec=0"} <= set(text.splitlines())
        assert {"ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet="} <= set(text.splitlines())
    for name in (*SIDECARS, "snapshot-controller"):
        assert "--kubeconfig=/etc/kubernetes/csi.conf " in texts()[f"{name}.service"]


def test_image_has_files_that_the_node_reads() -> None:
    read = Layout().snapshot_definitions
    assert (str(read.parent), read.name) == ("/usr/lib/moorage/manifests", node_image.MANIFESTS[0])
    assert set(node_image.MANIFESTS) == {recipe.name for recipe in CONTENTS if recipe.kind == "data"}


def test_started_units_exist() -> None:
    enabled = {name.split("@")[0].removesuffix(".service") for name in debian.ENABLED}
    started = {*control_plane.CONTROL_PLANE_UNITS, *steps.NODE_UNITS, *steps.NETWORK_UNITS, "moorage-controller"}
    known = {name.split("@")[0].removesuffix(".service") for name in texts()} | {"systemd-networkd"}
    assert enabled | started <= known


def test_unit_variables_are_written_by_moorage_node(tmp_path: Path) -> None:
    cluster = Cluster(
        "demo",
        "10.0.0.10",
        "",
        "10.244.0.0/16",
        "10.96.0.0/16",
        "10.0.0.0/24",
        "vxlan",
        "abcdef.0123456789abcdef",
    )
    data = UserData("worker", cluster, "workers")
    files = {
        "/etc/moorage/cluster.env": next(iter(environment(Layout(tmp_path), data).values())).text,
        "/etc/moorage/node.env": node_environment(data, Identity("n", "10.0.0.5", Resources(1, 1, 1, 1))).text,
    }
    for name, text in texts().items():
        written = "".join(files[file] for file in re.findall(r"EnvironmentFile=(\S+)", text))
        for variable in re.findall(r"\$\{(\w+)\}", text):
            assert f"{variable}=" in written, f"{name} needs {variable}"
