"""Servers with a build that Nova lost when it died: the messages between its services were in its memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moorage.local.projects.nova import cells

REASON = "Nova was restarted before it built this server; request it again"


def fail_lost_builds() -> None:
    """Set requested servers that were never built to ERROR, as for any failed build.

    Otherwise they would remain in BUILD: a separate message queue would have kept the request. This may be interrupted
    anywhere: each run completes the next step of what it finds. It runs before the API listens, so that no user deletes
    such a server meanwhile.
    """
    from nova import context
    from nova.objects import BuildRequestList

    admin = context.get_admin_context()
    for request in BuildRequestList.get_all(admin):
        _end_request(admin, request)
    for cell, cell_context, server in _without_host(admin):
        _map_to_cell(admin, server.uuid, cell)
        _set_error(cell_context, server)


def _end_request(admin: Any, request: Any) -> None:
    """End a build request. Its server may have a record already, and Nova creates no second one with the same ID."""
    from nova.conductor.manager import ComputeTaskManager
    from nova.objects import RequestSpec

    if _has_record(admin, request.instance_uuid):
        request.destroy()
        return
    spec = RequestSpec.get_by_instance_uuid(admin, request.instance_uuid)
    ComputeTaskManager()._bury_in_cell0(admin, spec, _abort_exception(request.instance_uuid), build_requests=[request])


def _has_record(admin: Any, server: str) -> bool:
    from nova.exception import InstanceNotFound
    from nova.objects import Instance

    for _, cell_context in cells.contexts(admin):
        try:
            Instance.get_by_uuid(cell_context, server)
        except InstanceNotFound:
            continue
        return True
    return False


def _without_host(admin: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Servers with a record in a cell that were never assigned to a compute service."""
    from nova.compute import vm_states
    from nova.objects import InstanceList

    for cell, cell_context in cells.contexts(admin):
        for server in InstanceList.get_by_filters(cell_context, {"vm_state": vm_states.BUILDING, "deleted": False}):
            if server.host is None:
                yield cell, cell_context, server


def _map_to_cell(admin: Any, server: str, cell: Any) -> None:
    """Record in which cell a server's record is.

    Nova does that after it has created the record; until then the server is listed but cannot be read.
    """
    from nova.objects import InstanceMapping

    mapping = InstanceMapping.get_by_instance_uuid(admin, server)
    if mapping.cell_mapping is None:
        mapping.cell_mapping = cell
        mapping.save()


def _set_error(cell_context: Any, server: Any) -> None:
    from nova.compute import utils, vm_states

    utils.add_instance_fault_from_exc(cell_context, server, _abort_exception(server.uuid))
    server.vm_state, server.task_state = vm_states.ERROR, None
    server.save()


def _abort_exception(server: str) -> Exception:
    from nova.exception import BuildAbortException

    error: Exception = BuildAbortException(instance_uuid=server, reason=REASON)
    return error
