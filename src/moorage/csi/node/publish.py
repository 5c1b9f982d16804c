"""A volume at one pod's path: a bind mount of its staged file system or of its device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moorage.csi.node.access import Access, Incompatible
from moorage.csi.node.stage import unmount_all
from moorage.host.filesystems import Filesystems
from moorage.model.errors import Conflict


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
