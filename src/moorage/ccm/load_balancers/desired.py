"""Builds the desired load balancer from a Service, its nodes and its endpoints. Pure.

Nodes change most often and are the same for most Services. So the desired and the applied state of each Service are
kept apart from its nodes: what is remembered is small, and a comparison does not build a thousand members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from moorage.ccm.load_balancers.annotations import PREFIX, ServiceOptions
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.settings import Monitoring, Settings
from moorage.ccm.load_balancers.views import Node, Port, Service
from moorage.cloud.port.load_balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.cloud.port.network import SecurityGroupRule, Subnet
from moorage.model.errors import BadInput

ANYWHERE = "0.0.0.0/0"
HEALTH_PATH = "/healthz"  # served by kube-proxy on a Service's health-check node port
MONITORS = {"TCP": "TCP", "UDP": "UDP-CONNECT", "SCTP": "SCTP"}


def uses_kube_proxy_health_check(service: Service, settings: Settings) -> bool:
    """Whether the provider checks each node of a Service with local traffic on the Service's health-check node port."""
    return bool(service.local and service.health_port and "HTTP" in settings.provider.monitors)


def select_nodes(
    service: Service, options: ServiceOptions, settings: Settings, nodes: Iterable[Node], endpoint_nodes: Iterable[str]
) -> tuple[Node, ...]:
    """The nodes that receive traffic, by name.

    These are the nodes that are Ready; all nodes if none is, because then a failed control plane is more likely. Local
    traffic needs a ready endpoint on the node: the provider checks that itself where it can, else it is read from the
    EndpointSlices (`endpoint_nodes`).
    """
    selected = sorted(nodes, key=lambda node: node.name)
    if options.node_selector:
        selected = [node for node in selected if all(node.labels.get(k) == v for k, v in options.node_selector)]
    if service.local and not uses_kube_proxy_health_check(service, settings):
        names = frozenset(endpoint_nodes)
        selected = [node for node in selected if node.name in names]
    return tuple([node for node in selected if node.ready] or selected)


def build_members(
    port: Port, service: Service, options: ServiceOptions, settings: Settings, nodes: Sequence[Node]
) -> tuple[Member, ...]:
    """The members of one port's pool, given the selected nodes."""
    monitor_port = service.health_port if uses_kube_proxy_health_check(service, settings) else None
    subnet, node_port = options.member_subnet or settings.subnet, port.node_port
    return tuple([Member(node.address, node_port, subnet, monitor_port, node.name) for node in nodes])


def have_same_members(one: Sequence[Node], other: Sequence[Node]) -> bool:
    """Whether both give the same members, which depend only on the names and addresses of the nodes."""
    return one == other or [(node.name, node.address) for node in one] == [(n.name, n.address) for n in other]


@dataclass(frozen=True)
class FloatingIPRequest:
    """A floating IP with this address if given, else any of the network (and of the subnet, if given)."""

    network: str
    address: str = ""
    subnet: str = ""


@dataclass(frozen=True)
class DesiredLoadBalancer:
    """The desired resources of a Service. `existing` is the id of the load balancer that the Service names.

    `inline_monitors` is whether Octavia can create health monitors in the same call as the load balancer.
    """

    service_ref: ServiceRef
    load_balancer: LoadBalancer
    inline_monitors: bool = True
    existing: str = ""
    floating_ip: FloatingIPRequest | None = None
    rules: tuple[SecurityGroupRule, ...] = ()
    keep_floating_ip: bool = False
    hostname: str = ""
    proxied: bool = False


@dataclass(frozen=True)
class _Inputs:
    service: Service
    options: ServiceOptions
    settings: Settings
    service_ref: ServiceRef
    source_ranges: tuple[str, ...]

    @property
    def uses_kube_proxy_health_check(self) -> bool:
        return uses_kube_proxy_health_check(self.service, self.settings)


def build_desired(
    service: Service,
    nodes: Iterable[Node],
    endpoint_nodes: Iterable[str],
    options: ServiceOptions,
    settings: Settings,
    subnet: str = "",
) -> DesiredLoadBalancer:
    """Raises BadInput, with a message for the Service's author, when the Service cannot be satisfied.

    `endpoint_nodes` are the nodes with a ready endpoint; `subnet` is the id of the floating IP's subnet. Without
    nodes, only the members are missing from the result.
    """
    service_ref = ServiceRef(settings.cluster, service.namespace, service.name)
    inputs = _Inputs(service, options, settings, service_ref, _parse_ranges(service.source_ranges))
    _validate(inputs)
    members = select_nodes(service, options, settings, nodes, endpoint_nodes)
    listeners = tuple(_listener(inputs, port, members) for port in service.ports)
    return DesiredLoadBalancer(
        service_ref=service_ref,
        load_balancer=_load_balancer(inputs, listeners),
        inline_monitors=settings.provider.inline_monitors,
        existing=options.load_balancer,
        floating_ip=_floating_ip_request(inputs, subnet),
        rules=_rules(inputs, listeners),
        keep_floating_ip=options.keep_floating,
        hostname=options.hostname,
        proxied=bool(options.proxy),
    )


def choose_floating_subnet(subnets: Iterable[Subnet], options: ServiceOptions) -> str:
    """The id of the floating IP's subnet, empty for any. Raises BadInput when none matches the options."""
    if options.floating_subnet_id or not (options.floating_subnet or options.floating_subnet_tags):
        return options.floating_subnet_id
    for subnet in subnets:
        named = options.floating_subnet in ("", subnet.name)
        if named and (not options.floating_subnet_tags or set(subnet.tags) & set(options.floating_subnet_tags)):
            return subnet.id
    raise BadInput(
        "the floating network has no subnet with that name and tags: "
        f"{options.floating_subnet or 'any name'}, {', '.join(options.floating_subnet_tags) or 'any tags'}",
        f"correct the annotation {PREFIX}floating-subnet or floating-subnet-tags",
    )


def _validate(inputs: _Inputs) -> None:
    service = inputs.service
    if service.families != ("IPv4",):
        raise BadInput(
            f"load balancers support IPv4 only, and the Service requests {' and '.join(service.families)}",
            "set spec.ipFamilyPolicy to SingleStack and spec.ipFamilies to [IPv4]",
        )
    unsupported = sorted({port.protocol for port in service.ports} - set(MONITORS))
    if unsupported:
        raise BadInput(f"no load balancer can forward {', '.join(unsupported)}", "use TCP, UDP or SCTP")
    without_node_port = [str(port.port) for port in service.ports if not port.node_port]
    if without_node_port:
        raise BadInput(
            f"port {', '.join(without_node_port)} has no node port, and load balancers send traffic to node ports",
            "set spec.allocateLoadBalancerNodePorts to true",
        )
    if service.address:
        _validate_address(service.address)


def _validate_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError as error:
        raise BadInput(f"spec.loadBalancerIP is {text!r}, which is no IP address", "correct it") from error


def _parse_ranges(texts: Iterable[str]) -> tuple[str, ...]:
    """The ranges as the cloud formats them; empty when any client is allowed."""
    try:
        ranges = {str(ip_network(text, strict=False)) for text in texts}
    except ValueError as error:
        raise BadInput(f"spec.loadBalancerSourceRanges: {error}", "write ranges as in 192.0.2.0/24") from error
    if any(":" in text for text in ranges):
        raise BadInput("spec.loadBalancerSourceRanges has IPv6 ranges, and load balancers support IPv4 only")
    return () if ANYWHERE in ranges else tuple(sorted(ranges))


def _load_balancer(inputs: _Inputs, listeners: tuple[Listener, ...]) -> LoadBalancer:
    options, settings, service = inputs.options, inputs.settings, inputs.service
    in_default_subnet = not (options.network or options.subnet or options.port)
    return LoadBalancer(
        name=inputs.service_ref.tag,
        provider=settings.provider.name,
        description=f"Kubernetes Service {service.namespace}/{service.name} of the cluster {settings.cluster}",
        tags=inputs.service_ref.owned_tags(),
        listeners=listeners,
        network=options.network,
        subnet=settings.subnet if in_default_subnet else options.subnet,
        port=options.port,
        address=_internal_address(inputs, in_default_subnet),
        flavor=options.flavor,
        zone=options.zone,
    )


def _internal_address(inputs: _Inputs, in_default_subnet: bool) -> str:
    """The address of an internal load balancer: loadBalancerIP, else the one in the Service's status.

    So a recreated load balancer keeps its address.
    """
    if not inputs.options.internal or inputs.options.port:
        return ""
    cidr = ip_network(inputs.settings.cidr)
    previous = [text for text in inputs.service.status_addresses if ip_address(text) in cidr]
    return inputs.service.address or (previous[0] if previous and in_default_subnet else "")


def _floating_ip_request(inputs: _Inputs, subnet: str) -> FloatingIPRequest | None:
    if inputs.options.internal:
        return None
    network = inputs.options.floating_network or inputs.settings.floating_network
    if not network and not inputs.service.address:
        raise BadInput(
            "there is no external network for a floating IP",
            f"name one with the annotation {PREFIX}floating-network-id, or make the Service internal",
        )
    return FloatingIPRequest(network, inputs.service.address, subnet)


def _listener(inputs: _Inputs, port: Port, nodes: Sequence[Node]) -> Listener:
    options = inputs.options
    protocol = "HTTP" if options.forwarded_for and port.protocol == "TCP" else port.protocol
    return Listener(
        name=inputs.service_ref.resource_name("listener", port.protocol, port.port),
        protocol=protocol,
        port=port.port,
        pool=_pool(inputs, port, protocol, nodes),
        tags=(inputs.service_ref.tag,),
        allowed_cidrs=() if inputs.settings.provider.transparent else inputs.source_ranges,
        connections=options.connections,
        forwarded_for=protocol == "HTTP",
        timeouts=options.timeouts,
    )


def _pool(inputs: _Inputs, port: Port, protocol: str, nodes: Sequence[Node]) -> Pool:
    return Pool(
        name=inputs.service_ref.resource_name("pool", port.protocol, port.port),
        protocol=inputs.options.proxy or protocol if port.protocol == "TCP" else protocol,
        algorithm=inputs.options.algorithm or inputs.settings.provider.algorithms[0],
        members=build_members(port, inputs.service, inputs.options, inputs.settings, nodes),
        monitor=_port_monitor(inputs, port),
        session_persistence="SOURCE_IP" if inputs.service.sticky else "",
    )


def _port_monitor(inputs: _Inputs, port: Port) -> HealthMonitor | None:
    if inputs.uses_kube_proxy_health_check:
        return _monitor("HTTP", inputs, HEALTH_PATH)
    if not inputs.options.monitor:
        return None
    type, provider = MONITORS[port.protocol], inputs.settings.provider
    if type not in provider.monitors:
        raise BadInput(
            f"Octavia's provider {provider.name} cannot monitor members of the {port.protocol} port {port.port}",
            f"remove the annotation {PREFIX}enable-health-monitor",
        )
    return _monitor(type, inputs)


def _monitor(type: str, inputs: _Inputs, path: str = "") -> HealthMonitor:
    defaults: Monitoring = inputs.settings.monitoring
    monitor = HealthMonitor(
        type=type,
        delay=inputs.options.monitor_delay or defaults.delay,
        timeout=inputs.options.monitor_timeout or defaults.timeout,
        max_retries=inputs.options.monitor_retries or defaults.max_retries,
        max_retries_down=inputs.options.monitor_retries_down or defaults.max_retries_down,
        path=path,
    )
    if monitor.timeout > monitor.delay:
        raise BadInput(
            f"a health monitor with a delay of {monitor.delay} s cannot have a timeout of {monitor.timeout} s",
            f"set the annotation {PREFIX}health-monitor-timeout below health-monitor-delay",
        )
    return monitor


def _rules(inputs: _Inputs, listeners: Sequence[Listener]) -> tuple[SecurityGroupRule, ...]:
    """Opens node ports to the sources of packets: the clients if the provider is transparent, else its own machines.

    The provider's machines and its health monitors have addresses in the nodes' subnet. The clients of an internal
    Service are those in that subnet, unless it names others: the control plane's floating IP leads to node ports too.
    """
    settings = inputs.settings
    internal = str(ip_network(settings.cidr))
    monitored = any(listener.pool and listener.pool.monitor for listener in listeners)
    anyone = internal if inputs.options.internal and not inputs.service.source_ranges else ANYWHERE
    sources = set(inputs.source_ranges or (anyone,)) if settings.provider.transparent else {internal}
    if monitored and ANYWHERE not in sources:
        sources.add(internal)
    ports = {(port.protocol.lower(), port.node_port) for port in inputs.service.ports}
    if inputs.uses_kube_proxy_health_check:
        ports.add(("tcp", inputs.service.health_port))
    return tuple(
        SecurityGroupRule(settings.group, protocol, port, cidr, inputs.service_ref.description)
        for protocol, port in sorted(ports)
        for cidr in sorted(sources)
    )


@dataclass(frozen=True)
class AppliedState:
    """`outline` is the applied load balancer without members; `nodes` are its members. `status` is the Service's.

    `pools` are the ids of the load balancer's pools, in the order of the outline's listeners. `confirmed` is False
    after new members were sent, until the load balancer was seen to be ACTIVE.
    """

    outline: DesiredLoadBalancer
    status: str
    nodes: tuple[Node, ...]
    load_balancer: str
    pools: tuple[str, ...]
    confirmed: bool = True

    def has_members(self, nodes: tuple[Node, ...]) -> bool:
        return have_same_members(self.nodes, nodes)


@dataclass(frozen=True)
class DesiredState:
    """The desired load balancer of a Service, as an `outline` without members and the `nodes`."""

    outline: DesiredLoadBalancer
    nodes: tuple[Node, ...]
    service: Service
    options: ServiceOptions
    settings: Settings
    subnet: str

    @classmethod
    def build(
        cls,
        service: Service,
        nodes: tuple[Node, ...],
        endpoint_nodes: Collection[str],
        options: ServiceOptions,
        settings: Settings,
        subnet: str,
    ) -> DesiredState:
        """Raises what `build_desired` raises."""
        outline = build_desired(service, (), (), options, settings, subnet)
        members = select_nodes(service, options, settings, nodes, endpoint_nodes)
        return cls(outline, nodes if members == nodes else members, service, options, settings, subnet)

    def with_members(self) -> DesiredLoadBalancer:
        endpoint_nodes = {node.name for node in self.nodes}
        return build_desired(self.service, self.nodes, endpoint_nodes, self.options, self.settings, self.subnet)

    def members(self) -> Iterator[tuple[Member, ...]]:
        """The members for each listener of the outline."""
        for port in self.service.ports:
            yield build_members(port, self.service, self.options, self.settings, self.nodes)

    def applied(self, load_balancer: LoadBalancer, status: str) -> AppliedState:
        """The applied state, once the load balancer matches the desired one."""
        by_port = {(listener.protocol, listener.port): listener.pool for listener in load_balancer.listeners}
        pools = [by_port[listener.protocol, listener.port] for listener in self.outline.load_balancer.listeners]
        pool_ids = tuple(pool.id if pool else "" for pool in pools)
        return AppliedState(self.outline, status, self.nodes, load_balancer.id, pool_ids)
