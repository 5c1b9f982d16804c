"""Stacks in memory, with the servers that they create."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count, islice
from typing import Any

from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.memory.servers import MemoryServers
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.cloud.port.network import NetworkResource, Port
from moorage.cloud.port.servers import Address, Server
from moorage.cloud.port.stacks import Stack, StackEvent, StackRequest, StackResource
from moorage.model.errors import BadInput, CloudUnreachable, Conflict

FIRST = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)  # when all stacks are created
SERVER, ROUTER_INTERFACE = "OS::Nova::Server", "OS::Neutron::RouterInterface"
PORT = "OS::Neutron::Port"
KINDS = {
    "OS::Neutron::FloatingIP": "floating IP",
    "OS::Neutron::Router": "router",
    "OS::Neutron::Net": "network",
    "OS::Neutron::SecurityGroup": "security group",
}
DUPLICATE_ERRORS = {
    SERVER: "Conflict: resources.server: Port p-1 is still in use.",
    ROUTER_INTERFACE: "BadRequest: Cidr 10.0.0.0/24 of subnet s-1 overlaps with cidr 10.0.0.0/24 of subnet s-1.",
}
RETRY_POLLS = 60  # polls until Heat reports that something blocks a deletion


@dataclass
class StackRecord:
    """A stack, and its progress."""

    stack: Stack
    request: StackRequest
    resources: list[StackResource]
    polls: int = 0
    events: list[StackEvent] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    """Indexes of group members that were ever removed; Heat never uses them again."""


@dataclass
class MemoryStacks:
    """The port `Stacks`. A stack is complete after it was read `polls` times.

    Faults: `unreachable` is why Heat does not answer. `failing` maps a resource's path
    ("nodes/0/ready") to the reason for which it fails. `duplicated` maps the path of a server or a
    router's interface to the id of one that exists already and that Heat does not know, so that Heat cannot create it
    (an interface has no id). `failing_deletions` is how many stack deletions fail first, `lost_answers` how many
    answers to `create` get lost. `orphans` are servers that Heat does not know. `engine_dead`: no
    stack makes progress until the next request. A load balancer in a stack's subnet blocks the stack's deletion.
    `updated_parameters` are the values that stacks were last updated with.
    """

    load_balancers: MemoryLoadBalancers | None = None
    volumes: MemoryVolumes | None = None
    polls: int = 2
    unreachable: str = ""
    failing: dict[str, str] = field(default_factory=dict)
    duplicated: dict[str, str] = field(default_factory=dict)
    failing_deletions: int = 0
    lost_answers: int = 0
    orphans: builtins.list[Server] = field(default_factory=builtins.list)
    engine_dead: bool = False
    records: dict[str, StackRecord] = field(default_factory=dict)
    updated_parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    """Names that users gave to servers, by id."""
    _deleted_servers: set[str] = field(default_factory=set)
    _deleted_resources: set[str] = field(default_factory=set)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def get(self, name: str, *, outputs: bool = False) -> Stack | None:
        self._check_reachable()
        record = self._find(name)
        if record is None:
            return None
        self._advance(record)
        if record.stack.name not in self.records:
            return None
        return replace(record.stack, outputs=_outputs(record) if outputs else {})

    def list(self, tag: str) -> builtins.list[Stack]:
        self._check_reachable()
        tagged = [record for record in [*self.records.values()] if tag in record.stack.tags]
        for record in tagged:
            self._advance(record)
        return [replace(record.stack, parameters={}) for record in tagged if record.stack.name in self.records]

    def resources(self, stack: Stack) -> builtins.list[StackResource]:
        self._check_reachable()
        record = self._find(stack.id)
        return list(record.resources) if record else []

    def create(self, request: StackRequest) -> None:
        self._check_reachable()
        if request.name in self.records:
            raise Conflict(f"The Stack ({request.name}) already exists.")
        parameters = _check_parameters(request)
        number = next(self._ids)
        stack = Stack(
            id=f"stack-{number}",
            name=request.name,
            status="CREATE_IN_PROGRESS",
            reason="Stack CREATE started",
            created_at=f"{FIRST:%Y-%m-%dT%H:%M:%SZ}",
            tags=request.tags,
            parameters=parameters,
        )
        record = self.records[request.name] = StackRecord(stack, request, [])
        record.resources = self._expanded(record)
        self._add_event(record, (), stack.status, stack.reason)
        if self.lost_answers:
            self.lost_answers -= 1
            raise CloudUnreachable("Heat did not answer in time")

    def delete(self, stack: Stack) -> None:
        self._check_reachable()
        record = self._find(stack.id)
        self.engine_dead = False
        if record is not None and record.stack.status != "DELETE_IN_PROGRESS":
            self._set_status(record, "DELETE_IN_PROGRESS", "Stack DELETE started")
            record.polls = 0

    def update(self, stack: Stack, parameters: Mapping[str, Any]) -> None:
        self._check_reachable()
        record = self._find(stack.id)
        if record is None or record.stack.status.startswith("DELETE"):
            return
        self.engine_dead = False
        if record.stack.status.endswith("_IN_PROGRESS"):
            return
        record.stack = replace(
            record.stack,
            parameters={**record.stack.parameters, **_as_returned(record.request.template, parameters)},
            updated_at=f"update {next(self._ids)}",
        )
        for name in _removal_parameters(record.request.template):
            record.removed |= set(parameters.get(name, ()))
        kept, desired = {resource.path: resource for resource in record.resources}, self._expanded(record)
        record.resources = [self._reset_resource(kept.get(resource.path, resource)) for resource in desired]
        for server in (resource for resource in kept.values() if resource.type == SERVER):
            if server.path not in {resource.path for resource in desired}:
                self.delete_server(server.physical_id)
        record.polls = 0
        self.updated_parameters[record.stack.name] = dict(parameters)
        self._set_status(record, "UPDATE_IN_PROGRESS", "Stack UPDATE started")

    def events(self, stack: Stack) -> builtins.list[StackEvent]:
        self._check_reachable()
        record = self._find(stack.id)
        return builtins.list(record.events) if record else []

    def signal(self, stack: Stack, handle: str, text: str, *, failure: bool = False) -> bool:
        self._check_reachable()
        record = self._find(stack.id)
        if record is None or not any(r.path == (handle,) and _exists(r) for r in record.resources):
            return False
        reason = f"Signal: status:{'FAILURE' if failure else 'SUCCESS'} reason:{text}"[:255]
        self._add_event(record, (handle,), "SIGNAL_COMPLETE", reason)
        return True

    def _add_event(self, record: StackRecord, path: tuple[str, ...], status: str, reason: str) -> None:
        time = FIRST + timedelta(seconds=next(self._ids))
        record.events.append(StackEvent(f"{time:%Y-%m-%dT%H:%M:%SZ}", path, status, reason))

    def _expanded(self, record: StackRecord) -> builtins.list[StackResource]:
        """All resources of the stack as Heat plans them."""
        request, number = record.request, next(self._ids)
        expanded = _expand(request.template, request.files, record.stack.parameters, record.removed)
        return [
            StackResource(path, kind, "INIT_COMPLETE", physical_id=f"{request.name}-{number}-{index}")
            for index, (path, kind) in enumerate(expanded)
        ]

    def _reset_resource(self, resource: StackResource) -> StackResource:
        if resource.status != "CREATE_FAILED":
            return resource
        return replace(resource, status="INIT_COMPLETE", physical_id=resource.physical_id or f"again-{next(self._ids)}")

    def servers(self, cluster: str) -> builtins.list[Server]:
        """The servers of a cluster's stacks, and those that Heat does not know."""
        found = [server for record in self._records_of(cluster) for server in self._servers_of(record)]
        return [*found, *(server for server in self.orphans if server.metadata.get("moorage_cluster") == cluster)]

    def _records_of(self, cluster: str) -> builtins.list[StackRecord]:
        return [record for record in [*self.records.values()] if _cluster_of(record) == cluster]

    def _servers_of(self, record: StackRecord) -> builtins.list[Server]:
        planned = [r for r in record.resources if r.type == SERVER]
        existing = [r for r in planned if _exists(r) and r.physical_id]
        existing += [replace(r, physical_id=id) for r in planned if (id := self.duplicated.get("/".join(r.path)))]
        servers = [_server(record, r) for r in existing if r.physical_id not in self._deleted_servers]
        return [replace(server, name=self.renamed.get(server.id, server.name)) for server in servers]

    def delete_server(self, id: str) -> None:
        """What Nova does."""
        self._deleted_servers.add(id)
        self.orphans = [server for server in self.orphans if server.id != id]
        self.duplicated = {path: other for path, other in self.duplicated.items() if other != id}
        if self.volumes is not None:
            self.volumes.delete_server(id)

    def network_resources(self, cluster: str) -> builtins.list[NetworkResource]:
        """The network resources of a cluster's stacks."""
        existing = [r for record in self._records_of(cluster) for r in self._network_resources(record)]
        return [NetworkResource(KINDS[r.type], r.physical_id, cluster) for r in existing if r.type in KINDS]

    def ports(self, networks: Sequence[str]) -> builtins.list[Port]:
        """The ports in these networks, which are of stacks; a router's interface is one too."""
        found = []
        for record in [*self.records.values()]:
            existing = self._network_resources(record)
            used = {r.physical_id for r in existing} | {record.stack.parameters.get("network")}
            if used.intersection(networks):
                found += [_port(r) for r in existing if r.type in (PORT, ROUTER_INTERFACE)]
                found += [Port(path, "network:router_interface", "r") for path in self._duplicated_interfaces(record)]
        return found

    def _network_resources(self, record: StackRecord) -> builtins.list[StackResource]:
        existing = [r for r in record.resources if r.physical_id and _exists(r)]
        return [r for r in existing if r.physical_id not in self._deleted_resources]

    def _duplicated_interfaces(self, record: StackRecord) -> builtins.list[str]:
        paths = ("/".join(r.path) for r in record.resources if r.type == ROUTER_INTERFACE)
        return [path for path in paths if path in self.duplicated]

    def delete_network_resource(self, id: str) -> None:
        """What Neutron does; the id of an interface that Heat does not know is its path."""
        self._deleted_resources.add(id)
        self.duplicated.pop(id, None)

    def _check_reachable(self) -> None:
        if self.unreachable:
            raise CloudUnreachable(self.unreachable, service=self.unreachable.split()[0])

    def _find(self, name_or_id: str) -> StackRecord | None:
        matching = (record for record in [*self.records.values()] if name_or_id in (record.stack.name, record.stack.id))
        return next(matching, None)

    def _advance(self, record: StackRecord) -> None:
        """Every read advances time: first the resources progress, then the stack."""
        if self.engine_dead or not record.stack.status.endswith("_IN_PROGRESS"):
            return
        record.polls += 1
        if record.stack.status.startswith("DELETE"):
            self._delete(record)
        elif record.polls > self.polls or any(r.status == "CREATE_FAILED" for r in record.resources):
            self._finish(record)
        else:
            status = "CREATE_COMPLETE" if record.polls == self.polls else "CREATE_IN_PROGRESS"
            record.resources = [self._advance_resource(resource, status) for resource in record.resources]

    def _finish(self, record: StackRecord) -> None:
        failed = [resource for resource in record.resources if resource.status == "CREATE_FAILED"]
        if not failed or all(_member(resource) for resource in failed):
            stopped = {_member(resource) for resource in failed}
            record.resources = [
                resource
                if failed and _member(resource) in stopped
                else self._advance_resource(resource, "CREATE_COMPLETE", last=True)
                for resource in record.resources
            ]
            failed = [resource for resource in record.resources if resource.status == "CREATE_FAILED"]
        action = record.stack.status.partition("_")[0]
        if failed:
            self._set_status(record, f"{action}_FAILED", f"Resource CREATE failed: {failed[0].reason}")
        else:
            self._set_status(record, f"{action}_COMPLETE", f"Stack {action} completed successfully")

    def _delete(self, record: StackRecord) -> None:
        """Servers are deleted first, because their networks cannot be deleted before."""
        for server in self._servers_of(record):
            self.delete_server(server.id)
        record.resources = [replace(r, status="DELETE_COMPLETE") if r.type == SERVER else r for r in record.resources]
        if record.polls <= (RETRY_POLLS if self._in_use(record) else self.polls):
            return
        if self.failing_deletions or self._in_use(record):
            self.failing_deletions = max(self.failing_deletions - 1, 0)
            self._set_status(
                record, "DELETE_FAILED", "Resource DELETE failed: Conflict: resources.network: port in use"
            )
        else:
            del self.records[record.stack.name]

    def _in_use(self, record: StackRecord) -> bool:
        orphans = (server.metadata.get("moorage_cluster") for server in self.orphans)
        if self._duplicated_interfaces(record) or record.stack.name in orphans or self._has_ports_of_others(record):
            return True
        load_balancers = self.load_balancers.by_id.values() if self.load_balancers else ()
        return bool(
            {load_balancer.subnet for load_balancer in load_balancers}
            & {resource.physical_id for resource in record.resources}
        )

    def _has_ports_of_others(self, record: StackRecord) -> bool:
        """Whether stacks of node groups have ports in this stack's network."""
        networks = {r.physical_id for r in record.resources}
        others = [other for other in [*self.records.values()] if other.stack.parameters.get("network") in networks]
        return any(r.type == PORT for other in others for r in self._network_resources(other))

    def _advance_resource(self, resource: StackResource, status: str, last: bool = False) -> StackResource:
        """The resource in its new state; nodes signal at the end that they are ready, or why not."""
        if resource.status == "CREATE_COMPLETE":
            return resource
        path = "/".join(resource.path)
        reason = self.failing.get(path)
        if resource.type == "OS::Heat::WaitCondition" and not last:
            return replace(resource, status="CREATE_IN_PROGRESS")
        if path in self.duplicated:
            return replace(resource, status="CREATE_FAILED", reason=DUPLICATE_ERRORS[resource.type], physical_id="")
        if reason is not None:
            return replace(resource, status="CREATE_FAILED", reason=reason)
        quick = resource.type.startswith("OS::Neutron::") and resource.status == "CREATE_IN_PROGRESS"
        return replace(resource, status="CREATE_COMPLETE" if quick else status)

    def _set_status(self, record: StackRecord, status: str, reason: str) -> None:
        record.stack = replace(record.stack, status=status, reason=reason)
        failed = [resource for resource in record.resources if resource.status.endswith("_FAILED")]
        for resource in failed if status.endswith("_FAILED") else ():
            self._add_event(record, resource.path, resource.status, resource.reason)
        self._add_event(record, (), status, reason)


def _check_parameters(request: StackRequest) -> dict[str, Any]:
    declared = _parse_hot(request.template).get("parameters", {})
    for name in request.parameters:
        if name not in declared:
            raise BadInput(f"Heat refused: The Parameter ({name}) was not defined in template.")
    for name, schema in declared.items():
        if name not in request.parameters and "default" not in schema:
            raise BadInput(f"Heat refused: The Parameter ({name}) was not provided.")
    values = {name: request.parameters.get(name, schema.get("default")) for name, schema in declared.items()}
    return _as_returned(request.template, values)


def _as_returned(template: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as Heat returns them."""
    declared = _parse_hot(template).get("parameters", {})
    return {name: "******" if declared[name].get("hidden") else _as_text(value) for name, value in values.items()}


def _as_text(value: Any) -> str:
    import json

    return json.dumps(value) if isinstance(value, dict | list) else str(value)


@cache
def _parse_hot(text: str) -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def _expand(
    template: str,
    files: Mapping[str, str],
    parameters: Mapping[str, Any],
    removed: Collection[str],
    parent: tuple[str, ...] = (),
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path and type of every resource, with nested stacks and groups expanded."""
    for name, body in _parse_hot(template).get("resources", {}).items():
        kind, path = body["type"], (*parent, name)
        yield path, kind
        properties = {key: _value(value, parameters) for key, value in body.get("properties", {}).items()}
        if kind in files:
            yield from _expand(files[kind], files, properties, removed, path)
        elif kind == "OS::Heat::ResourceGroup":
            member = properties["resource_def"]["type"]
            indexes = (str(number) for number in count() if str(number) not in removed)
            for index in islice(indexes, int(properties["count"])):
                yield (*path, index), member
                if member in files:
                    yield from _expand(files[member], files, {}, removed, (*path, index))


def _value(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, dict) and list(value) == ["get_param"] and isinstance(value["get_param"], str):
        return parameters.get(value["get_param"])
    return value


def _member(resource: StackResource) -> str:
    """The index of the group's member that the resource belongs to; one that failed does not stop the others."""
    return next((part for part in resource.path if part.isdigit()), "")


def _cluster_of(record: StackRecord) -> str:
    """The cluster of a base stack or of a node group's."""
    return str(record.request.parameters.get("cluster", {}).get("name", record.stack.name))


def _removal_parameters(template: str) -> Iterator[str]:
    """The parameters with the members that a group is to remove."""
    for body in _parse_hot(template).get("resources", {}).values():
        for policy in body.get("properties", {}).get("removal_policies", ()):
            yield policy["resource_list"]["get_param"]


def _outputs(record: StackRecord) -> dict[str, Any]:
    """Outputs that are parameters, and those of the cluster's template; others are None, as in Heat."""
    signalled = any(r.path == ("control_plane_ready",) and r.status == "CREATE_COMPLETE" for r in record.resources)
    known = {
        "api_address": "10.0.0.10",
        "api_public_address": "172.24.4.20",
        "api_url": "https://172.24.4.20:6443",
        "ca_certificate": "the CA's certificate" if signalled else None,
        "client_certificate": "the client's certificate" if signalled else None,
        "node_group": _node_group(record),
    }
    declared = _parse_hot(record.request.template).get("outputs", {})
    return {
        name: known.get(name, _parameter(body["value"], record.stack.parameters)) for name, body in declared.items()
    }


def _node_group(record: StackRecord) -> dict[str, Any] | None:
    ids = {r.path[0]: r.physical_id for r in record.resources if r.status == "CREATE_COMPLETE"}
    if not ids.keys() >= {"network", "subnet", "node_rules", "control_plane_port", "floating_ip"}:
        return None
    cluster = {"name": record.stack.name, "api_address": "10.0.0.10"}
    rules = {"security_groups": [ids["node_rules"]], "allowed_address_pairs": []}
    return {"network": ids["network"], "subnet": ids["subnet"], **rules, "cluster": cluster}


def _parameter(value: Any, parameters: Mapping[str, Any]) -> Any:
    resolved = _value(value, parameters)
    return None if resolved is value and isinstance(value, dict) else resolved


def _port(resource: StackResource) -> Port:
    owner = "network:router_interface" if resource.type == ROUTER_INTERFACE else "compute:nova"
    return Port(resource.physical_id, owner, "router-1" if resource.type == ROUTER_INTERFACE else "server-1")


def _exists(resource: StackResource) -> bool:
    return resource.status in ("CREATE_IN_PROGRESS", "CREATE_COMPLETE", "CREATE_FAILED")


def _server(record: StackRecord, resource: StackResource) -> Server:
    index = _member(resource)
    role = "worker" if index else "control-plane"
    group = record.request.parameters.get("group", role)
    status = {"CREATE_IN_PROGRESS": "BUILD", "CREATE_COMPLETE": "ACTIVE"}.get(resource.status, "ERROR")
    name = f"{record.stack.name}-{index or 'control-plane-0'}"
    return Server(
        id=resource.physical_id,
        name=name,
        status=status,
        metadata={
            "moorage_cluster": _cluster_of(record),
            "moorage_role": role,
            "moorage_group": group,
            "moorage_node": name,
        },
        addresses=(Address("fixed", f"10.0.0.{10 + (int(index) + 1 if index else 0)}"),),
        fault=resource.reason if status == "ERROR" else "",
    )


class StackServers(MemoryServers):
    """The port `Servers` for the servers of stacks."""

    def __init__(self, stacks: MemoryStacks) -> None:
        super().__init__()
        self.stacks = stacks

    def delete(self, id: str) -> None:
        self._record_call("delete")
        self.stacks.delete_server(id)

    def _all(self) -> Iterable[Server]:
        names = {_cluster_of(record) for record in [*self.stacks.records.values()]}
        names |= {server.metadata["moorage_cluster"] for server in self.stacks.orphans}
        return [server for name in sorted(names) for server in self.stacks.servers(name)]
