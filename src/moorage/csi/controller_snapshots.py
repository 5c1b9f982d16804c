"""CSI's controller service over any backend: snapshots."""

from __future__ import annotations

from typing import Any

from moorage.csi.backend import Backend, Snapshot
from moorage.csi.given import given
from moorage.csi.locks import Locks
from moorage.csi.messages import snapshot_message
from moorage.csi.pages import page
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from moorage.model.errors import NotFound


class SnapshotCalls(csi_pb2_grpc.ControllerServicer):  # type: ignore[misc,unused-ignore]
    """One call at a time for each snapshot."""

    def __init__(self, backend: Backend, locks: Locks) -> None:
        self.backend = backend
        self.locks = locks

    def CreateSnapshot(self, request: Any, context: Any) -> Any:
        """Possibly before it is ready: the caller asks again until it is."""
        name, volume = given(request.name, "name"), given(request.source_volume_id, "source_volume_id")
        with self.locks.hold(f"snapshot {name}"):
            made = self.backend.snapshot(name, volume, request.parameters)
        return csi.CreateSnapshotResponse(snapshot=snapshot_message(made))

    def DeleteSnapshot(self, request: Any, context: Any) -> Any:
        handle = given(request.snapshot_id, "snapshot_id")
        with self.locks.hold(handle):
            self.backend.delete_snapshot(handle)
        return csi.DeleteSnapshotResponse()

    def GetSnapshot(self, request: Any, context: Any) -> Any:
        handle = given(request.snapshot_id, "snapshot_id")
        found = self.backend.find_snapshot(handle)
        if found is None:
            raise NotFound(f"there is no snapshot {handle}")
        return csi.GetSnapshotResponse(snapshot=snapshot_message(found))

    def ListSnapshots(self, request: Any, context: Any) -> Any:
        rows = [(snapshot.handle, snapshot) for snapshot in self._wanted(request)]
        shown, token = page(rows, request.starting_token, request.max_entries)
        entries = [csi.ListSnapshotsResponse.Entry(snapshot=snapshot_message(snapshot)) for snapshot in shown]
        return csi.ListSnapshotsResponse(entries=entries, next_token=token)

    def _wanted(self, request: Any) -> list[Snapshot]:
        """All of them, or a volume's, or the one that the request names, without listing the others."""
        if request.snapshot_id:
            named = self.backend.find_snapshot(request.snapshot_id)
            found = [] if named is None else [named]
        else:
            found = self.backend.snapshots()
        return [snapshot for snapshot in found if request.source_volume_id in ("", snapshot.volume)]
