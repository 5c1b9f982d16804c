"""Servers whose build Nova forgot when it died: the messages between its services died with it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from moorage.local.projects.nova import cells

REASON = "Nova was started anew before it got to this server; ask for it again"


def give_up(before: datetime.datetime) -> None:
    """Put what was asked for before that time, and was never begun, into ERROR, as any build that fails.

    Otherwise it would stay in BUILD for ever: a message queue of its own would have kept the request.
    """
    from nova import context, exception
    from nova.conductor.manager import ComputeTaskManager
    from nova.objects import BuildRequestList, RequestSpec

    admin = context.get_admin_context()
    manager = ComputeTaskManager()
    requests = [request for request in BuildRequestList.get_all(admin) if request.created_at < before]
    _take_out_of_cells(admin, {request.instance_uuid for request in requests})
    for request in requests:
        why = exception.BuildAbortException(instance_uuid=request.instance_uuid, reason=REASON)
        wanted = RequestSpec.get_by_instance_uuid(admin, request.instance_uuid)
        manager._bury_in_cell0(admin, wanted, why, build_requests=[request])
    for inside, server in _without_host(admin):
        if server.created_at < before:
            _fail(inside, server, exception.BuildAbortException(instance_uuid=server.uuid, reason=REASON))


def _take_out_of_cells(admin: Any, ids: set[str]) -> None:
    """Nova died after it had made the cell's record and before it had dropped the request: one server, not two.

    What is buried is known in cell0 alone; a second record would be listed for ever, and could not be deleted.
    """
    for _, server in _without_host(admin):
        if server.uuid in ids:
            server.destroy()


def _without_host(admin: Any) -> Iterator[tuple[Any, Any]]:
    """Servers that have a record in their cell and were never given to a compute service."""
    from nova.compute import vm_states
    from nova.objects import InstanceList

    for inside in cells.inside_each(admin):
        for server in InstanceList.get_by_filters(inside, {"vm_state": vm_states.BUILDING, "deleted": False}):
            if server.host is None:
                yield inside, server


def _fail(inside: Any, server: Any, why: Exception) -> None:
    from nova.compute import utils, vm_states

    utils.add_instance_fault_from_exc(inside, server, why)
    server.vm_state, server.task_state = vm_states.ERROR, None
    server.save()
