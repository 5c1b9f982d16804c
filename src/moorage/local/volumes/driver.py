"""Cinder's volume driver: a volume is a sparse file, a snapshot a sparse copy of it.

The contract of each method is that of `cinder.volume.driver.VolumeDriver`. The machine driver attaches a volume as
a loop device over its file, so the file is always raw.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cinder import exception, interface
from cinder.image import image_utils
from cinder.volume import configuration, driver
from oslo_config import cfg

GIB = 2**30
CONNECTION_TYPE = "moorage_file"
OPTIONS = [cfg.StrOpt("moorage_volumes_dir", default="/var/lib/moorage/volumes", help="Folder of the volumes' files.")]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class FileVolumeDriver(driver.VolumeDriver):  # type: ignore[misc]
    """Volumes as files in one folder."""

    VERSION = "1.0"
    CI_WIKI_NAME = "Moorage"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.configuration.append_config_values(OPTIONS)

    @property
    def folder(self) -> Path:
        return Path(self.configuration.moorage_volumes_dir)

    def do_setup(self, context: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def check_for_setup_error(self) -> None:
        if not os.access(self.folder, os.W_OK):
            raise exception.VolumeBackendAPIException(data=f"{self.folder} is not writable")

    def _file(self, resource: Any) -> Path:
        """The file of a volume or snapshot."""
        return self.folder / str(resource.name)

    # --- volumes ------------------------------------------------------------------------------------------------

    def create_volume(self, volume: Any) -> None:
        _resize(self._file(volume), volume.size)

    def delete_volume(self, volume: Any) -> None:
        self._file(volume).unlink(missing_ok=True)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        _resize(self._file(volume), new_size)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        _copy(self._file(src_vref), self._file(volume))
        _resize(self._file(volume), volume.size)

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_snapshot(self, snapshot: Any) -> None:
        _copy(self._file(snapshot.volume), self._file(snapshot))

    def delete_snapshot(self, snapshot: Any) -> None:
        self._file(snapshot).unlink(missing_ok=True)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        _copy(self._file(snapshot), self._file(volume))
        _resize(self._file(volume), volume.size)

    # --- images -------------------------------------------------------------------------------------------------

    def copy_image_to_volume(
        self, context: Any, volume: Any, image_service: Any, image_id: str, disable_sparse: bool = False
    ) -> None:
        block = self.configuration.volume_dd_blocksize
        image_utils.fetch_to_raw(context, image_service, image_id, str(self._file(volume)), block, size=volume.size)
        _resize(self._file(volume), volume.size)

    def copy_volume_to_image(self, context: Any, volume: Any, image_service: Any, image_meta: Any) -> None:
        image_utils.upload_volume(context, image_service, image_meta, str(self._file(volume)), volume)

    # --- connections --------------------------------------------------------------------------------------------

    def ensure_export(self, context: Any, volume: Any) -> None:
        """A file needs no export."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """A file needs no export."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """A file needs no export."""

    def initialize_connection(self, volume: Any, connector: Any) -> dict[str, Any]:
        data = {"path": str(self._file(volume)), "volume_id": volume.id, "access_mode": "rw"}
        return {"driver_volume_type": CONNECTION_TYPE, "data": data}

    def terminate_connection(self, volume: Any, connector: Any, **rest: Any) -> None:
        """A file has no connections."""

    def _update_volume_stats(self) -> None:
        disk = shutil.disk_usage(self.folder)
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name") or "files",
            "vendor_name": "Moorage",
            "driver_version": self.VERSION,
            "storage_protocol": "file",
            "total_capacity_gb": disk.total / GIB,
            "free_capacity_gb": disk.free / GIB,
            "reserved_percentage": 0,
            "thin_provisioning_support": True,
            "max_over_subscription_ratio": "20.0",
            "provisioned_capacity_gb": self._provisioned_bytes() / GIB,
            "multiattach": False,
        }

    def _provisioned_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())


def _resize(file: Path, gib: int) -> None:
    """Set the file's size; a sparse file uses space only where it is written."""
    with file.open("ab") as opened:
        opened.truncate(gib * GIB)
    file.chmod(0o600)


def _copy(source: Path, target: Path) -> None:
    """Copy a file sparsely (a reflink where the file system supports it), atomically."""
    partial = target.with_suffix(".partial")
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(source), str(partial)], check=True)
    partial.rename(target)
