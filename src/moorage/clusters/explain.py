"""Explain a stack to users: what it waits for, and why it failed. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource

SERVER, CONDITION = "OS::Nova::Server", "OS::Heat::WaitCondition"
DISPLAY_NAMES = {
    "OS::Neutron::Net": "network",
    "OS::Neutron::Subnet": "subnet",
    "OS::Neutron::Router": "router",
    "OS::Neutron::RouterInterface": "router's interface",
    "OS::Neutron::SecurityGroup": "security group",
    "OS::Neutron::Port": "port",
    "OS::Neutron::FloatingIP": "floating IP",
    "OS::Neutron::FloatingIPAssociation": "floating IP's attachment",
    SERVER: "server",
    CONDITION: "first boot",
    "OS::Heat::WaitConditionHandle": "credential for signaling",
}


def describe_waiting(resources: Sequence[StackResource], nodes: int, complete: int = 0) -> str:
    """What stacks in creation are doing at the moment; `complete` are the nodes of stacks that are complete."""
    ready = complete + _complete(resources, CONDITION)
    booted = complete + servers_complete(resources)
    begun = complete or any(resource.type == SERVER and resource.status != "INIT_COMPLETE" for resource in resources)
    if booted >= nodes:
        return f"waiting for nodes: {ready} of {nodes} Ready (each boots, starts Kubernetes and sends a signal)"
    if begun:
        return f"waiting for Nova: {booted} of {nodes} servers started, {ready} nodes Ready"
    return "waiting for Neutron: network, router and addresses for the servers"


def servers_complete(resources: Sequence[StackResource]) -> int:
    """The number of servers that are complete in Heat."""
    return _complete(resources, SERVER)


def describe_deletion(resources: Sequence[StackResource]) -> str:
    """What a stack in deletion still has."""
    left = [resource for resource in existing_resources(resources) if resource.type in DISPLAY_NAMES]
    servers = sum(resource.type == SERVER for resource in left)
    return f"waiting for Heat to delete {servers} servers and {len(left) - servers} other resources"


def existing_resources(resources: Sequence[StackResource]) -> list[StackResource]:
    """The resources that Heat created and has not deleted. Heat keeps the ids of deleted ones."""
    return [resource for resource in resources if resource.physical_id and resource.status != "DELETE_COMPLETE"]


def failure_reason(stack: Stack, resources: Sequence[StackResource]) -> str:
    """The reason of the innermost failed resource, not those of the resources that failed because of it."""
    failed = [resource for resource in resources if resource.status.endswith("_FAILED")]
    causes = [resource for resource in failed if not cancelled(resource.reason)] or failed
    if not causes:
        return own_message(stack.reason) or f"the stack is {stack.status}"
    deepest = max(causes, key=lambda resource: (resource.type == CONDITION, len(resource.path)))
    return f"{_named(deepest, stack.name)}: {own_message(deepest.reason)}"


def lost_servers(resources: Sequence[StackResource], servers: Sequence[Server]) -> list[StackResource]:
    """The servers that Heat began to create and that it does not have complete, or that Nova does not have; and those
    of workers of which the first boot failed.
    """
    there = {server.id for server in servers}
    failed = {
        it.path[:-1] for it in resources if it.type == CONDITION and it.status.endswith("_FAILED") and it.path[1:]
    }
    begun = (resource for resource in resources if resource.type == SERVER and resource.status != "INIT_COMPLETE")
    return [
        resource
        for resource in begun
        if not (resource.physical_id in there and resource.status.endswith("_COMPLETE"))
        or resource.status == "DELETE_COMPLETE"
        or resource.path[:-1] in failed
    ]


def untracked_servers(resources: Sequence[StackResource], servers: Sequence[Server], stack: str) -> list[Server]:
    """Servers in the place of lost ones: Heat died before it recorded them, and cannot create others beside them."""
    lost = {node_name(resource, stack) for resource in lost_servers(resources, servers)}
    known = {resource.physical_id for resource in existing_resources(resources)}
    return [server for server in servers if server.name in lost and server.id not in known]


def server_faults(servers: Sequence[Server]) -> list[str]:
    """Nova's reasons for servers that do not run."""
    return [
        f"server {server.name} is {server.status}" + (f": {server.fault}" if server.fault else "")
        for server in servers
        if server.status not in ("ACTIVE", "BUILD")
    ]


def _complete(resources: Sequence[StackResource], kind: str) -> int:
    return sum(resource.type == kind and resource.status.endswith("_COMPLETE") for resource in _has_begun(resources))


def _has_begun(resources: Sequence[StackResource]) -> list[StackResource]:
    """Whether Heat has begun to create them. Between two attempts Heat deletes what it could not create."""
    return [resource for resource in resources if not resource.status.startswith(("INIT", "DELETE"))]


def cancelled(reason: str) -> bool:
    """Whether a resource failed only because another one did."""
    return not reason or "aborted" in reason or "cancelled" in reason


def _named(resource: StackResource, stack: str) -> str:
    """A resource's name for users: "node demo-workers-1-0", "router of demo"."""
    kind = DISPLAY_NAMES.get(resource.type, resource.type)
    if resource.type in (SERVER, CONDITION):
        return f"{'node' if resource.type == CONDITION else 'server'} {node_name(resource, stack)}"
    return f"{kind} of {node_name(resource, stack) if node_index(resource) else stack}"


def node_name(resource: StackResource, stack: str) -> str:
    """The name of a node and its server, from a resource of the node in that stack."""
    index = node_index(resource)
    return f"{stack}-{index}" if index else f"{stack}-control-plane-0"


def name_at(path: Sequence[str], stack: str) -> str:
    """The name of the node that a resource at this path of a stack belongs to, or the stack's."""
    if index := _index(path):
        return f"{stack}-{index}"
    return f"{stack}-control-plane-0" if path[-1] in ("control_plane", "control_plane_ready") else stack


def node_index(resource: StackResource) -> str:
    """The index of a worker in its group, from a resource of it; empty for the control plane."""
    return _index(resource.path)


def _index(path: Sequence[str]) -> str:
    return next((part for part in reversed(path[:-1]) if part.isdigit()), "")


def describe_missing(servers: Sequence[StackResource], stack: str) -> str:
    """The stack's servers that Nova no longer has."""
    names = [node_name(server, stack) for server in servers]
    causes = f"server {names[0]} is gone" if len(names) == 1 else f"servers {', '.join(names)} are gone"
    return causes + (", and with it the cluster's etcd" if includes_control_plane(servers) else "")


def includes_control_plane(servers: Sequence[StackResource]) -> bool:
    """Whether the control plane's server is one of them."""
    return any(_of_control_plane(server) for server in servers)


def _of_control_plane(resource: StackResource) -> bool:
    """Whether a server or wait condition is the control plane's: it alone is not in a nested stack."""
    return len(resource.path) == 1


def control_plane_was_ready(resources: Sequence[StackResource]) -> bool:
    """Whether the control plane has signaled that it is Ready. Its certificates came with that signal."""
    return any(
        resource.type == CONDITION and _of_control_plane(resource) and resource.status.endswith("_COMPLETE")
        for resource in _has_begun(resources)
    )


def has_addresses(resources: Sequence[StackResource]) -> bool:
    """Whether the base stack has the network and the addresses that node groups need."""
    complete = {resource.path for resource in _has_begun(resources) if resource.status.endswith("_COMPLETE")}
    return complete.issuperset({("control_plane_port",), ("floating_ip",)})


def own_message(reason: str) -> str:
    """A reason without Heat's wrapping: "Resource CREATE failed: WaitConditionFailure: resources.a: why" is "why"."""
    text = " ".join(reason.split())
    text = re.sub(r"^Resource (CREATE|DELETE|UPDATE) failed: ", "", text)
    text = re.sub(r"^\w+: (?=resources\.)", "", text)
    text = re.sub(r"^(\w+): (?=\S)", _keep_only_message, text)
    text = re.sub(r"^(resources\.[\w.-]+: )+", "", text)
    if re.fullmatch(r"\d+ of \d+ received.*", text):
        return "no signal within its time; its console may show why (openstack console log show)"
    return text


def _keep_only_message(match: re.Match[str]) -> str:
    """Drop an exception's class name, unless that is the whole message."""
    word = match.group(1)
    return "" if re.fullmatch(r"[A-Z]\w*[a-z][A-Z]\w*|[A-Z]\w+(Error|Client)|Conflict|Error", word) else match.group(0)
