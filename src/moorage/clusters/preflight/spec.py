"""Problems that a spec has on any cloud. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from itertools import combinations

from moorage.clusters.preflight.problem import Problem, choices, parse_network
from moorage.model.cluster import CONTROL_PLANE, MAX_COUNT, ClusterSpec, NodeGroup

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_LENGTH = 40  # leaves characters of a DNS label (63) for a group's name, revision and an index
GROUP_NAME_LENGTH = 14
RESERVED_GROUPS = (CONTROL_PLANE,)
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# The domains of labels that a kubelet may not set on its own Node (NodeRestriction), and those in them that it may.
KUBERNETES_DOMAINS = ("kubernetes.io", "k8s.io")
ALLOWED_DOMAINS = ("node.kubernetes.io", "kubelet.kubernetes.io")
NODE_MASK = 24  # each node gets a /24 of the pod CIDR


def spec_problems(spec: ClusterSpec) -> list[Problem]:
    """Problems that the spec has on any cloud."""
    return [*_name(spec.name), *_counts(spec), *_groups(spec), *_networks(spec), *_others(spec)]


def _name(name: str) -> Iterator[Problem]:
    if not NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        yield Problem(
            "name",
            repr(name),
            "not a DNS label that server names can start with",
            f"a letter, then letters, digits or hyphens, all lower case, {NAME_LENGTH} at most, such as 'demo-1'",
        )


def _counts(spec: ClusterSpec) -> Iterator[Problem]:
    if spec.control_plane_nodes != 1:
        yield Problem(
            "--control-plane-nodes",
            str(spec.control_plane_nodes),
            "one control-plane node is supported today",
            "1",
        )


def _groups(spec: ClusterSpec) -> Iterator[Problem]:
    names = [group.name for group in spec.groups]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem("node group", name, "there are two of that name", "a name for each")
    for group in spec.groups:
        yield from _group(group)


def _group(group: NodeGroup) -> Iterator[Problem]:
    of = f"node group {group.name}:"
    if not NAME.fullmatch(group.name) or len(group.name) > GROUP_NAME_LENGTH:
        form = f"a letter, then letters, digits or hyphens, all lower case, {GROUP_NAME_LENGTH} at most"
        yield Problem("node group", repr(group.name), "not a DNS label that server names can contain", form)
    elif group.name in RESERVED_GROUPS:
        yield Problem("node group", group.name, "this name is reserved", "another name")
    if not 0 <= group.min_count <= group.max_count <= MAX_COUNT:
        limits = f"{group.min_count} and --max {group.max_count}"
        yield Problem(f"{of} --min", limits, "not in order", f"0 <= min <= max <= {MAX_COUNT}")
    elif not group.min_count <= group.count <= group.max_count:
        reason = f"not in its limits of {group.min_count} to {group.max_count} nodes"
        yield Problem(f"{of} --count", str(group.count), reason, "a count between them, or other limits")
    if min(group.max_surge, group.max_unavailable) < 0 or not group.max_surge + group.max_unavailable:
        given = f"{group.max_surge} and --max-unavailable {group.max_unavailable}"
        yield Problem(f"{of} --max-surge", given, "no node could be upgraded", "one of them 1 or more, none below 0")
    yield from _labels_and_taints(group, of)


def _labels_and_taints(group: NodeGroup, of: str) -> Iterator[Problem]:
    for key, value in group.labels.items():
        if reason := _label_problem(key, value):
            yield Problem(f"{of} --label", f"{key}={value}", reason, "such as example.com/disk=ssd")
    for taint in group.taints:
        if not (LABEL_KEY.fullmatch(taint.key) and LABEL_VALUE.fullmatch(taint.value)):
            yield Problem(
                f"{of} --taint", str(taint), "not a taint that Kubernetes accepts", "such as gpu=yes:NoSchedule"
            )
        elif taint.effect not in EFFECTS:
            reason = f"{taint.effect!r} is not an effect"
            yield Problem(f"{of} --taint", str(taint), reason, choices(taint.effect, EFFECTS))


def _label_problem(key: str, value: str) -> str:
    """Why Kubernetes does not accept this label from a kubelet; "" when it does."""
    domain = key.rpartition("/")[0]
    if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
        return "not a label that Kubernetes accepts"
    if _within(domain, ("moorage.io",)):
        return "labels of moorage.io are Moorage's own"
    if _within(domain, KUBERNETES_DOMAINS) and not _within(domain, ALLOWED_DOMAINS):
        return f"Kubernetes does not let a node set labels of {domain}"
    return ""


def _within(domain: str, parents: Sequence[str]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _networks(spec: ClusterSpec) -> Iterator[Problem]:
    given = {"--node-cidr": spec.node_cidr, "--pod-cidr": spec.pod_cidr, "--service-cidr": spec.service_cidr}
    parsed: dict[str, IPv4Network] = {}
    for option, text in given.items():
        network = parse_network(text)
        if isinstance(network, str):
            yield Problem(option, text, network, "a network such as 10.0.0.0/24")
        else:
            parsed[option] = network
            yield from _size(option, network, spec.nodes)
    for (one, first), (other, second) in combinations(parsed.items(), 2):
        if first.overlaps(second):
            yield Problem(other, str(second), f"overlaps {one} {first}", "choose networks without common addresses")


def _size(option: str, network: IPv4Network, nodes: int) -> Iterator[Problem]:
    if option == "--node-cidr" and network.num_addresses - 5 < nodes:
        yield Problem(
            option, str(network), f"has too few addresses for {nodes} nodes and the router", "a larger network"
        )
    if option == "--pod-cidr" and (network.prefixlen > NODE_MASK or 2 ** (NODE_MASK - network.prefixlen) < nodes):
        fitting = NODE_MASK - max(nodes - 1, 0).bit_length()
        yield Problem(
            option, str(network), f"each of {nodes} nodes needs a /{NODE_MASK} of it", f"a /{fitting} or larger"
        )
    if option == "--service-cidr" and not 12 <= network.prefixlen <= 28:
        yield Problem(option, str(network), "not a size that Kubernetes accepts", "between a /12 and a /28")


def _others(spec: ClusterSpec) -> Iterator[Problem]:
    if spec.node_port_cidr and isinstance(reason := parse_network(spec.node_port_cidr), str):
        yield Problem("--node-port-cidr", spec.node_port_cidr, reason, "a network such as 192.0.2.0/24, or 0.0.0.0/0")
    for server in spec.dns_nameservers:
        try:
            IPv4Address(server)
        except AddressValueError:
            yield Problem("--dns-nameserver", server, "not an IPv4 address", "an address such as 192.0.2.53")
    for host, url in spec.registry_mirrors.items():
        if not re.fullmatch(r"https?://[^\s/]+.*", url):
            yield Problem("--registry-mirror", f"{host}={url}", "not a URL", f"{host}=http://ADDRESS:PORT")
