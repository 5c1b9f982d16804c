"""The port `Stacks` on a real Heat."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.stacks import Stack, StackEvent, StackRequest, StackResource
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound

HEAT = "orchestration"
EVENTS = 1000  # read at most
NESTED_DEPTH = 3  # group > members > node, and one more for clusters that were created by hand


class OpenStackStacks:
    """The port `Stacks` on Heat."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self._paths: dict[str, str] = {}
        """The paths of stacks, by name and id: for a name or an id alone, Heat answers with a redirect."""

    def get(self, name: str, *, outputs: bool = False) -> Stack | None:
        known = self._paths.pop(name, None)
        stack = self._show(known, outputs) if known else None
        if stack is None:  # another one may have the name of a deleted one
            stack = self._show(f"/stacks/{quote(name)}", outputs)
        if stack is not None:
            self._paths[name] = _path(stack)
        return stack

    def _show(self, path: str, outputs: bool) -> Stack | None:
        try:
            answer = self.rest.get(HEAT, path, resolve_outputs=str(outputs))
        except NotFound:
            return None
        stack = _stack(answer["stack"])
        return None if stack.status == "DELETE_COMPLETE" else stack

    def list(self, tag: str) -> builtins.list[Stack]:
        found = [_stack(row) for row in self.rest.list(HEAT, "/stacks", tags=tag)]
        self._paths |= {stack.id: _path(stack) for stack in found}
        return found

    def resources(self, stack: Stack) -> builtins.list[StackResource]:
        return _resources(self._resource_rows(stack), stack.id)

    def _resource_rows(self, stack: Stack) -> builtins.list[dict[str, Any]]:
        try:
            return [*self.rest.list(HEAT, f"{_path(stack)}/resources", nested_depth=NESTED_DEPTH)]
        except NotFound:
            return []

    def create(self, request: StackRequest) -> None:
        body = {
            "stack_name": request.name,
            "template": request.template,
            "files": dict(request.files),
            "environment": {},
            "parameters": dict(request.parameters),
            "tags": ",".join(request.tags),
            "timeout_mins": request.timeout_minutes,
            "disable_rollback": True,
        }
        self.rest.post(HEAT, "/stacks", body)

    def delete(self, stack: Stack) -> None:
        try:
            self.rest.delete(HEAT, _path(stack))
        except NotFound:
            return

    def update(self, stack: Stack, parameters: Mapping[str, Any]) -> None:
        try:
            self.rest.patch(HEAT, _path(stack), {"parameters": dict(parameters)})
        except (NotFound, Conflict):
            return
        except BadInput:
            current = self.get(stack.id)
            # Heat rejects the request while it deletes the stack.
            if current and not current.status.startswith("DELETE"):
                raise

    def events(self, stack: Stack) -> builtins.list[StackEvent]:
        try:
            answer = self.rest.get(HEAT, f"{_path(stack)}/events", nested_depth=NESTED_DEPTH, limit=EVENTS)
        except NotFound:
            return []
        return _events(answer["events"], self._resource_rows(stack), stack.id)

    def signal(self, stack: Stack, handle: str, text: str, *, failure: bool = False) -> bool:
        # With the same id each time, the handle's data does not grow.
        body = {"id": "event", "status": "FAILURE" if failure else "SUCCESS", "reason": text, "data": ""}
        try:
            self.rest.post(HEAT, f"{_path(stack)}/resources/{handle}/signal", body)
        except (NotFound, Conflict, BadInput):
            return False
        except CloudUnreachable:
            if self.get(stack.id) is not None:
                raise
            return False  # Heat has just deleted the stack, and fails to read its owner
        return True


def _path(stack: Stack) -> str:
    return f"/stacks/{quote(stack.name)}/{stack.id}"


def _stack(row: Mapping[str, Any]) -> Stack:
    outputs = {output["output_key"]: output.get("output_value") for output in row.get("outputs", ())}
    return Stack(
        id=row["id"],
        name=row["stack_name"],
        status=row["stack_status"],
        reason=row.get("stack_status_reason") or "",
        created_at=row.get("creation_time") or "",
        updated_at=row.get("updated_time") or "",
        tags=tuple(row.get("tags") or ()),
        parameters=row.get("parameters") or {},
        outputs=outputs,
    )


def _resources(rows: Sequence[Mapping[str, Any]], root: str) -> list[StackResource]:
    """Resources with their paths: the id of a nested stack is the physical id of its resource in the outer stack."""
    parents = _parents(rows)
    return [
        StackResource(
            path=_resource_path(row, parents, root),
            type=row["resource_type"],
            status=row["resource_status"],
            reason=row.get("resource_status_reason") or "",
            physical_id=row.get("physical_resource_id") or "",
        )
        for row in rows
    ]


def _events(rows: Sequence[Mapping[str, Any]], resources: Sequence[Mapping[str, Any]], root: str) -> list[StackEvent]:
    """Events, oldest first, without those of nested stacks that their resources in the outer stacks have too."""
    parents = _parents(resources)
    return [
        StackEvent(
            time=row["event_time"],
            path=() if row.get("physical_resource_id") == root else _resource_path(row, parents, root),
            status=row["resource_status"],
            reason=row.get("resource_status_reason") or "",
        )
        for row in reversed(rows)
        if row.get("physical_resource_id") in (None, "", root) or row["physical_resource_id"] != _stack_id(row)
    ]


def _parents(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The resources that are nested stacks, by the stacks' ids, and others by theirs."""
    return {row["physical_resource_id"]: row for row in rows if row.get("physical_resource_id")}


def _resource_path(row: Mapping[str, Any], parents: Mapping[str, Mapping[str, Any]], root: str) -> tuple[str, ...]:
    names = [row["resource_name"]]
    stack = _stack_id(row)
    while stack and stack != root and stack in parents:
        names.append(parents[stack]["resource_name"])
        stack = _stack_id(parents[stack])
    return tuple(reversed(names))


def _stack_id(row: Mapping[str, Any]) -> str:
    """The id of the stack that has the resource, from its link."""
    link = next((str(link["href"]) for link in row.get("links", ()) if link["rel"] == "stack"), "")
    return link.rstrip("/").rsplit("/", 1)[-1]
