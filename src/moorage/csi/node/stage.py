"""A volume's file system at its staging path, once for all pods of the node.

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
