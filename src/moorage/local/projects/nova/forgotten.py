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
    May itself be cut off anywhere: what it finds is brought one step further, whoever left it there.
    """
    from nova import context
    from nova.objects import BuildRequestList

    admin = context.get_admin_context()
    for request in BuildRequestList.get_all(admin):
        if request.created_at < before:
            _settle(admin, request)
    for inside, server in _without_host(admin):
        if server.created_at < before:
            _fail(inside, server)


def _settle(admin: Any, request: Any) -> None:
    """End a request: its server gets one record, in the cell where it has one already or else in cell0.

    A cell's record stays the server's only one although Nova died before it had named the cell or dropped the
    request: Nova makes no second record of one ID, and does not find one in a cell that it did not name.
    """
    from nova.conductor.manager import ComputeTaskManager
    from nova.objects import InstanceMapping, RequestSpec

    cell = _cell_of(admin, request.instance_uuid)
    if cell is None:
        wanted = RequestSpec.get_by_instance_uuid(admin, request.instance_uuid)
        ComputeTaskManager()._bury_in_cell0(admin, wanted, _why(request.instance_uuid), build_requests=[request])
        return
    mapping = InstanceMapping.get_by_instance_uuid(admin, request.instance_uuid)
    mapping.cell_mapping = cell
    mapping.save()
    request.destroy()


def _cell_of(admin: Any, server: str) -> Any | None:
    from nova.exception import InstanceNotFound
    from nova.objects import Instance

    for cell, inside in cells.each(admin):
        try:
            Instance.get_by_uuid(inside, server)
        except InstanceNotFound:
            continue
        return cell
    return None


def _without_host(admin: Any) -> Iterator[tuple[Any, Any]]:
    """Servers that have a record in a cell and were never given to a compute service."""
    from nova.compute import vm_states
    from nova.objects import InstanceList

    for _, inside in cells.each(admin):
        for server in InstanceList.get_by_filters(inside, {"vm_state": vm_states.BUILDING, "deleted": False}):
            if server.host is None:
                yield inside, server


def _fail(inside: Any, server: Any) -> None:
    from nova.compute import utils, vm_states

    utils.add_instance_fault_from_exc(inside, server, _why(server.uuid))
    server.vm_state, server.task_state = vm_states.ERROR, None
    server.save()


def _why(server: str) -> Exception:
    from nova.exception import BuildAbortException

    why: Exception = BuildAbortException(instance_uuid=server, reason=REASON)
    return why
