"""Seed a new cloud: users, catalog, flavors, the external network, the node image.

Every function observes first and creates what is missing; all can be repeated.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from moorage.cloud.port.images import ImageFile
from moorage.local.api import ApiError, Session
from moorage.local.layout import EXTERNAL_CIDR, GATEWAY, REGION
from moorage.local.secrets import Secrets
from moorage.local.services import SERVICES
from moorage.model.errors import Failed

TENANT = "moorage"
TENANT_ROLES = ("member", "reader", "heat_stack_owner")
ROLES = ("heat_stack_owner", "heat_stack_user")
EXTERNAL_NETWORK = "public"
ALLOCATION_POOL = ("172.24.4.10", "172.24.4.250")
VOLUME_TYPE = "files"


@dataclass(frozen=True)
class Flavor:
    """`memory` in MiB, `disk` in GiB. `extra` are Nova's extra specs, which choose a host."""

    name: str
    cpus: int
    memory: int
    disk: int
    extra: Mapping[str, str] = field(default_factory=dict)


NODE_FLAVOR = "m1.node"  # the default for clusters
FLAVORS = (
    Flavor("m1.small", 1, 1024, 6),
    Flavor(NODE_FLAVOR, 2, 2048, 10),
    Flavor("m1.large", 4, 4096, 20),
)
VM_FLAVORS = (Flavor("m1.vm", 2, 2048, 10, {"trait:COMPUTE_IMAGE_TYPE_QCOW2": "required"}),)
"""Of clouds with virtual machines: only their host boots qcow2 images."""


def administrator(secrets: Secrets) -> Session:
    """The administrator's session; ApiError."""
    return Session.open("admin", secrets.admin, "admin")


class Identity:
    """Keystone's projects, roles, users and catalog."""

    def __init__(self, session: Session, secrets: Secrets) -> None:
        self.session = session
        self.secrets = secrets
        self.roles: dict[str, str] = {}

    def seed(self) -> None:
        """Create the projects, roles, users and the catalog."""
        self.roles = {role["name"]: role["id"] for role in self._get("/roles")["roles"]}
        for name in ROLES:
            if name not in self.roles:
                self.roles[name] = self._ensure("role", "roles", {"name": name})
        service_project = self._ensure("project", "projects", {"name": "service", "domain_id": "default"})
        for entry in SERVICES:
            user = self._ensure_user(entry.name, self.secrets.services[entry.name])
            self._grant("projects", service_project, user, entry.roles)
            if entry.domain:
                domain = self._ensure("domain", "domains", {"name": entry.domain})
                user = self._ensure_user(f"{entry.name}_domain_admin", self.secrets.domains[entry.name], domain)
                self._grant("domains", domain, user, ("admin",))
        tenant = self._ensure("project", "projects", {"name": TENANT, "domain_id": "default"})
        self._grant("projects", tenant, self._ensure_user(TENANT, self.secrets.tenant), TENANT_ROLES)
        self._ensure_catalog()

    def _ensure_catalog(self) -> None:
        existing = {entry["type"]: entry["id"] for entry in self._get("/services")["services"]}
        endpoints = {(e["service_id"], e["interface"]) for e in self._get("/endpoints")["endpoints"]}
        for entry in SERVICES:
            service = existing.get(entry.type) or self._post(
                "service", "services", {"name": entry.name, "type": entry.type}
            )
            for interface in ("public", "internal", "admin"):
                if (service, interface) not in endpoints:
                    endpoint = {
                        "service_id": service, "interface": interface, "url": entry.url, "region_id": REGION
                    }  # fmt: skip
                    self._post("endpoint", "endpoints", endpoint)

    def _ensure_user(self, name: str, password: str, domain: str = "default") -> str:
        return self._ensure("user", "users", {"name": name, "domain_id": domain}, {"password": password})

    def _grant(self, kind: str, target: str, user: str, roles: tuple[str, ...]) -> None:
        for role in roles:
            path = f"/{kind}/{target}/users/{user}/roles/{self.roles[role]}"
            self.session.request("PUT", "identity", path)

    def _ensure(
        self, resource: str, collection: str, key: dict[str, str], attributes: dict[str, str] | None = None
    ) -> str:
        existing = self._get(f"/{collection}?{urlencode(key)}")[collection]
        return str(existing[0]["id"]) if existing else self._post(resource, collection, {**key, **(attributes or {})})

    def _get(self, path: str) -> Any:
        return self.session.request("GET", "identity", path)

    def _post(self, resource: str, collection: str, body: dict[str, str]) -> str:
        return str(self.session.request("POST", "identity", f"/{collection}", {resource: body})[resource]["id"])


def seed_flavors(session: Session, flavors: Iterable[Flavor] = FLAVORS) -> None:
    existing = {entry["name"]: entry["id"] for entry in session.request("GET", "compute", "/flavors")["flavors"]}
    for flavor in flavors:
        made = existing.get(flavor.name)
        if made is None:
            body = {"name": flavor.name, "vcpus": flavor.cpus, "ram": flavor.memory, "disk": flavor.disk}
            made = session.request("POST", "compute", "/flavors", {"flavor": body})["flavor"]["id"]
        if flavor.extra:
            path = f"/flavors/{made}/os-extra_specs"
            session.request("POST", "compute", path, {"extra_specs": dict(flavor.extra)})


def seed_network(session: Session) -> None:
    """The external network; this host is its gateway."""
    path = "/v2.0/networks"
    existing = session.request("GET", "network", f"{path}?name={EXTERNAL_NETWORK}")["networks"]
    body = {
        "name": EXTERNAL_NETWORK,
        "router:external": True,
        "provider:network_type": "flat",
        "provider:physical_network": "public",
    }
    network = existing[0] if existing else session.request("POST", "network", path, {"network": body})["network"]
    if not network["subnets"]:
        start, end = ALLOCATION_POOL
        subnet = {
            "network_id": network["id"],
            "name": EXTERNAL_NETWORK,
            "ip_version": 4,
            "cidr": EXTERNAL_CIDR,
            "gateway_ip": GATEWAY,
            "enable_dhcp": False,
            "allocation_pools": [{"start": start, "end": end}],
        }
        session.request("POST", "network", "/v2.0/subnets", {"subnet": subnet})


def seed_volume_type(session: Session) -> None:
    existing = {
        entry["name"]
        for entry in session.request("GET", "block-storage", f"/{session.project_id}/types")["volume_types"]
    }
    if VOLUME_TYPE not in existing:
        session.request("POST", "block-storage", f"/{session.project_id}/types", {"volume_type": {"name": VOLUME_TYPE}})


def seed_image(session: Session, image: ImageFile) -> None:
    """Upload `image`, for all projects, unless the same one exists; an incomplete one is replaced. Failed.

    One of that name with other properties stays: servers may use it.
    """
    existing = session.request("GET", "image", f"/v2/images?{urlencode({'name': image.name})}")["images"]
    if any(entry["status"] == "active" and image.properties.items() <= entry.items() for entry in existing):
        return
    for entry in existing:
        if entry["status"] != "active":
            session.request("DELETE", "image", f"/v2/images/{entry['id']}")
    body = {
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": "bare",
        "visibility": "public",
        "min_disk": image.min_disk,
        "min_ram": image.min_memory,
        **image.properties,
    }
    created = session.request("POST", "image", "/v2/images", body)
    try:
        _upload(session, created["id"], image.file)
    except (OSError, ApiError) as error:
        raise Failed(f"the image {image.name} could not be uploaded: {error}") from error


def _upload(session: Session, image: str, file: Path) -> None:
    headers = {
        "X-Auth-Token": session.token,
        "Content-Type": "application/octet-stream",
        "Content-Length": str(file.stat().st_size),
    }
    with open(file, "rb") as data:
        request = urllib.request.Request(
            session.url("image", f"/v2/images/{image}/file"), data=data, method="PUT", headers=headers
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=600).close()
