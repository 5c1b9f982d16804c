"""Plan the deletion of a cluster's load balancers and floating IPs. Pure.

The cluster's servers are gone by then: its controller would recreate them. Rules in the nodes' security group are
deleted with that group, which belongs to the stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from moorage.cloud.port.load_balancers import ACTIVE, ERROR, Listener, LoadBalancer
from moorage.cloud.port.network import FloatingIP
from moorage.clusters.deletion.resources import MAX_REQUESTS, Action, BalancedResources, CleanupPlan, Deletion, combine
from moorage.model.cluster import OwnedResource
from moorage.model.ownership import (
    SERVICE_PREFIX,
    described_kept,
    described_service,
    formerly_described,
    service_named,
    serving_tag,
)


def plan_load_balancers(observed: BalancedResources, requests: Mapping[str, int]) -> CleanupPlan:
    """`requests` counts this run's deletion requests by id.

    A floating IP that only its port identifies is deleted before the port's load balancer.
    """
    floating = [_floating(held, observed) for held in observed.floating]
    own = [_own(load_balancer, observed.cluster, requests) for load_balancer in observed.load_balancers]
    return combine([*floating, *own, *(_shared(load_balancer, observed.cluster) for load_balancer in observed.shared)])


def _floating(held: FloatingIP, observed: BalancedResources) -> CleanupPlan:
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
        return CleanupPlan((Deletion(Action.RELEASE_FLOATING_IP, held.id, f"releasing {resource}"),), kept=(kept,))
    return CleanupPlan((Deletion(Action.DELETE_FLOATING_IP, held.id, f"deleting {resource}"),), deleted=(resource,))


def _own(load_balancer: LoadBalancer, cluster: str, requests: Mapping[str, int]) -> CleanupPlan:
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
    if load_balancer.provisioning_status == ERROR and requests.get(load_balancer.id, 0) >= MAX_REQUESTS:
        message = f"Octavia could not delete load balancer {load_balancer.name} ({load_balancer.id}), which is in ERROR"
        return CleanupPlan(blocked=(message,), deleted=(resource,))
    return CleanupPlan(
        (Deletion(Action.DELETE_LOAD_BALANCER, load_balancer.id, f"deleting load balancer {load_balancer.name}"),),
        deleted=(resource,),
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
                Deletion(
                    Action.SET_TAGS,
                    load_balancer.id,
                    f"removing the cluster's tags from load balancer {load_balancer.name}",
                    tuple(left),
                ),
            )
        )
    message = f"removing port {ours.port} from load balancer {load_balancer.name}, which is not the cluster's"
    return CleanupPlan(
        (
            Deletion(Action.DELETE_POOL, ours.pool.id, message)
            if ours.pool
            else Deletion(Action.DELETE_LISTENER, ours.id, message),
        )
    )


def _listeners(load_balancer: LoadBalancer, cluster: str) -> Iterator[Listener]:
    return (held for held in load_balancer.listeners if any(service_named(tag, cluster) for tag in held.tags))
