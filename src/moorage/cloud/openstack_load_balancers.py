"""The port `LoadBalancers` on a real Octavia."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from moorage.cloud.load_balancers import ACTIVE, HealthMonitor, Listener, LoadBalancer, Member, Pool, Timeouts
from moorage.cloud.rest import Rest
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
        return [row["name"] for row in self.rest.get(OCTAVIA, "/providers")["providers"]]

    def named(self, name: str) -> list[LoadBalancer]:
        return self._list(name=name)

    def tagged(self, tag: str) -> list[LoadBalancer]:
        return self._list(tags=tag)

    def _list(self, **query: str) -> list[LoadBalancer]:
        rows = self.rest.get(OCTAVIA, "/loadbalancers", project_id=self.rest.project(), **query)["loadbalancers"]
        return [_load_balancer(row) for row in rows]

    def get(self, id: str) -> LoadBalancer | None:
        try:
            row = self.rest.get(OCTAVIA, f"/loadbalancers/{id}")["loadbalancer"]
            pools = {pool.id: pool for pool in self._pools(id)} if row.get("pools") else {}
            listeners = self.rest.get(OCTAVIA, "/listeners", loadbalancer_id=id)["listeners"]
            status = self.status(id)
        except NotFound:
            return None
        found = _load_balancer(row, tuple(_listener(listener, pools) for listener in listeners))
        return replace(found, provisioning_status=status) if status else None

    def _pools(self, load_balancer: str) -> list[Pool]:
        return [self._pool(row) for row in self.rest.get(OCTAVIA, "/pools", loadbalancer_id=load_balancer)["pools"]]

    def _pool(self, row: Mapping[str, Any]) -> Pool:
        members = self.rest.get(OCTAVIA, f"/pools/{row['id']}/members")["members"] if row["members"] else ()
        monitor = row.get("healthmonitor_id")
        found = self.rest.get(OCTAVIA, f"/healthmonitors/{monitor}")["healthmonitor"] if monitor else None
        return _pool(row, members, found)

    def status(self, id: str) -> str:
        try:
            found = self.rest.get(OCTAVIA, f"/loadbalancers/{id}/status")["statuses"]["loadbalancer"]
        except NotFound:
            return ""
        return found["provisioning_status"] if found["provisioning_status"] != ACTIVE else _slowest(found)

    def create(self, wanted: LoadBalancer) -> LoadBalancer:
        made = self.rest.post(OCTAVIA, "/loadbalancers", {"loadbalancer": _load_balancer_body(wanted)})
        return _load_balancer(made["loadbalancer"])

    def set_tags(self, id: str, tags: Iterable[str]) -> None:
        self.rest.put(OCTAVIA, f"/loadbalancers/{id}", {"loadbalancer": {"tags": list(tags)}})

    def delete(self, id: str) -> None:
        self._delete(f"/loadbalancers/{id}?cascade=true")

    def create_listener(self, load_balancer: str, wanted: Listener) -> str:
        body = {"loadbalancer_id": load_balancer, **_listener_body(wanted)}
        return str(self.rest.post(OCTAVIA, "/listeners", {"listener": body})["listener"]["id"])

    def update_listener(self, id: str, wanted: Listener) -> None:
        body = {key: value for key, value in _listener_body(wanted).items() if key not in ("protocol", "protocol_port")}
        self.rest.put(OCTAVIA, f"/listeners/{id}", {"listener": body | {"allowed_cidrs": list(wanted.allowed_cidrs)}})

    def delete_listener(self, id: str) -> None:
        self._delete(f"/listeners/{id}")

    def create_pool(self, listener: str, wanted: Pool) -> str:
        body = {"listener_id": listener, **_pool_body(wanted)}
        return str(self.rest.post(OCTAVIA, "/pools", {"pool": body})["pool"]["id"])

    def update_pool(self, id: str, wanted: Pool) -> None:
        body = {"lb_algorithm": wanted.algorithm, "session_persistence": _persistence(wanted)}
        self.rest.put(OCTAVIA, f"/pools/{id}", {"pool": body})

    def delete_pool(self, id: str) -> None:
        self._delete(f"/pools/{id}")

    def set_members(self, pool: str, members: Iterable[Member]) -> None:
        self.rest.put(OCTAVIA, f"/pools/{pool}/members", {"members": [_member_body(member) for member in members]})

    def create_health_monitor(self, pool: str, wanted: HealthMonitor) -> None:
        body = {"pool_id": pool, "type": wanted.type, **_monitor_body(wanted)}
        self.rest.post(OCTAVIA, "/healthmonitors", {"healthmonitor": body})

    def update_health_monitor(self, id: str, wanted: HealthMonitor) -> None:
        self.rest.put(OCTAVIA, f"/healthmonitors/{id}", {"healthmonitor": _monitor_body(wanted)})

    def delete_health_monitor(self, id: str) -> None:
        self._delete(f"/healthmonitors/{id}")

    def _delete(self, path: str) -> None:
        try:
            self.rest.delete(OCTAVIA, path)
        except NotFound:
            return


def _slowest(found: Mapping[str, Any]) -> str:
    """ACTIVE, or the status of a part in change: a provider with a queue sets the whole to ACTIVE after each part."""
    below = (part for kind in ("listeners", "pools", "members") for part in found.get(kind, ()))
    parts = [*below, *([found["health_monitor"]] if found.get("health_monitor") else [])]
    if found["provisioning_status"].startswith("PENDING"):
        return str(found["provisioning_status"])
    return next((status for part in parts if (status := _slowest(part)) != ACTIVE), ACTIVE)


def _load_balancer_body(wanted: LoadBalancer) -> dict[str, Any]:
    body = {
        "name": wanted.name,
        "description": wanted.description,
        "tags": list(wanted.tags),
        "provider": wanted.provider,
        "vip_network_id": wanted.network,
        "vip_subnet_id": wanted.subnet,
        "vip_port_id": wanted.port,
        "vip_address": wanted.address,
        "flavor_id": wanted.flavor,
        "availability_zone": wanted.zone,
        "listeners": [_whole_listener(listener) for listener in wanted.listeners],
    }
    return {key: value for key, value in body.items() if value}


def _whole_listener(wanted: Listener) -> dict[str, Any]:
    return _listener_body(wanted) | ({"default_pool": _whole_pool(wanted.pool)} if wanted.pool else {})


def _whole_pool(wanted: Pool) -> dict[str, Any]:
    body = _pool_body(wanted) | {"members": [_member_body(member) for member in wanted.members]}
    if wanted.monitor:
        body["healthmonitor"] = {"type": wanted.monitor.type, **_monitor_body(wanted.monitor)}
    return body


def _listener_body(wanted: Listener) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": wanted.name,
        "protocol": wanted.protocol,
        "protocol_port": wanted.port,
        "tags": list(wanted.tags),
        "connection_limit": wanted.connections,
    }
    if wanted.allowed_cidrs:
        body["allowed_cidrs"] = list(wanted.allowed_cidrs)
    if wanted.forwarded_for:
        body["insert_headers"] = {FORWARDED_FOR: "true"}
    times = {f"timeout_{name}": value for name, value in vars(wanted.timeouts).items()}
    return body | {name: value for name, value in times.items() if value is not None}


def _pool_body(wanted: Pool) -> dict[str, Any]:
    body = {"name": wanted.name, "protocol": wanted.protocol, "lb_algorithm": wanted.algorithm}
    return body | ({"session_persistence": _persistence(wanted)} if wanted.session_persistence else {})


def _persistence(wanted: Pool) -> dict[str, str] | None:
    return {"type": wanted.session_persistence} if wanted.session_persistence else None


def _member_body(wanted: Member) -> dict[str, Any]:
    body = {
        "name": wanted.name,
        "address": wanted.address,
        "protocol_port": wanted.port,
        "subnet_id": wanted.subnet,
        "monitor_port": wanted.monitor_port,
    }
    return {key: value for key, value in body.items() if value}


def _monitor_body(wanted: HealthMonitor) -> dict[str, Any]:
    body: dict[str, Any] = {
        "delay": wanted.delay,
        "timeout": wanted.timeout,
        "max_retries": wanted.max_retries,
        "max_retries_down": wanted.max_retries_down,
    }
    http = {"http_method": "GET", "url_path": wanted.path, "expected_codes": HEALTHY}
    return body | (http if wanted.path else {})


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
