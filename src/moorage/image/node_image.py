"""The node image: Debian, the release and moorage-node as one read-only file system.

It is built in stages, each cached by the hash of its inputs: the Debian root (minutes), then the image (seconds).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.cloud.port.images import ImageFile
from moorage.host.minisign import PublicKey
from moorage.image import debian, python, seed, squash
from moorage.image.containers import ContainerImage, File, write_archive
from moorage.image.release import Release, find_release
from moorage.model.boot import SQUASHFS
from moorage.model.errors import NotFound
from moorage.model.image_statement import TRUSTED

Report = Callable[[str], None]

HERE = Path(__file__).parent
ROOTFS = HERE / "rootfs"
ROOMS = ("model", "cloud", "kube", "host", "node", "ccm", "csi", "controller")
"""The folders of Moorage that a node needs, beside the package's own modules."""
MODULES = ("__init__.py", "bootstrap.py", "config.py")
COMMANDS = {
    "moorage-node": "from moorage.node.main import main",
    "moorage-controller": "from moorage.bootstrap import controller as main",
    "moorage-csi-controller": "from moorage.bootstrap import csi_controller as main",
    "moorage-csi-node": "from moorage.bootstrap import csi_node as main",
}
SUFFIXES = (".py", ".yaml")
PROGRAMS = (
    "kubernetes",
    "etcd",
    "etcdctl",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "bridge",
    "host-local",
    "loopback",
    "portmap",
    "bandwidth",
    "firewall",
    "flanneld",
    "csi-provisioner",
    "csi-attacher",
    "csi-resizer",
    "csi-snapshotter",
    "snapshot-controller",
)
MANIFESTS = ("snapshot-crds.yaml",)
KUBERNETES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
CONTAINERS = ("pause", "coredns")
ARCHITECTURE = "x86_64"
DEBIAN = "12"
MINIMUM_DISK = 4
MINIMUM_MEMORY = 1024


@dataclass(frozen=True)
class NodeImage:
    """A built image in its folder. `min_disk` in GB, `min_memory` in MiB: what a flavor needs to boot it."""

    directory: Path
    version: str
    kubernetes_version: str
    sha256: str

    trusted_keys: tuple[str, ...] = ()
    """Ids of the keys that its nodes trust."""

    min_disk: int = MINIMUM_DISK
    min_memory: int = MINIMUM_MEMORY

    @property
    def name(self) -> str:
        """Its name in Glance."""
        return f"moorage-{self.version}"

    @property
    def squashfs(self) -> Path:
        return self.directory / "node.squashfs"

    @property
    def to_upload(self) -> ImageFile:
        return ImageFile(self.name, self.squashfs, self.min_disk, self.min_memory, self.properties)

    @property
    def manifest(self) -> dict[str, Any]:
        """The document beside the image: versions, packages, sizes."""
        document: dict[str, Any] = json.loads((self.directory / "image.json").read_text())
        return document

    @property
    def properties(self) -> dict[str, str]:
        """Image properties for Glance, Heat, Magnum and Nova, which boots it on a host with machine containers."""
        return {**self.common_properties, "moorage_format": SQUASHFS, "img_hv_type": "lxc"}

    @property
    def common_properties(self) -> dict[str, str]:
        """Those of each format (Glance's "common image properties" where there is one)."""
        return {
            "os_distro": "moorage",
            "os_type": "linux",
            "os_version": DEBIAN,
            "architecture": ARCHITECTURE,
            "moorage_version": self.version,
            "moorage_kubernetes_version": self.kubernetes_version,
            "moorage_sha256": self.sha256,
            **({TRUSTED: ",".join(self.trusted_keys)} if self.trusted_keys else {}),
        }


def load(directory: Path) -> NodeImage:
    """The image in a folder; NotFound when it is not complete."""
    try:
        document = json.loads((directory / "image.json").read_text())
    except FileNotFoundError as error:
        raise NotFound(f"no node image in {directory}", "moorage image build") from error
    trusted = tuple(document.get("trusted_keys", ()))
    return NodeImage(directory, document["version"], document["kubernetes"], document["sha256"], trusted)


Keys = Sequence[str]
"""Public keys of minisign. Nodes of an image that has any accept only images that one of them signed."""


def find_image(cache: Path, keys: Keys = ()) -> NodeImage:
    """The image of this version of Moorage; NotFound when it or its release is not built yet."""
    return load(cache / "image" / version_of(find_release(cache), keys))


def version_of(release: Release, keys: Keys = ()) -> str:
    """`<Debian>-<Kubernetes>-<hash of every input>`."""
    kubernetes = release.kubernetes_version.removeprefix("v")
    return f"{DEBIAN}-{kubernetes}-{_inputs_hash(release, keys)[:8]}"


def build_image(cache: Path, release: Release, report: Report, keys: Keys = ()) -> NodeImage:
    """Build the image, if missing. Needs root. Failed with the failed program's output."""
    directory = cache / "image" / version_of(release, keys)
    if (directory / "image.json").exists():
        return load(directory)
    base = debian.base(cache / "image", report)
    store = seed.seed(cache / "image", release, report)
    libraries = python.libraries(cache / "image", report)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="image-") as scratch:
        inputs = BuiltImage(base, store, libraries, version_of(release, keys), tuple(keys))
        _build(Path(scratch), directory, inputs, release, report)
    return load(directory)


@dataclass(frozen=True)
class BuiltImage:
    """The inputs, each cached by its own hash: the Debian root, a new cluster's store, Python libraries."""

    base: Path
    store: Path
    libraries: Path
    version: str
    keys: tuple[str, ...] = ()


def _build(scratch: Path, directory: Path, given: BuiltImage, release: Release, report: Report) -> None:
    root, made = scratch / "root", scratch / "made"
    made.mkdir()
    report("node image: assembling the root")
    debian.extract(given.base, root)
    _copy_rootfs(root)
    _install_programs(root, release)
    _install_manifests(root, release)
    _install_containers(root, release)
    shutil.copytree(given.store, root / "usr/lib/moorage/store")
    _install_python(root, given.libraries)
    _install_keys(root, given.keys)
    debian.make_read_only(root, given.version)
    report("node image: packing")
    squash.pack(root, made / "node.squashfs")
    (made / "image.json").write_text(json.dumps(_manifest(made, root, release, given), indent=2))
    directory.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    made.rename(directory)


def _copy_rootfs(root: Path) -> None:
    shutil.copytree(ROOTFS, root, symlinks=True, dirs_exist_ok=True)


def _install_keys(root: Path, keys: Keys) -> None:
    folder = root / "usr/lib/moorage/trusted-keys"
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(keys):
        (folder / f"{number}.pub").write_text(text)


def _install_programs(root: Path, release: Release) -> None:
    folder = root / "usr/lib/moorage/bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        shutil.copy2(release.program(name), folder / name)
    for name in KUBERNETES:
        (folder / name).symlink_to("kubernetes")
    for name in ("kubectl", "ctr", "etcdctl"):
        (root / "usr/bin" / name).symlink_to(f"/usr/lib/moorage/bin/{name}")


def _install_manifests(root: Path, release: Release) -> None:
    folder = root / "usr/lib/moorage/manifests"
    folder.mkdir(parents=True, exist_ok=True)
    for name in MANIFESTS:
        shutil.copy2(release.data(name), folder / name)


def _install_containers(root: Path, release: Release) -> None:
    folder = root / "usr/lib/moorage/images"
    folder.mkdir(parents=True, exist_ok=True)
    certificates = root / "etc/ssl/certs/ca-certificates.crt"
    for name in CONTAINERS:
        entries = (
            File(name, release.program(name)),
            File("etc/ssl/certs/ca-certificates.crt", certificates, 0o644),
        )
        write_archive(ContainerImage(f"moorage.local/{name}:1", entries, (f"/{name}",)), folder / f"{name}.tar")


def _install_python(root: Path, libraries: Path) -> None:
    package = root / "usr/lib/moorage/python/moorage"
    package.mkdir(parents=True, exist_ok=True)
    for source in _python_sources():
        target = package / source.relative_to(HERE.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    python.install(libraries, root / "usr/lib/moorage/python")
    for name, start in COMMANDS.items():
        command = root / "usr/bin" / name
        command.write_text(
            f'#!/usr/bin/python3 -I\nimport sys\n\nsys.path.insert(0, "/usr/lib/moorage/python")\n{start}\n\nmain()\n'
        )
        command.chmod(0o755)


def _python_sources() -> list[Path]:
    rooms = [path for room in ROOMS for path in sorted((HERE.parent / room).rglob("*")) if path.suffix in SUFFIXES]
    return [*(HERE.parent / name for name in MODULES), *rooms]


def _manifest(made: Path, root: Path, release: Release, given: BuiltImage) -> dict[str, Any]:
    file = made / "node.squashfs"
    return {
        "version": given.version,
        "trusted_keys": [PublicKey.parse(text).name for text in given.keys],
        "kubernetes": release.kubernetes_version,
        "architecture": ARCHITECTURE,
        "release": release.hash,
        "sha256": _sha256([file]),
        "size": file.stat().st_size,
        "packages": debian.packages(root),
        "programs": {entry.name: entry.version for entry in release.manifest.files},
    }


def _inputs_hash(release: Release, keys: Keys) -> str:
    files = [path for path in sorted(ROOTFS.rglob("*")) if path.is_file()]
    files += _python_sources()
    files += [*sorted(HERE.glob("*.py")), HERE / "packages.txt"]
    names = "\n".join([*(str(path.relative_to(HERE.parent)) for path in files), *python.requirements()])
    return hashlib.sha256("\n".join((release.hash, names, _sha256(files), *keys)).encode()).hexdigest()


def _sha256(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
