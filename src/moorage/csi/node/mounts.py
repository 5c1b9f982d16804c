"""A volume's mounts on a node: its file system at the staging path, once for all pods, and a bind mount for each pod.

Each step reads the present state first. A call may be interrupted: the next one resumes. Block volumes have nothing to
stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moorage.csi.node.access import Access, Incompatible
from moorage.host.filesystems import KINDS, Filesystems, Mounted
from moorage.model.errors import Conflict

DEFAULT_KIND = KINDS[0]


@dataclass(frozen=True)
class Staging:
    """A volume's device and its staging path."""

    files: Filesystems
    device: Path
    target: Path
    access: Access

    def stage(self) -> None:
        """Format a blank device, repair, grow and mount; Damaged, Conflict, Incompatible."""
        self.files.make_folder(self.target)
        mount = self.files.mounted(self.target)
        if mount is None:
            kind = self._prepare()
            self.files.mount(self.device, self.target, kind, self._options(kind))
        else:
            self._check_mount(mount)
            kind = mount.kind
        if kind == "xfs" and not self.access.read_only:  # a restored volume may be larger than its snapshot
            self.files.grow(self.device, self.target, kind)

    def _prepare(self) -> str:
        """Prepare the device for mounting; returns its file system's type."""
        kind = self.files.signature(self.device) or self._format()
        allowed = (self.access.kind,) if self.access.kind else KINDS
        if kind not in allowed:
            raise Conflict(
                f"{self.device} has {kind}, not {' or '.join(allowed)}, and is not formatted",
                "use the right fsType, or wipe the volume if nothing on it is needed",
            )
        if not self.access.read_only and not self.files.targets(self.device):
            self.files.repair(self.device, kind)
            self.files.grow_unmounted(self.device, kind)
        return kind

    def _format(self) -> str:
        if self.access.read_only:
            raise Conflict(
                f"{self.device} is blank, and read-only access was requested", "write something to the volume first"
            )
        kind = self.access.kind or DEFAULT_KIND
        self.files.format(self.device, kind)
        return kind

    def _options(self, kind: str) -> tuple[str, ...]:
        # A clone has the UUID of its source's XFS, and both may be on one node.
        required = (*(("nouuid",) if kind == "xfs" else ()), *(("ro",) if self.access.read_only else ()))
        return (*self.access.options, *(option for option in required if option not in self.access.options))

    def _check_mount(self, mount: Mounted) -> None:
        if mount.device != self.files.number(self.device):
            raise Conflict(f"{self.target} has another device than {self.device}", "unmount it there")
        if mount.read_only != self.access.read_only or self.access.kind not in ("", mount.kind):
            mode = "read-only" if mount.read_only else "writable"
            raise Incompatible(f"{self.target} is mounted already: {mount.kind}, {mode}")


def unmount_all(files: Filesystems, target: Path) -> None:
    """Unmount everything at a path; InUse."""
    while files.mounted(target):
        files.unmount(target)


@dataclass(frozen=True)
class Publication:
    """A mount at `target`: of the file system at `staging`, or of `device` itself."""

    files: Filesystems
    device: Path
    staging: Path
    target: Path
    access: Access

    def publish(self) -> None:
        """Bind it, read-only if requested; may be interrupted and repeated. Conflict, Incompatible."""
        source = self._find_source()
        mount = self.files.mounted(self.target)
        if mount is None:
            self._bind(source)
        elif mount.device != self.files.number(self.device):
            raise Incompatible(f"{self.target} has another device than {self.device}")
        elif mount.read_only and not self.access.read_only:
            raise Incompatible(f"{self.target} is mounted already, read-only")
        if self.access.read_only and not (mount and mount.read_only):
            self.files.make_read_only(self.target)

    def _find_source(self) -> Path:
        if self.access.block:
            return self.device
        staged = self.files.mounted(self.staging)
        if staged is None or staged.device != self.files.number(self.device):
            raise Conflict(f"{self.device} is not mounted at {self.staging}", "stage the volume first")
        if staged.read_only and not self.access.read_only:
            raise Conflict(f"{self.staging} is mounted read-only, and {self.target} must be writable")
        return self.staging

    def _bind(self, source: Path) -> None:
        others = [path for path in self.files.targets(self.device) if path != self.staging]
        if self.access.single_pod and others:
            raise Conflict(f"the volume is for one pod, and another pod has it at {others[0]}", "delete that pod first")
        (self.files.make_file if self.access.block else self.files.make_folder)(self.target)
        self.files.bind(source, self.target)


def unpublish(files: Filesystems, target: Path) -> None:
    """Unmount the volume from a pod's path and delete the path; does nothing when it does not exist. InUse."""
    unmount_all(files, target)
    files.remove(target)
