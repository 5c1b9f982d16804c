"""The port `Cloud` on a real OpenStack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from moorage.cloud.openstack.identity import OpenStackIdentity
from moorage.cloud.openstack.images import OpenStackImages
from moorage.cloud.openstack.load_balancers import OCTAVIA, OpenStackLoadBalancers
from moorage.cloud.openstack.network import NEUTRON, OpenStackNetwork
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.openstack.servers import OpenStackServers
from moorage.cloud.openstack.stacks import OpenStackStacks
from moorage.cloud.openstack.volumes import CINDER, OpenStackVolumes
from moorage.model.errors import BadInput, Conflict, NotFound
from moorage.model.ownership import owned_by

NETWORK_RESOURCES = {
    "floatingips": "floating IP",
    "routers": "router",
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "security_groups": "security group",
}
# Resources that are deleted directly, in this order; subnets and ports are deleted with their network.
UNTRACKED = ("floatingips", "routers", "networks", "security_groups")
# Owners of ports that Octavia deletes with the load balancer, and that must exist until then: its own, its OVN
# provider's.
LOAD_BALANCER_OWNERS = ("Octavia", "ovn-lb")


class OpenStackCloud:
    """The port `Cloud` on a real OpenStack."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.identity = OpenStackIdentity(rest)
        self.stacks = OpenStackStacks(rest)
        self.servers = OpenStackServers(rest)
        self.images = OpenStackImages(rest)
        self.network = OpenStackNetwork(rest)

    @property
    def defaults(self) -> Mapping[str, str]:
        return self.rest.defaults

    @classmethod
    def connect(cls, name: str | None) -> OpenStackCloud:
        """Use an entry of clouds.yaml, or the environment's credentials; BadInput when there are none."""
        return cls(Rest.connect(name))

    @property
    def load_balancers(self) -> OpenStackLoadBalancers | None:
        return OpenStackLoadBalancers(self.rest) if self.rest.has_service(OCTAVIA) else None

    @property
    def volumes(self) -> OpenStackVolumes | None:
        return OpenStackVolumes(self.rest) if self.rest.has_service(CINDER) else None

    def delete_orphans(self, cluster: str, ids: Iterable[str]) -> list[str]:
        servers = self.servers.list(cluster)
        for server in servers:
            self.servers.delete(server.id)
        known, fields = set(ids), ["id", "network_id", "device_owner", "device_id"]
        untracked = [(c, row["id"]) for c, row in self._network_resources(cluster, UNTRACKED) if row["id"] not in known]
        known |= {id for _, id in untracked}
        for port in [*self.rest.list(NEUTRON, "/ports", fields=fields)]:  # not while ports are deleted
            if port["network_id"] in known:
                self._release_port(port)
        for collection, id in untracked:
            try:
                self.rest.delete(NEUTRON, f"/{collection}/{id}")
            except (NotFound, Conflict):
                continue  # deleted meanwhile, or still in use
        return [f"server {server.name}" for server in servers]

    def _release_port(self, port: Mapping[str, Any]) -> None:
        owner, path = port["device_owner"], f"/ports/{port['id']}"
        try:
            if owner.startswith("network:router_interface"):
                router = f"/routers/{port['device_id']}/remove_router_interface"
                self.rest.put(NEUTRON, router, {"port_id": port["id"]})
            elif not owner.startswith(("compute:", *LOAD_BALANCER_OWNERS)):
                self.rest.delete(NEUTRON, path)
            elif owner.startswith("compute:") and self.servers.get(port["device_id"]) is None:
                # Neutron 29 lets no project delete a port that belongs to a server, but lets it change the port's
                # owner.
                self.rest.put(NEUTRON, path, {"port": {"device_id": "", "device_owner": ""}})
                self.rest.delete(NEUTRON, path)
        except (NotFound, Conflict, BadInput):
            return  # deleted meanwhile, or Neutron's own, which is deleted with its network

    def leftovers(self, cluster: str, ids: Iterable[str]) -> list[str]:
        return [
            *(f"server {server.name}" for server in self.servers.list(cluster)),
            *(
                f"{NETWORK_RESOURCES[collection]} {row.get('name') or row.get('floating_ip_address') or row['id']}"
                for collection, row in self._network_resources(cluster, NETWORK_RESOURCES, ids)
            ),
        ]

    def _network_resources(
        self, cluster: str, collections: Iterable[str], ids: Iterable[str] = ()
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """A cluster's resources in Neutron, by these ids or by their description, each with its collection."""
        known, owned, fields = set(ids), owned_by(cluster), ["id", "name", "floating_ip_address", "description"]
        for collection in collections:
            for row in self.rest.list(NEUTRON, f"/{collection}", key=collection, fields=fields):
                if row["id"] in known or row.get("description") == owned:
                    yield collection, row
