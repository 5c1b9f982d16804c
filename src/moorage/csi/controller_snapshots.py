"""CSI's controller service over any backend: snapshots."""

from __future__ import annotations

from typing import Any

from moorage.csi.backend import Backend, Snapshot
from moorage.csi.fields import require_field
from moorage.csi.locks import Locks
from moorage.csi.messages import snapshot_message
from moorage.csi.pages import paginate
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from moorage.model.errors import NotFound


class SnapshotCalls(csi_pb2_grpc.ControllerServicer):  # type: ignore[misc,unused-ignore]
    """One call at a time for each snapshot."""

    def __init__(self, backend: Backend, locks: Locks) -> None:
        self.backend = backend
        self.locks = locks

    def CreateSnapshot(self, request: Any, context: Any) -> Any:
        """The snapshot, possibly before it is ready: the caller repeats the call until it is."""
        name, volume = require_field(request.name, "name"), require_field(request.source_volume_id, "source_volume_id")
        with self.locks.hold(f"snapshot {name}"):
            snapshot = self.backend.snapshot(name, volume, request.parameters)
        return csi.CreateSnapshotResponse(snapshot=snapshot_message(snapshot))

    def DeleteSnapshot(self, request: Any, context: Any) -> Any:
        handle = require_field(request.snapshot_id, "snapshot_id")
        with self.locks.hold(handle):
            self.backend.delete_snapshot(handle)
        return csi.DeleteSnapshotResponse()

    def GetSnapshot(self, request: Any, context: Any) -> Any:
        handle = require_field(request.snapshot_id, "snapshot_id")
        snapshot = self.backend.find_snapshot(handle)
        if snapshot is None:
            raise NotFound(f"snapshot {handle} does not exist")
        return csi.GetSnapshotResponse(snapshot=snapshot_message(snapshot))

    def ListSnapshots(self, request: Any, context: Any) -> Any:
        rows = [(snapshot.handle, snapshot) for snapshot in self._find_snapshots(request)]
        snapshots, token = paginate(rows, request.starting_token, request.max_entries)
        entries = [csi.ListSnapshotsResponse.Entry(snapshot=snapshot_message(snapshot)) for snapshot in snapshots]
        return csi.ListSnapshotsResponse(entries=entries, next_token=token)

    def _find_snapshots(self, request: Any) -> list[Snapshot]:
        """All snapshots, or those of a volume, or only the one that the request names, without listing the others."""
        if request.snapshot_id:
            requested = self.backend.find_snapshot(request.snapshot_id)
            snapshots = [] if requested is None else [requested]
        else:
            snapshots = self.backend.snapshots()
        return [snapshot for snapshot in snapshots if request.source_volume_id in ("", snapshot.volume)]
