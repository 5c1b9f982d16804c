"""The port `LoadBalancers` on a real Octavia."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.load_balancers import ACTIVE, HealthMonitor, Listener, LoadBalancer, Member, Pool, Timeouts
from moorage.model.errors import NotFound

OCTAVIA = "load-balancer"
FORWARDED_FOR = "X-Forwarded-For"
HEALTHY = "200"  # kube-proxy's response for a Service with endpoints on the node


class OpenStackLoadBalancers:
    """The port `LoadBalancers` on Octavia."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def providers(self) -> list[str]:
        if not self.rest.has_service(OCTAVIA):
            return []
        return [row["name"] for row in self.rest.list(OCTAVIA, "/providers")]

    def named(self, name: str) -> list[LoadBalancer]:
        return self._list(name=name)

    def tagged(self, tag: str) -> list[LoadBalancer]:
        return self._list(tags=tag)

    def _list(self, **query: str) -> list[LoadBalancer]:
        rows = self.rest.list(OCTAVIA, "/loadbalancers", project_id=self.rest.project(), **query)
        return [_load_balancer(row) for row in rows]

    def get(self, id: str) -> LoadBalancer | None:
        try:
            row = self.rest.get(OCTAVIA, f"/loadbalancers/{id}")["loadbalancer"]
            pools = {pool.id: pool for pool in self._pools(id)} if row.get("pools") else {}
            listeners = self.rest.list(OCTAVIA, "/listeners", loadbalancer_id=id)
            status = self.status(id)
        except NotFound:
            return None
        load_balancer = _load_balancer(row, tuple(_listener(listener, pools) for listener in listeners))
        return replace(load_balancer, provisioning_status=status) if status else None

    def _pools(self, load_balancer: str) -> list[Pool]:
        return [self._pool(row) for row in self.rest.list(OCTAVIA, "/pools", loadbalancer_id=load_balancer)]

    def _pool(self, row: Mapping[str, Any]) -> Pool:
        members = self.rest.list(OCTAVIA, f"/pools/{row['id']}/members") if row["members"] else ()
        monitor = row.get("healthmonitor_id")
        monitor_row = self.rest.get(OCTAVIA, f"/healthmonitors/{monitor}")["healthmonitor"] if monitor else None
        return _pool(row, members, monitor_row)

    def status(self, id: str) -> str:
        try:
            tree = self.rest.get(OCTAVIA, f"/loadbalancers/{id}/status")["statuses"]["loadbalancer"]
        except NotFound:
            return ""
        return tree["provisioning_status"] if tree["provisioning_status"] != ACTIVE else _status_of_slowest(tree)

    def create(self, desired: LoadBalancer) -> LoadBalancer:
        created = self.rest.post(OCTAVIA, "/loadbalancers", {"loadbalancer": _load_balancer_body(desired)})
        return _load_balancer(created["loadbalancer"])

    def set_tags(self, id: str, tags: Iterable[str]) -> None:
        self.rest.put(OCTAVIA, f"/loadbalancers/{id}", {"loadbalancer": {"tags": list(tags)}})

    def delete(self, id: str) -> None:
        self._delete(f"/loadbalancers/{id}?cascade=true")

    def create_listener(self, load_balancer: str, desired: Listener) -> str:
        body = {"loadbalancer_id": load_balancer, **_listener_body(desired)}
        return str(self.rest.post(OCTAVIA, "/listeners", {"listener": body})["listener"]["id"])

    def update_listener(self, id: str, desired: Listener) -> None:
        body = {
            key: value for key, value in _listener_body(desired).items() if key not in ("protocol", "protocol_port")
        }
        self.rest.put(OCTAVIA, f"/listeners/{id}", {"listener": body | {"allowed_cidrs": list(desired.allowed_cidrs)}})

    def delete_listener(self, id: str) -> None:
        self._delete(f"/listeners/{id}")

    def create_pool(self, listener: str, desired: Pool) -> str:
        body = {"listener_id": listener, **_pool_body(desired)}
        return str(self.rest.post(OCTAVIA, "/pools", {"pool": body})["pool"]["id"])

    def update_pool(self, id: str, desired: Pool) -> None:
        body = {"lb_algorithm": desired.algorithm, "session_persistence": _persistence(desired)}
        self.rest.put(OCTAVIA, f"/pools/{id}", {"pool": body})

    def delete_pool(self, id: str) -> None:
        self._delete(f"/pools/{id}")

    def set_members(self, pool: str, members: Iterable[Member]) -> None:
        self.rest.put(OCTAVIA, f"/pools/{pool}/members", {"members": [_member_body(member) for member in members]})

    def create_health_monitor(self, pool: str, desired: HealthMonitor) -> None:
        body = {"pool_id": pool, "type": desired.type, **_monitor_body(desired)}
        self.rest.post(OCTAVIA, "/healthmonitors", {"healthmonitor": body})

    def update_health_monitor(self, id: str, desired: HealthMonitor) -> None:
        self.rest.put(OCTAVIA, f"/healthmonitors/{id}", {"healthmonitor": _monitor_body(desired)})

    def delete_health_monitor(self, id: str) -> None:
        self._delete(f"/healthmonitors/{id}")

    def _delete(self, path: str) -> None:
        try:
            self.rest.delete(OCTAVIA, path)
        except NotFound:
            return


def _status_of_slowest(tree: Mapping[str, Any]) -> str:
    """ACTIVE, or the status of a part in change: a provider with a queue sets the whole to ACTIVE after each part."""
    below = (part for kind in ("listeners", "pools", "members") for part in tree.get(kind, ()))
    parts = [*below, *([tree["health_monitor"]] if tree.get("health_monitor") else [])]
    if tree["provisioning_status"].startswith("PENDING"):
        return str(tree["provisioning_status"])
    return next((status for part in parts if (status := _status_of_slowest(part)) != ACTIVE), ACTIVE)


def _load_balancer_body(desired: LoadBalancer) -> dict[str, Any]:
    body = {
        "name": desired.name,
        "description": desired.description,
        "tags": list(desired.tags),
        "provider": desired.provider,
        "vip_network_id": desired.network,
        "vip_subnet_id": desired.subnet,
        "vip_port_id": desired.port,
        "vip_address": desired.address,
        "flavor_id": desired.flavor,
        "availability_zone": desired.zone,
        "listeners": [_full_listener_body(listener) for listener in desired.listeners],
    }
    return {key: value for key, value in body.items() if value}


def _full_listener_body(desired: Listener) -> dict[str, Any]:
    return _listener_body(desired) | ({"default_pool": _full_pool_body(desired.pool)} if desired.pool else {})


def _full_pool_body(desired: Pool) -> dict[str, Any]:
    body = _pool_body(desired) | {"members": [_member_body(member) for member in desired.members]}
    if desired.monitor:
        body["healthmonitor"] = {"type": desired.monitor.type, **_monitor_body(desired.monitor)}
    return body


def _listener_body(desired: Listener) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": desired.name,
        "protocol": desired.protocol,
        "protocol_port": desired.port,
        "tags": list(desired.tags),
        "connection_limit": desired.connections,
    }
    if desired.allowed_cidrs:
        body["allowed_cidrs"] = list(desired.allowed_cidrs)
    if desired.forwarded_for:
        body["insert_headers"] = {FORWARDED_FOR: "true"}
    times = {f"timeout_{name}": value for name, value in vars(desired.timeouts).items()}
    return body | {name: value for name, value in times.items() if value is not None}


def _pool_body(desired: Pool) -> dict[str, Any]:
    body = {"name": desired.name, "protocol": desired.protocol, "lb_algorithm": desired.algorithm}
    return body | ({"session_persistence": _persistence(desired)} if desired.session_persistence else {})


def _persistence(desired: Pool) -> dict[str, str] | None:
    return {"type": desired.session_persistence} if desired.session_persistence else None


def _member_body(desired: Member) -> dict[str, Any]:
    body = {
        "name": desired.name,
        "address": desired.address,
        "protocol_port": desired.port,
        "subnet_id": desired.subnet,
        "monitor_port": desired.monitor_port,
    }
    return {key: value for key, value in body.items() if value}


def _monitor_body(desired: HealthMonitor) -> dict[str, Any]:
    body: dict[str, Any] = {
        "delay": desired.delay,
        "timeout": desired.timeout,
        "max_retries": desired.max_retries,
        "max_retries_down": desired.max_retries_down,
    }
    http = {"http_method": "GET", "url_path": desired.path, "expected_codes": HEALTHY}
    return body | (http if desired.path else {})


def _load_balancer(row: Mapping[str, Any], listeners: tuple[Listener, ...] = ()) -> LoadBalancer:
    return LoadBalancer(
        name=row["name"] or "",
        provider=row["provider"] or "",
        description=row["description"] or "",
        tags=tuple(row.get("tags") or ()),
        listeners=listeners,
        network=row["vip_network_id"] or "",
        subnet=row["vip_subnet_id"] or "",
        port=row["vip_port_id"] or "",
        address=row["vip_address"] or "",
        flavor=row.get("flavor_id") or "",
        zone=row.get("availability_zone") or "",
        id=row["id"],
        provisioning_status=row["provisioning_status"],
        operating_status=row["operating_status"] or "",
    )


def _listener(row: Mapping[str, Any], pools: Mapping[str, Pool]) -> Listener:
    return Listener(
        name=row["name"] or "",
        protocol=row["protocol"],
        port=row["protocol_port"],
        pool=pools.get(row["default_pool_id"] or ""),
        tags=tuple(row.get("tags") or ()),
        allowed_cidrs=tuple(row.get("allowed_cidrs") or ()),
        connections=row["connection_limit"],
        forwarded_for=(row.get("insert_headers") or {}).get(FORWARDED_FOR) == "true",
        timeouts=Timeouts(*(row.get(f"timeout_{name}") for name in vars(Timeouts()))),
        id=row["id"],
    )


def _pool(row: Mapping[str, Any], members: Iterable[Mapping[str, Any]], monitor: Mapping[str, Any] | None) -> Pool:
    return Pool(
        name=row["name"] or "",
        protocol=row["protocol"],
        algorithm=row["lb_algorithm"],
        members=tuple(_member(member) for member in members),
        monitor=_monitor(monitor) if monitor else None,
        session_persistence=(row.get("session_persistence") or {}).get("type") or "",
        id=row["id"],
    )


def _member(row: Mapping[str, Any]) -> Member:
    port = row["protocol_port"]
    return Member(row["address"], port, row.get("subnet_id") or "", row.get("monitor_port"), row["name"] or "")


def _monitor(row: Mapping[str, Any]) -> HealthMonitor:
    return HealthMonitor(
        type=row["type"],
        delay=row["delay"],
        timeout=row["timeout"],
        max_retries=row["max_retries"],
        max_retries_down=row["max_retries_down"],
        path=(row.get("url_path") or "") if row["type"] == "HTTP" else "",
        id=row["id"],
    )
