"""Compute the desired load balancer of a Service from its options, nodes and endpoints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from moorage.ccm.load_balancers.annotations import PREFIX, ServiceOptions
from moorage.ccm.load_balancers.members import has_kube_proxy_health_check, members_at, select_nodes
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.settings import Monitoring, Settings
from moorage.ccm.load_balancers.views import Node, Port, Service
from moorage.cloud.load_balancers import HealthMonitor, Listener, LoadBalancer, Pool
from moorage.cloud.network import SecurityGroupRule, Subnet
from moorage.model.errors import BadInput

ANYWHERE = "0.0.0.0/0"
HEALTH_PATH = "/healthz"  # kube-proxy's path on a Service's health-check node port
MONITORS = {"TCP": "TCP", "UDP": "UDP-CONNECT", "SCTP": "SCTP"}


@dataclass(frozen=True)
class FloatingIPRequest:
    """A floating IP with that address, or any of the network (and of the subnet, if given)."""

    network: str
    address: str = ""
    subnet: str = ""


@dataclass(frozen=True)
class DesiredLoadBalancer:
    """All that a Service needs in the cloud.

    `existing` is the id of a load balancer that it must use; `whole` is whether health monitors can be created in one
    call with the load balancer.
    """

    service_ref: ServiceRef
    load_balancer: LoadBalancer
    whole: bool = True
    existing: str = ""
    floating_ip: FloatingIPRequest | None = None
    rules: tuple[SecurityGroupRule, ...] = ()
    keep: bool = False
    hostname: str = ""
    proxied: bool = False


@dataclass(frozen=True)
class _Ask:
    """The input of all parts."""

    service: Service
    options: ServiceOptions
    settings: Settings
    service_ref: ServiceRef
    ranges: tuple[str, ...]

    @property
    def has_kube_proxy_health_check(self) -> bool:
        return has_kube_proxy_health_check(self.service, self.settings)


def desire(
    service: Service,
    nodes: Iterable[Node],
    serving: Iterable[str],
    options: ServiceOptions,
    settings: Settings,
    subnet: str = "",
) -> DesiredLoadBalancer:
    """The desired load balancer. BadInput, with a message for the Service's author, when it cannot be provided.

    `serving` are the nodes with a ready endpoint; `subnet` is the id of the floating IP's subnet. Without nodes
    everything is the same, except for the members.
    """
    service_ref = ServiceRef(settings.cluster, service.namespace, service.name)
    ask = _Ask(service, options, settings, service_ref, _ranges(service.ranges))
    _check(ask)
    members = select_nodes(service, options, settings, nodes, serving)
    listeners = tuple(_listener(ask, port, members) for port in service.ports)
    return DesiredLoadBalancer(
        service_ref=service_ref,
        load_balancer=_load_balancer(ask, listeners),
        whole=settings.provider.whole,
        existing=options.load_balancer,
        floating_ip=_floating_ip_request(ask, subnet),
        rules=_rules(ask, listeners),
        keep=options.keep_floating,
        hostname=options.hostname,
        proxied=bool(options.proxy),
    )


def choose_subnet(subnets: Iterable[Subnet], options: ServiceOptions) -> str:
    """The id of the floating IP's subnet, empty for any; BadInput when none matches."""
    if options.floating_subnet_id or not (options.floating_subnet or options.floating_subnet_tags):
        return options.floating_subnet_id
    for found in subnets:
        named = options.floating_subnet in ("", found.name)
        if named and (not options.floating_subnet_tags or set(found.tags) & set(options.floating_subnet_tags)):
            return found.id
    raise BadInput(
        "the floating network has no subnet with that name and tags: "
        f"{options.floating_subnet or 'any name'}, {', '.join(options.floating_subnet_tags) or 'any tags'}",
        f"correct the annotation {PREFIX}floating-subnet or floating-subnet-tags",
    )


def _check(ask: _Ask) -> None:
    service = ask.service
    if service.families != ("IPv4",):
        raise BadInput(
            f"a load balancer has IPv4 only, and the Service requests {' and '.join(service.families)}",
            "set spec.ipFamilyPolicy to SingleStack and spec.ipFamilies to [IPv4]",
        )
    unknown = sorted({port.protocol for port in service.ports} - set(MONITORS))
    if unknown:
        raise BadInput(f"no load balancer can forward {', '.join(unknown)}", "use TCP, UDP or SCTP")
    closed = [str(port.port) for port in service.ports if not port.node_port]
    if closed:
        raise BadInput(
            f"port {', '.join(closed)} has no node port, which the traffic needs",
            "set spec.allocateLoadBalancerNodePorts to true",
        )
    if service.address:
        _check_address(service.address)


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError as error:
        raise BadInput(f"spec.loadBalancerIP is {text!r}, which is not an IP address", "correct it") from error


def _ranges(texts: Iterable[str]) -> tuple[str, ...]:
    """The ranges as the cloud writes them; none when all clients are allowed."""
    try:
        found = {str(ip_network(text, strict=False)) for text in texts}
    except ValueError as error:
        raise BadInput(f"spec.loadBalancerSourceRanges: {error}", "write ranges as in 192.0.2.0/24") from error
    if any(":" in text for text in found):
        raise BadInput("spec.loadBalancerSourceRanges has IPv6 ranges, and a load balancer has IPv4 only")
    return () if ANYWHERE in found else tuple(sorted(found))


def _load_balancer(ask: _Ask, listeners: tuple[Listener, ...]) -> LoadBalancer:
    options, settings, service = ask.options, ask.settings, ask.service
    free = not (options.network or options.subnet or options.port)
    return LoadBalancer(
        name=ask.service_ref.tag,
        provider=settings.provider.name,
        description=f"Kubernetes Service {service.namespace}/{service.name} of the cluster {settings.cluster}",
        tags=ask.service_ref.tags(),
        listeners=listeners,
        network=options.network,
        subnet=settings.subnet if free else options.subnet,
        port=options.port,
        address=_inner_address(ask, free),
        flavor=options.flavor,
        zone=options.zone,
    )


def _inner_address(ask: _Ask, free: bool) -> str:
    """The address of an internal load balancer: as requested, else the present one, so that a recreated one keeps its
    address.
    """
    if not ask.options.internal or ask.options.port:
        return ""
    before = [text for text in ask.service.shown if ip_address(text) in ip_network(ask.settings.cidr)]
    return ask.service.address or (before[0] if before and free else "")


def _floating_ip_request(ask: _Ask, subnet: str) -> FloatingIPRequest | None:
    if ask.options.internal:
        return None
    network = ask.options.floating_network or ask.settings.floating_network
    if not network and not ask.service.address:
        raise BadInput(
            "there is no external network for a floating IP",
            f"name one with the annotation {PREFIX}floating-network-id, or make the Service internal",
        )
    return FloatingIPRequest(network, ask.service.address, subnet)


def _listener(ask: _Ask, port: Port, nodes: Sequence[Node]) -> Listener:
    options = ask.options
    protocol = "HTTP" if options.forwarded_for and port.protocol == "TCP" else port.protocol
    return Listener(
        name=ask.service_ref.part("listener", port.protocol, port.port),
        protocol=protocol,
        port=port.port,
        pool=_pool(ask, port, protocol, nodes),
        tags=(ask.service_ref.tag,),
        allowed_cidrs=() if ask.settings.provider.transparent else ask.ranges,
        connections=options.connections,
        forwarded_for=protocol == "HTTP",
        timeouts=options.timeouts,
    )


def _pool(ask: _Ask, port: Port, protocol: str, nodes: Sequence[Node]) -> Pool:
    return Pool(
        name=ask.service_ref.part("pool", port.protocol, port.port),
        protocol=ask.options.proxy or protocol if port.protocol == "TCP" else protocol,
        algorithm=ask.options.algorithm or ask.settings.provider.algorithms[0],
        members=members_at(port, ask.service, ask.options, ask.settings, nodes),
        monitor=_monitor(ask, port),
        session_persistence="SOURCE_IP" if ask.service.sticky else "",
    )


def _monitor(ask: _Ask, port: Port) -> HealthMonitor | None:
    if ask.has_kube_proxy_health_check:
        return _timed("HTTP", ask, HEALTH_PATH)
    if not ask.options.monitor:
        return None
    kind, provider = MONITORS[port.protocol], ask.settings.provider
    if kind not in provider.monitors:
        raise BadInput(
            f"Octavia's provider {provider.name} cannot monitor members of the {port.protocol} port {port.port}",
            f"remove the annotation {PREFIX}enable-health-monitor",
        )
    return _timed(kind, ask)


def _timed(kind: str, ask: _Ask, path: str = "") -> HealthMonitor:
    usual: Monitoring = ask.settings.monitoring
    found = HealthMonitor(
        type=kind,
        delay=ask.options.monitor_delay or usual.delay,
        timeout=ask.options.monitor_timeout or usual.timeout,
        max_retries=ask.options.monitor_retries or usual.max_retries,
        max_retries_down=ask.options.monitor_retries_down or usual.max_retries_down,
        path=path,
    )
    if found.timeout > found.delay:
        raise BadInput(
            f"a health monitor cannot wait {found.timeout} s for a response when it runs every {found.delay} s",
            f"set the annotation {PREFIX}health-monitor-timeout below health-monitor-delay",
        )
    return found


def _rules(ask: _Ask, listeners: Sequence[Listener]) -> tuple[SecurityGroupRule, ...]:
    """Node ports are open to the packets' sources: clients when the provider is transparent, else the provider's own
    machines.

    The provider's machines and health monitors have addresses in the nodes' subnet.
    """
    settings = ask.settings
    inner = str(ip_network(settings.cidr))
    watched = any(listener.pool and listener.pool.monitor for listener in listeners)
    sources = set(ask.ranges or (ANYWHERE,)) if settings.provider.transparent else {inner}
    if watched and ANYWHERE not in sources:
        sources.add(inner)
    ports = {(port.protocol.lower(), port.node_port) for port in ask.service.ports}
    if ask.has_kube_proxy_health_check:
        ports.add(("tcp", ask.service.health_port))
    return tuple(
        SecurityGroupRule(settings.group, protocol, port, cidr, ask.service_ref.description)
        for protocol, port in sorted(ports)
        for cidr in sorted(sources)
    )
