"""The port `Cloud` on a real OpenStack: Heat, Nova, Neutron, Glance and Cinder, with few round trips."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from moorage.cloud import openstack_credentials as credentials
from moorage.cloud.openstack_load_balancers import OCTAVIA, OpenStackLoadBalancers
from moorage.cloud.openstack_network import OpenStackNetwork
from moorage.cloud.openstack_servers import server_rows
from moorage.cloud.openstack_volumes import CINDER, OpenStackVolumes
from moorage.cloud.port import Flavor, Image, Quota, Server, Stack, StackRequest, StackResource
from moorage.cloud.rest import Rest
from moorage.model.credential import Credential
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
# Our name of a quota, and Neutron's.
NETWORK_QUOTAS = {
    "networks": "network",
    "ports": "port",
    "routers": "router",
    "security_groups": "security_group",
    "floating_ips": "floatingip",
}
# Owners of ports that Octavia deletes with the load balancer, and that must exist until then: its own, its OVN
# provider's.
LOAD_BALANCER_OWNERS = ("Octavia", "ovn-lb")
NESTED_DEPTH = 4  # cluster > group > members > node


class OpenStackCloud:
    """The port `Cloud` on a real OpenStack."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    @classmethod
    def connect(cls, name: str | None) -> OpenStackCloud:
        """Use an entry of clouds.yaml, or the environment's credentials; BadInput when there are none."""
        return cls(Rest.connect(name))

    @property
    def project(self) -> str:
        return self.rest.project()

    def create_credential(self, cluster: str) -> Credential:
        return credentials.create(self.rest, cluster)

    def delete_credentials(self, cluster: str, keep: str = "") -> None:
        credentials.delete(self.rest, cluster, keep)

    @property
    def load_balancers(self) -> OpenStackLoadBalancers | None:
        return OpenStackLoadBalancers(self.rest) if self.rest.has_service(OCTAVIA) else None

    @property
    def network(self) -> OpenStackNetwork:
        return OpenStackNetwork(self.rest)

    @property
    def volumes(self) -> OpenStackVolumes | None:
        return OpenStackVolumes(self.rest) if self.rest.has_service(CINDER) else None

    def stack(self, name: str, *, outputs: bool = False) -> Stack | None:
        try:
            answer = self.rest.get("orchestration", f"/stacks/{quote(name)}", resolve_outputs=str(outputs))
        except NotFound:
            return None
        stack = _stack(answer["stack"])
        return None if stack.status == "DELETE_COMPLETE" else stack

    def stacks(self, tag: str) -> list[Stack]:
        return [_stack(row) for row in self.rest.get("orchestration", "/stacks", tags=tag)["stacks"]]

    def resources(self, stack: Stack) -> list[StackResource]:
        try:
            return [resource for _, resource in self._resources(stack)]
        except NotFound:
            return []

    def _resources(self, stack: Stack) -> list[tuple[Mapping[str, Any], StackResource]]:
        """Heat's resources, as returned and as ours."""
        rows = self.rest.get("orchestration", f"{_path(stack)}/resources", nested_depth=NESTED_DEPTH)["resources"]
        return list(zip(rows, _resources(rows, stack.id), strict=True))

    def create_stack(self, request: StackRequest) -> None:
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
        self.rest.post("orchestration", "/stacks", body)

    def delete_stack(self, stack: Stack) -> None:
        try:
            self.rest.delete("orchestration", _path(stack))
        except NotFound:
            return

    def resume_stack(self, stack: Stack) -> None:
        self.replace_resources(stack, (), {}, "")

    def replace_resources(
        self, stack: Stack, paths: Iterable[tuple[str, ...]], parameters: Mapping[str, Any], reason: str
    ) -> None:
        requested = set(paths)
        try:
            for row, resource in self._resources(stack) if requested else ():
                if resource.path in requested:
                    body = {"mark_unhealthy": True, "resource_status_reason": reason}
                    self.rest.patch("orchestration", _api_path(row), body)
            self.rest.patch("orchestration", _path(stack), {"parameters": dict(parameters)})
        except (NotFound, Conflict):
            return
        except BadInput:
            current = self.stack(stack.id)
            # Heat rejects the request while it deletes the stack.
            if current and not current.status.startswith("DELETE"):
                raise

    def delete_orphans(self, cluster: str, ids: Iterable[str]) -> list[str]:
        servers = self.servers(cluster)
        for server in servers:
            self.delete_server(server.id)
        known, fields = set(ids), ["id", "network_id", "device_owner", "device_id"]
        untracked = [(c, row["id"]) for c, row in self._network_resources(cluster, UNTRACKED) if row["id"] not in known]
        known |= {id for _, id in untracked}
        for port in self.rest.get("network", "/ports", fields=fields)["ports"]:
            if port["network_id"] in known:
                self._release_port(port)
        for collection, id in untracked:
            try:
                self.rest.delete("network", f"/{collection}/{id}")
            except (NotFound, Conflict):
                continue  # deleted meanwhile, or still in use
        return [f"server {server.name}" for server in servers]

    def _release_port(self, port: Mapping[str, Any]) -> None:
        owner, path = port["device_owner"], f"/ports/{port['id']}"
        try:
            if owner.startswith("network:router_interface"):
                router = f"/routers/{port['device_id']}/remove_router_interface"
                self.rest.put("network", router, {"port_id": port["id"]})
            elif not owner.startswith(("compute:", *LOAD_BALANCER_OWNERS)):
                self.rest.delete("network", path)
            elif owner.startswith("compute:") and not self._is_server(port["device_id"]):
                # Neutron 29 lets no project delete a port that belongs to a server, but lets it change the port's
                # owner.
                self.rest.put("network", path, {"port": {"device_id": "", "device_owner": ""}})
                self.rest.delete("network", path)
        except (NotFound, Conflict, BadInput):
            return  # deleted meanwhile, or Neutron's own, which is deleted with its network

    def _is_server(self, id: str) -> bool:
        try:
            self.rest.get("compute", f"/servers/{id}")
        except NotFound:
            return False
        return True

    def detach_subnet(self, router: str, subnet: str) -> None:
        try:
            self.rest.put("network", f"/routers/{router}/remove_router_interface", {"subnet_id": subnet})
        except NotFound:
            return

    def delete_server(self, id: str) -> None:
        try:
            self.rest.delete("compute", f"/servers/{id}")
        except (NotFound, Conflict):
            return  # deleted meanwhile, or being deleted

    def servers(self, cluster: str) -> list[Server]:
        return sorted((_server(row) for row in server_rows(self.rest, cluster)), key=lambda server: server.name)

    def leftovers(self, cluster: str, ids: Iterable[str]) -> list[str]:
        return [
            *(f"server {server.name}" for server in self.servers(cluster)),
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
            for row in self.rest.get("network", f"/{collection}", fields=fields)[collection]:
                if row["id"] in known or row.get("description") == owned:
                    yield collection, row

    def addresses(self) -> list[str]:
        host = urlsplit(self.rest.endpoint("orchestration")).hostname or ""
        return [host] if re.fullmatch(r"[0-9.]+", host) else []

    def flavors(self) -> list[Flavor]:
        rows = self.rest.get("compute", "/flavors/detail")["flavors"]
        return [Flavor(row["name"], row["id"], row["vcpus"], row["ram"], row["disk"]) for row in rows]

    def images(self) -> list[Image]:
        return [_image(row) for row in self.rest.get("image", "/images", limit=1000)["images"]]

    def upload_image(
        self, name: str, file: Path, *, min_disk: int, min_memory: int, properties: Mapping[str, str]
    ) -> None:
        created = self.rest.post(
            "image",
            "/images",
            {
                "name": name,
                "disk_format": "raw",
                "container_format": "bare",
                "min_disk": min_disk,
                "min_ram": min_memory,
                **properties,
            },
        )
        try:
            self.rest.put_file("image", f"/images/{created['id']}/file", file)
        except BaseException:
            self.rest.delete("image", f"/images/{created['id']}")
            raise

    def external_networks(self) -> list[str]:
        query: dict[str, Any] = {"router:external": "True", "fields": ["id", "name"]}
        rows = self.rest.get("network", "/networks", **query)["networks"]
        return [value for row in rows for value in (row["name"], row["id"]) if value]

    def quotas(self) -> dict[str, Quota]:
        return {**self._compute_quotas(), **self._network_quotas()}

    def _compute_quotas(self) -> dict[str, Quota]:
        limits = self.rest.get("compute", "/limits")["limits"]["absolute"]
        pairs = {
            "instances": ("totalInstancesUsed", "maxTotalInstances"),
            "cores": ("totalCoresUsed", "maxTotalCores"),
            "ram": ("totalRAMUsed", "maxTotalRAMSize"),
        }
        return {name: _quota(limits[used], limits[limit]) for name, (used, limit) in pairs.items()}

    def _network_quotas(self) -> dict[str, Quota]:
        rows = self.rest.get("network", f"/quotas/{self.project}/details.json")["quota"]
        return {
            name: _quota(rows[neutron_name]["used"], rows[neutron_name]["limit"])
            for name, neutron_name in NETWORK_QUOTAS.items()
            if neutron_name in rows
        }


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
        tags=tuple(row.get("tags") or ()),
        parameters=row.get("parameters") or {},
        outputs=outputs,
    )


def _resources(rows: Sequence[Mapping[str, Any]], root: str) -> list[StackResource]:
    """Resources with their paths: the id of a nested stack is the physical id of its resource in the outer stack."""
    parents = {row["physical_resource_id"]: row for row in rows if row.get("physical_resource_id")}
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


def _resource_path(row: Mapping[str, Any], parents: Mapping[str, Mapping[str, Any]], root: str) -> tuple[str, ...]:
    names = [row["resource_name"]]
    stack = _stack_id(row)
    while stack and stack != root and stack in parents:
        names.append(parents[stack]["resource_name"])
        stack = _stack_id(parents[stack])
    return tuple(reversed(names))


def _stack_id(row: Mapping[str, Any]) -> str:
    return _link(row, "stack").rstrip("/").rsplit("/", 1)[-1]


def _api_path(row: Mapping[str, Any]) -> str:
    """The path of a resource in the API, in whichever stack it is."""
    return "/stacks/" + _link(row, "self").partition("/stacks/")[2]


def _link(row: Mapping[str, Any], rel: str) -> str:
    return next((str(link["href"]) for link in row.get("links", ()) if link["rel"] == rel), "")


def _server(row: Mapping[str, Any]) -> Server:
    fixed = [entry["addr"] for entries in row["addresses"].values() for entry in entries if _is_fixed(entry)]
    fault = row.get("fault", {}).get("message", "")
    return Server(row["id"], row["name"], row["status"], row["metadata"], fixed[0] if fixed else "", fault)


def _is_fixed(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("OS-EXT-IPS:type", "fixed") == "fixed")


def _image(row: Mapping[str, Any]) -> Image:
    properties = {key: value for key, value in row.items() if isinstance(value, str)}
    return Image(
        name=row["name"] or "",
        id=row["id"],
        status=row["status"],
        created_at=row["created_at"],
        properties=properties,
        min_memory=row["min_ram"],
        min_disk=row["min_disk"],
    )


def _quota(used: int, limit: int) -> Quota:
    return Quota(used, None if limit < 0 else limit)
