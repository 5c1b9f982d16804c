"""Servers whose build Nova forgot when it died: the messages between its services died with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moorage.local.projects.nova import cells

REASON = "Nova was restarted before it got to this server; ask for it again"


def give_up() -> None:
    """Put what was asked for, and never begun, into ERROR, as any build that fails.

    Otherwise it would stay in BUILD for ever: a message queue of its own would have kept the request.
    May itself be cut off anywhere: what it finds is brought one step further, whoever left it there.
    It is for before the API listens: whoever deletes such a server meanwhile would get in its way.
    """
    from nova import context
    from nova.objects import BuildRequestList

    admin = context.get_admin_context()
    for request in BuildRequestList.get_all(admin):
        _settle(admin, request)
    for cell, inside, server in _without_host(admin):
        _name_cell(admin, server.uuid, cell)
        _fail(inside, server)


def _settle(admin: Any, request: Any) -> None:
    """End a request. Its server may have a record already, and Nova makes no second one of the same ID."""
    from nova.conductor.manager import ComputeTaskManager
    from nova.objects import RequestSpec

    if _recorded(admin, request.instance_uuid):
        request.destroy()
        return
    wanted = RequestSpec.get_by_instance_uuid(admin, request.instance_uuid)
    ComputeTaskManager()._bury_in_cell0(admin, wanted, _why(request.instance_uuid), build_requests=[request])


def _recorded(admin: Any, server: str) -> bool:
    from nova.exception import InstanceNotFound
    from nova.objects import Instance

    for _, inside in cells.each(admin):
        try:
            Instance.get_by_uuid(inside, server)
        except InstanceNotFound:
            continue
        return True
    return False


def _without_host(admin: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Servers that have a record in a cell and were never given to a compute service."""
    from nova.compute import vm_states
    from nova.objects import InstanceList

    for cell, inside in cells.each(admin):
        for server in InstanceList.get_by_filters(inside, {"vm_state": vm_states.BUILDING, "deleted": False}):
            if server.host is None:
                yield cell, inside, server


def _name_cell(admin: Any, server: str, cell: Any) -> None:
    """Say in which cell a server's record is, which Nova does after it has made it, and without which it is listed and
    not found."""
    from nova.objects import InstanceMapping

    mapping = InstanceMapping.get_by_instance_uuid(admin, server)
    if mapping.cell_mapping is None:
        mapping.cell_mapping = cell
        mapping.save()


def _fail(inside: Any, server: Any) -> None:
    from nova.compute import utils, vm_states

    utils.add_instance_fault_from_exc(inside, server, _why(server.uuid))
    server.vm_state, server.task_state = vm_states.ERROR, None
    server.save()


def _why(server: str) -> Exception:
    from nova.exception import BuildAbortException

    why: Exception = BuildAbortException(instance_uuid=server, reason=REASON)
    return why
