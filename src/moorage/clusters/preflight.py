"""Reject specs that cannot become a cluster, before anything is created.

Pure except for `check` and `check_groups`, which read the cloud.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from itertools import combinations
from typing import Any, TypeVar

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.images import Image, Images, newest
from moorage.cloud.port.network import ExternalNetwork
from moorage.cloud.port.quota import Quota
from moorage.cloud.port.servers import Flavor
from moorage.model.cluster import CONTROL_PLANE, MAX_COUNT, ClusterSpec, NodeGroup
from moorage.model.errors import BadInput, MoorageError, QuotaExceeded

T = TypeVar("T", Flavor, Image, ExternalNetwork)
DEFAULTS = ("flavor", "worker_flavor", "external_network")  # what clouds.yaml may name for new clusters
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_LENGTH = 40  # leaves characters of a DNS label (63) for a group's name, revision and an index
GROUP_NAME_LENGTH = 16
RESERVED_GROUPS = (CONTROL_PLANE,)
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# The domains of labels that a kubelet may not set on its own Node (NodeRestriction), and those in them that it may.
KUBERNETES_DOMAINS = ("kubernetes.io", "k8s.io")
ALLOWED_DOMAINS = ("node.kubernetes.io", "kubelet.kubernetes.io")
CONTROL_PLANE_MEMORY = 2000  # MB: etcd, API server, controller-manager, scheduler and the node's own programs
NODE_MASK = 24  # each node gets a /24 of the pod CIDR
OURS = {"os_distro": "moorage"}  # the properties of every Moorage node image
IMAGE_PROPERTIES = ("moorage_version", "moorage_kubernetes_version")


@dataclass(frozen=True)
class Problem:
    """One problem of a spec: the parameter, its value, why it is wrong, and what to use instead."""

    parameter: str
    value: str
    reason: str
    alternative: str
    quota: bool = False

    def __str__(self) -> str:
        subject = f"{self.parameter} {self.value}".strip()
        return f"{subject}: {self.reason}" + (f"; {self.alternative}" if self.alternative else "")


@dataclass(frozen=True)
class CloudOffer:
    """What the cloud has. `zones` are Nova's availability zones."""

    flavors: Sequence[Flavor]
    images: Sequence[Image]
    external_networks: Sequence[ExternalNetwork]
    quotas: Mapping[str, Quota]
    addresses: Sequence[str] = ()
    zones: Sequence[str] = ()


def check(cloud: Cloud, spec: ClusterSpec) -> ClusterSpec:
    """The spec with everything that it left open: the image's id, flavors and external network.

    BadInput or QuotaExceeded lists all problems in one message.
    """
    spec, offer = with_defaults(spec, cloud.defaults), _offer(cloud, spec)
    if found := problems(spec, offer):
        raise _error(found)
    image, network = choose_image(spec.image, offer.images), choose_network(spec, offer.external_networks)
    assert image is not None
    assert network is not None
    name = spec.external_network or network.name or network.id
    return _with_groups(replace(spec, image=image.id, external_network=name), offer)


def check_groups(cloud: Cloud, spec: ClusterSpec, new: Collection[str]) -> ClusterSpec:
    """The spec of a cluster that exists, with everything that these `new` groups of it left open. Errors as `check`."""
    spec, offer = with_defaults(spec, cloud.defaults), _offer(cloud, spec)
    added = replace(spec, groups=tuple(group for group in spec.groups if group.name in new))
    found = [*spec_problems(spec), *_group_flavors(added, offer), *_group_images(added, offer), *_zones(added, offer)]
    if found := [*found, *_quotas(_servers_quotas(added, offer.flavors, 0), offer)]:
        raise _error(found)
    return _with_groups(spec, offer)


def _offer(cloud: Cloud, spec: ClusterSpec) -> CloudOffer:
    with ThreadPoolExecutor(max_workers=6) as pool:
        flavors, images = pool.submit(cloud.servers.flavors), pool.submit(_offered_images, cloud.images, spec)
        networks = pool.submit(cloud.network.external_networks)
        server_quotas, network_quotas = pool.submit(cloud.servers.quotas), pool.submit(cloud.network.quotas)
        zones = pool.submit(cloud.servers.zones) if any(group.zones for group in spec.groups) else None
        addresses = cloud.identity.addresses()
        quotas = {**server_quotas.result(), **network_quotas.result()}
        found = zones.result() if zones else ()
        return CloudOffer(flavors.result(), images.result(), networks.result(), quotas, addresses, found)


def _with_groups(spec: ClusterSpec, offer: CloudOffer) -> ClusterSpec:
    """Each group with its flavor and image; an image by its id."""
    groups = []
    for group in spec.groups:
        image = choose_image(group.image or spec.image, offer.images)
        groups.append(replace(group, flavor=group.flavor or spec.flavor, image=image.id if image else group.image))
    return replace(spec, groups=tuple(groups))


def with_defaults(spec: ClusterSpec, defaults: Mapping[str, str]) -> ClusterSpec:
    """The spec with the cloud's own defaults for what it leaves open. BadInput for a default that does not exist."""
    unknown = [name for name in defaults if name not in DEFAULTS]
    if unknown:
        raise BadInput(f"moorage.{unknown[0]} in clouds.yaml: no such default", f"known are {', '.join(DEFAULTS)}")
    # A flavor that was given is that of the workers too.
    workers = defaults.get("worker_flavor", "") if not spec.flavor else ""
    groups = tuple(replace(group, flavor=group.flavor or workers) for group in spec.groups)
    given: dict[str, Any] = {
        name: defaults.get(name, "") for name in ("flavor", "external_network") if not getattr(spec, name)
    }
    return replace(spec, groups=groups, **given)


def problems(spec: ClusterSpec, offer: CloudOffer) -> list[Problem]:
    """All problems, in the order of the parameters."""
    return [
        *spec_problems(spec),
        *_workers(spec),
        *_flavors(spec, offer),
        *_image(spec, offer.images),
        *_group_images(spec, offer),
        *_zones(spec, offer),
        *_external_network(spec, offer.external_networks),
        *_addresses(spec, offer.addresses),
        *_quotas(required_quotas(spec, offer.flavors), offer),
    ]


def spec_problems(spec: ClusterSpec) -> list[Problem]:
    """Problems that the spec has on any cloud."""
    return [*_name(spec.name), *_counts(spec), *_groups(spec), *_networks(spec), *_others(spec)]


def _offered_images(images: Images, spec: ClusterSpec) -> list[Image]:
    """The Moorage images, and the one that the spec names, whatever it is."""
    ours = images.list(OURS)
    named = {name for name in (spec.image, *(group.image for group in spec.groups)) if name}
    others = [found for name in sorted(named) if (found := images.find(name)) is not None and found not in ours]
    return [*ours, *others]


def choose_image(name: str | None, images: Sequence[Image]) -> Image | None:
    """The image with that name or id, or the newest active Moorage image."""
    if name is not None:
        return newest(image for image in images if name in (image.id, image.name))
    return newest(image for image in images if not _missing_properties(image) and image.status == "active")


def choose_network(spec: ClusterSpec, networks: Sequence[ExternalNetwork]) -> ExternalNetwork | None:
    """The external network that the spec names, or the cloud's only one."""
    if spec.external_network:
        return _named(spec.external_network, networks)
    return networks[0] if len(networks) == 1 else None


def required_quotas(spec: ClusterSpec, flavors: Sequence[Flavor]) -> dict[str, int]:
    """How much the cluster uses of each quota, by the names in `Cloud.quotas`."""
    return {
        **_servers_quotas(spec, flavors, spec.control_plane_nodes),
        "networks": 1,
        "ports": spec.nodes + 2,  # the router's port, and the network's DHCP port
        "routers": 1,
        "security_groups": 2,
        "floating_ips": 1,
    }


def _servers_quotas(spec: ClusterSpec, flavors: Sequence[Flavor], control_plane: int) -> dict[str, int]:
    sizes = {flavor.name: flavor for flavor in flavors} | {flavor.id: flavor for flavor in flavors}
    groups = [(group.flavor or spec.flavor, group.count) for group in spec.groups]
    counts = [(sizes.get(name), count) for name, count in ((spec.flavor, control_plane), *groups)]
    servers = control_plane + sum(group.count for group in spec.groups)
    return {
        "instances": servers,
        "cores": sum(flavor.vcpus * count for flavor, count in counts if flavor),
        "ram": sum(flavor.memory * count for flavor, count in counts if flavor),
        "ports": servers,
    }


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


def _workers(spec: ClusterSpec) -> Iterator[Problem]:
    if not any(group.count for group in spec.groups):
        yield Problem("--workers", "0", "the cluster's DNS and other pods need a worker to run on", "1 or more workers")


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
            yield Problem(f"{of} --taint", str(taint), reason, _choices(taint.effect, EFFECTS))


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
        network = _network(text)
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
    if spec.node_port_cidr and isinstance(reason := _network(spec.node_port_cidr), str):
        yield Problem("--node-port-cidr", spec.node_port_cidr, reason, "a network such as 192.0.2.0/24, or 0.0.0.0/0")
    for server in spec.dns_nameservers:
        try:
            IPv4Address(server)
        except AddressValueError:
            yield Problem("--dns-nameserver", server, "not an IPv4 address", "an address such as 192.0.2.53")
    for host, url in spec.registry_mirrors.items():
        if not re.fullmatch(r"https?://[^\s/]+.*", url):
            yield Problem("--registry-mirror", f"{host}={url}", "not a URL", f"{host}=http://ADDRESS:PORT")


def _flavors(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    image = choose_image(spec.image, offer.images)
    memory, disk = max(image.min_memory if image else 0, CONTROL_PLANE_MEMORY), image.min_disk if image else 0
    found = [*_flavor("--flavor", spec.flavor, memory, disk, "a control plane", offer.flavors)]
    yield from found
    groups = tuple(group for group in spec.groups if group.flavor or not found)
    yield from _group_flavors(replace(spec, groups=groups), offer)


def _group_flavors(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    for group in spec.groups:
        image = choose_image(group.image or spec.image, offer.images)
        memory, disk = (image.min_memory, image.min_disk) if image else (0, 0)
        option = f"node group {group.name}: --flavor" if group.flavor else "--flavor"
        yield from _flavor(option, group.flavor or spec.flavor, memory, disk, "a worker", offer.flavors)


def _group_images(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    for group in spec.groups:
        if group.image and group.image != spec.image:
            yield from _named_image(f"node group {group.name}: --image", group.image, offer.images)


def _zones(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    for group in spec.groups:
        for zone in group.zones:
            if zone not in offer.zones:
                option = f"node group {group.name}: --zone"
                yield Problem(option, zone, "no such availability zone", _choices(zone, offer.zones))


def _flavor(option: str, name: str, memory: int, disk: int, what: str, flavors: Sequence[Flavor]) -> Iterator[Problem]:
    fits = [f for f in flavors if f.memory >= memory and (f.disk >= disk or not f.disk)]
    smallest_first = sorted(fits, key=lambda flavor: (flavor.memory, flavor.vcpus, flavor.disk))
    if not name:
        yield Problem(option, "", "no flavor was given", _proposal(smallest_first))
        return
    flavor, fitting = _named(name, flavors), [fit.name for fit in fits]
    if flavor is None:
        yield Problem(option, name, "no such flavor", _choices(name, [flavor.name for flavor in flavors]))
        return
    if flavor.memory < memory:
        reason = f"{flavor.memory} MB of memory, {what} needs {memory} MB"
        yield Problem(option, name, reason, _one_of(fitting))
    if flavor.disk and flavor.disk < disk:
        yield Problem(option, name, f"{flavor.disk} GB of disk, the image needs {disk} GB", _one_of(fitting))


def _proposal(fitting: Sequence[Flavor]) -> str:
    if not fitting:
        return "no flavor of this cloud fits: ask its operator for one"
    first = fitting[0]
    return f"{first.name} fits: {first.vcpus} VCPUs, {first.memory} MB of memory, {first.disk} GB of disk"


def _image(spec: ClusterSpec, images: Sequence[Image]) -> Iterator[Problem]:
    if spec.image is not None:
        yield from _named_image("--image", spec.image, images)
    elif choose_image(None, images) is None:
        reason = "this cloud has no Moorage node image"
        yield Problem("--image", "", reason, "moorage image build, moorage image upload")


def _named_image(option: str, name: str, images: Sequence[Image]) -> Iterator[Problem]:
    ours = [image.name for image in images if not _missing_properties(image)]
    image = choose_image(name, images)
    if image is None:
        yield Problem(option, name, "no such image", _choices(name, ours))
    elif lacking := _missing_properties(image):
        reason = f"not a Moorage node image: it lacks the properties {', '.join(lacking)}"
        yield Problem(option, name, reason, _one_of(ours) or "moorage image build, moorage image upload")
    elif image.status != "active":
        yield Problem(option, image.name, f"it is {image.status}, not active", _one_of(ours))


def _missing_properties(image: Image) -> list[str]:
    lacking = [name for name in IMAGE_PROPERTIES if not image.properties.get(name)]
    return [*(f"{key}={value}" for key, value in OURS.items() if image.properties.get(key) != value), *lacking]


def _external_network(spec: ClusterSpec, networks: Sequence[ExternalNetwork]) -> Iterator[Problem]:
    if choose_network(spec, networks) is not None:
        return
    names = [network.name or network.id for network in networks]
    if spec.external_network:
        reason = "no external network of that name, so that there are no floating IPs"
        yield Problem("--external-network", spec.external_network, reason, _choices(spec.external_network, names))
    elif names:
        yield Problem("--external-network", "", "the cloud has several external networks", _one_of(names))
    else:
        reason = "the cloud has no external network, so that there are no floating IPs"
        yield Problem("--external-network", "", reason, "ask its operator for one")


def _addresses(spec: ClusterSpec, addresses: Sequence[str]) -> Iterator[Problem]:
    for option, text in (
        ("--node-cidr", spec.node_cidr),
        ("--pod-cidr", spec.pod_cidr),
        ("--service-cidr", spec.service_cidr),
    ):
        network = _network(text)
        inside = [a for a in addresses if not isinstance(network, str) and IPv4Address(a) in network]
        if inside:
            yield Problem(
                option,
                text,
                f"it contains {inside[0]}, an address of the cloud that nodes must reach",
                "another network",
            )


def _quotas(required: Mapping[str, int], offer: CloudOffer) -> Iterator[Problem]:
    for name, needed in required.items():
        quota = offer.quotas.get(name)
        if quota is not None and quota.available is not None and needed > quota.available:
            unit = " MB" if name == "ram" else ""
            yield Problem(
                f"quota of {name}",
                "",
                f"needed {needed}{unit}, available {max(quota.available, 0)}{unit}"
                f" (limit {quota.limit}, in use {quota.used})",
                "ask for more, delete what is not needed, or make the cluster smaller",
                quota=True,
            )


def _error(found: Sequence[Problem]) -> MoorageError:
    kind = QuotaExceeded if all(problem.quota for problem in found) else BadInput
    if len(found) == 1:
        return kind(f"{found[0].parameter} {found[0].value}".strip() + f": {found[0].reason}", found[0].alternative)
    return kind(f"{len(found)} problems:" + "".join(f"\n  {problem}" for problem in found))


def _network(text: str) -> IPv4Network | str:
    """The network, or the reason why the text is not a network."""
    try:
        return IPv4Network(text)
    except ValueError as error:
        try:
            return f"has host bits set, the network is {IPv4Network(text, strict=False)}"
        except ValueError:
            return f"not an IPv4 network ({error})"


def _named(name: str, resources: Sequence[T]) -> T | None:
    return next((resource for resource in resources if name in (resource.name, resource.id)), None)


def _choices(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else _one_of(names)


def _one_of(names: Sequence[str]) -> str:
    return f"available: {', '.join(sorted(names)[:6])}" if names else ""
