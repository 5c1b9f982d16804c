"""What becomes of a cluster's load balancers and their floating IPs. Pure.

Rules of the nodes' security group go with the group, which is the stack's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from moorage.cloud.balancers import ACTIVE, ERROR, Balancer, Listener
from moorage.cloud.fronts import FloatingIP
from moorage.clusters.belongings.things import (
    TRIES,
    Clearing,
    DeleteBalancer,
    DeleteFloating,
    DeleteListener,
    DeletePool,
    DeleteServer,
    Made,
    ReleaseFloating,
    Retag,
    together,
)
from moorage.model.cluster import Belonging
from moorage.model.ownership import (
    SERVICE_PREFIX,
    described_kept,
    described_service,
    formerly_described,
    service_named,
    serving_tag,
)


def plan_fronts(made: Made, asked: Mapping[str, int]) -> Clearing:
    """`asked` is how often this run has asked for the end of what has that id."""
    floating = [_floating(held, made) for held in made.floating]
    own = [_own(balancer, made.cluster, asked) for balancer in made.balancers]
    served = [_served(balancer, made.cluster) for balancer in made.served]
    # A floating IP that only its port tells goes before what the port is of.
    fronts = together([*floating, *own, *served])
    return together([_makers(made, asked, begin=not fronts.done), fronts])


def _makers(made: Made, asked: Mapping[str, int], *, begin: bool) -> Clearing:
    """The control plane recreates load balancers as long as it runs: it ends first where there are any."""
    running = [server for server in made.servers if server.metadata.get("moorage_role") == "control-plane"]
    stopped = [server for server in running if asked.get(server.id)]
    begun = [server for server in running if server not in stopped] if begin else []
    return Clearing(
        acts=tuple(DeleteServer(server.id, f"stopping the control plane: {server.name}") for server in begun),
        waits=tuple(f"waiting for Nova to delete server {server.name}" for server in stopped),
    )


def _floating(held: FloatingIP, made: Made) -> Clearing:
    claim = described_service(held.description, made.cluster)
    if claim is None and held.port in {balancer.port for balancer in made.balancers if balancer.port}:
        claim = formerly_described(held.description, made.cluster)
    if claim is None:
        return Clearing()
    thing = Belonging("floating IP", held.id, held.address, claim=claim)
    if described_kept(held.description):
        kept = replace(thing, why="its Service is to keep it")
        return Clearing((ReleaseFloating(held.id, f"releasing {thing}"),), kept=(kept,))
    return Clearing((DeleteFloating(held.id, f"deleting {thing}"),), going=(thing,))


def _own(balancer: Balancer, cluster: str, asked: Mapping[str, int]) -> Clearing:
    thing = Belonging("load balancer", balancer.id, balancer.name, claim=service_named(balancer.name, cluster) or "")
    if guests := [tag for tag in balancer.tags if tag.startswith(SERVICE_PREFIX) and not service_named(tag, cluster)]:
        told = f"load balancer {balancer.name} ({balancer.id}) has ports of another cluster too: {', '.join(guests)}"
        return Clearing(stuck=(told,), going=(thing,))
    if balancer.pending:
        told = f"waiting for Octavia: load balancer {balancer.name} is {balancer.provisioning}"
        return Clearing(waits=(told,), going=(thing,))
    if balancer.provisioning == ERROR and asked.get(balancer.id, 0) >= TRIES:
        told = f"Octavia could not delete load balancer {balancer.name} ({balancer.id}), which is in ERROR"
        return Clearing(stuck=(told,), going=(thing,))
    return Clearing((DeleteBalancer(balancer.id, f"deleting load balancer {balancer.name}"),), going=(thing,))


def _served(balancer: Balancer, cluster: str) -> Clearing:
    """One step at a time, as Octavia takes them; the tag by which it is found goes last."""
    if balancer.pending:
        return Clearing(waits=(f"waiting for Octavia: load balancer {balancer.name} is {balancer.provisioning}",))
    if balancer.provisioning != ACTIVE:
        why = f"Octavia has it in {balancer.provisioning}, so that ports of the cluster cannot be taken off it"
        return Clearing(kept=(Belonging("load balancer", balancer.id, balancer.name, why=why),))
    ours = next(_listeners(balancer, cluster), None)
    if ours is None:
        left = (tag for tag in balancer.tags if tag != serving_tag(cluster) and not service_named(tag, cluster))
        return Clearing((Retag(balancer.id, f"leaving load balancer {balancer.name}", tuple(left)),))
    told = f"taking port {ours.port} off load balancer {balancer.name}, which is not the cluster's"
    return Clearing((DeletePool(ours.pool.id, told) if ours.pool else DeleteListener(ours.id, told),))


def _listeners(balancer: Balancer, cluster: str) -> Iterator[Listener]:
    return (held for held in balancer.listeners if any(service_named(tag, cluster) for tag in held.tags))
