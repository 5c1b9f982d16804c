"""Plan the deletion of a cluster's load balancers and floating IPs. Pure.

Rules in the nodes' security group are deleted with that group, which belongs to the stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from moorage.cloud.port.load_balancers import ACTIVE, ERROR, Listener, LoadBalancer
from moorage.cloud.port.network import FloatingIP
from moorage.clusters.owned.resources import (
    MAX_REQUESTS,
    CleanupPlan,
    DeleteFloatingIP,
    DeleteListener,
    DeleteLoadBalancer,
    DeletePool,
    DeleteServer,
    ObservedResources,
    ReleaseFloatingIP,
    SetTags,
    combine,
)
from moorage.model.cluster import OwnedResource
from moorage.model.ownership import (
    SERVICE_PREFIX,
    described_kept,
    described_service,
    formerly_described,
    service_named,
    serving_tag,
)


def plan_network(observed: ObservedResources, asked: Mapping[str, int]) -> CleanupPlan:
    """`asked` counts this run's deletion requests by id."""
    floating = [_floating(held, observed) for held in observed.floating]
    own = [_own(load_balancer, observed.cluster, asked) for load_balancer in observed.load_balancers]
    shared = [_shared(load_balancer, observed.cluster) for load_balancer in observed.shared]
    # A floating IP that only its port identifies is deleted before the port's load balancer.
    network = combine([*floating, *own, *shared])
    return combine([_creators(observed, asked, begin=not network.done), network])


def _creators(observed: ObservedResources, asked: Mapping[str, int], *, begin: bool) -> CleanupPlan:
    """Stop the control plane first where there are load balancers, because it would recreate them."""
    running = [server for server in observed.servers if server.metadata.get("moorage_role") == "control-plane"]
    stopped = [server for server in running if asked.get(server.id)]
    begun = [server for server in running if server not in stopped] if begin else []
    return CleanupPlan(
        deletions=tuple(DeleteServer(server.id, f"stopping the control plane: {server.name}") for server in begun),
        waiting=tuple(f"waiting for Nova to delete server {server.name}" for server in stopped),
    )


def _floating(held: FloatingIP, observed: ObservedResources) -> CleanupPlan:
    claim = described_service(held.description, observed.cluster)
    if claim is None and held.port in {
        load_balancer.port for load_balancer in observed.load_balancers if load_balancer.port
    }:
        claim = formerly_described(held.description, observed.cluster)
    if claim is None:
        return CleanupPlan()
    resource = OwnedResource("floating IP", held.id, held.address, claim=claim)
    if described_kept(held.description):
        kept = replace(resource, why="its Service keeps it")
        return CleanupPlan((ReleaseFloatingIP(held.id, f"releasing {resource}"),), kept=(kept,))
    return CleanupPlan((DeleteFloatingIP(held.id, f"deleting {resource}"),), deleted=(resource,))


def _own(load_balancer: LoadBalancer, cluster: str, asked: Mapping[str, int]) -> CleanupPlan:
    resource = OwnedResource(
        "load balancer", load_balancer.id, load_balancer.name, claim=service_named(load_balancer.name, cluster) or ""
    )
    if guests := [
        tag for tag in load_balancer.tags if tag.startswith(SERVICE_PREFIX) and not service_named(tag, cluster)
    ]:
        message = f"load balancer {load_balancer.name} ({load_balancer.id}) has ports of another cluster too"
        return CleanupPlan(blocked=(f"{message}: {', '.join(guests)}",), deleted=(resource,))
    if load_balancer.pending:
        message = f"waiting for Octavia: load balancer {load_balancer.name} is {load_balancer.provisioning_status}"
        return CleanupPlan(waiting=(message,), deleted=(resource,))
    if load_balancer.provisioning_status == ERROR and asked.get(load_balancer.id, 0) >= MAX_REQUESTS:
        message = f"Octavia could not delete load balancer {load_balancer.name} ({load_balancer.id}), which is in ERROR"
        return CleanupPlan(blocked=(message,), deleted=(resource,))
    return CleanupPlan(
        (DeleteLoadBalancer(load_balancer.id, f"deleting load balancer {load_balancer.name}"),), deleted=(resource,)
    )


def _shared(load_balancer: LoadBalancer, cluster: str) -> CleanupPlan:
    """One step at a time, as Octavia accepts them; the tag by which the load balancer is found is removed last."""
    if load_balancer.pending:
        return CleanupPlan(
            waiting=(f"waiting for Octavia: load balancer {load_balancer.name} is {load_balancer.provisioning_status}",)
        )
    if load_balancer.provisioning_status != ACTIVE:
        status = load_balancer.provisioning_status
        why = f"Octavia has it in {status}, so that the cluster's ports cannot be removed from it"
        return CleanupPlan(kept=(OwnedResource("load balancer", load_balancer.id, load_balancer.name, why=why),))
    ours = next(_listeners(load_balancer, cluster), None)
    if ours is None:
        left = (tag for tag in load_balancer.tags if tag != serving_tag(cluster) and not service_named(tag, cluster))
        return CleanupPlan(
            (
                SetTags(
                    load_balancer.id,
                    f"removing the cluster's tags from load balancer {load_balancer.name}",
                    tuple(left),
                ),
            )
        )
    message = f"removing port {ours.port} from load balancer {load_balancer.name}, which is not the cluster's"
    return CleanupPlan((DeletePool(ours.pool.id, message) if ours.pool else DeleteListener(ours.id, message),))


def _listeners(load_balancer: LoadBalancer, cluster: str) -> Iterator[Listener]:
    return (held for held in load_balancer.listeners if any(service_named(tag, cluster) for tag in held.tags))
