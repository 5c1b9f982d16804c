"""Problems that a spec has on one cloud: what the cloud does not have, or not enough of. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TypeVar

from moorage.cloud.port.images import Image, newest
from moorage.cloud.port.network import ExternalNetwork
from moorage.cloud.port.quota import Quota
from moorage.cloud.port.servers import Flavor
from moorage.clusters.preflight.problem import Problem, choices, one_of, parse_network
from moorage.clusters.preflight.spec import spec_problems
from moorage.model.boot import SQUASHFS
from moorage.model.cluster import ClusterSpec, NodeGroup
from moorage.model.errors import BadInput

T = TypeVar("T", Flavor, Image, ExternalNetwork)
CONTROL_PLANE_MEMORY = 2000  # MB: etcd, API server, controller-manager, scheduler and the node's own programs
OURS = {"os_distro": "moorage"}  # the properties of every Moorage node image
FORMAT = "moorage_format"
KUBERNETES = "moorage_kubernetes_version"
VERSION = "moorage_version"
IMAGE_PROPERTIES = (VERSION, KUBERNETES)
QCOW2 = "COMPUTE_IMAGE_TYPE_QCOW2"  # os-traits: a host that boots qcow2 images
DISK_HINT = "moorage image build, moorage image upload --for server"
NO_IMAGE = "this cloud has no Moorage node image"
SKEW = 3  # minor versions that a kubelet may be older than the API server


@dataclass(frozen=True)
class CloudOffer:
    """What the cloud has. `zones` are Nova's availability zones."""

    flavors: Sequence[Flavor]
    images: Sequence[Image]
    external_networks: Sequence[ExternalNetwork]
    quotas: Mapping[str, Quota]
    addresses: Sequence[str] = ()
    zones: Sequence[str] = ()


def problems(spec: ClusterSpec, offer: CloudOffer) -> list[Problem]:
    """All problems, in the order of the parameters."""
    return [
        *spec_problems(spec),
        *_workers(spec),
        *_flavors(spec, offer),
        *_image(spec, offer),
        *_group_images(spec, offer),
        *_skew(spec, offer),
        *_zones(spec, offer),
        *_external_network(spec, offer.external_networks),
        *_addresses(spec, offer.addresses),
        *quota_problems(required_quotas(spec, offer.flavors), offer),
    ]


def added_problems(spec: ClusterSpec, added: Mapping[str, int], offer: CloudOffer) -> list[Problem]:
    """Problems of a cluster that exists and gets more nodes: their number by node group."""
    groups = tuple(replace(group, count=added[group.name]) for group in spec.groups if group.name in added)
    new = replace(spec, groups=groups)
    return [
        *spec_problems(spec),
        *_group_flavors(new, offer),
        *_group_images(new, offer),
        *_skew(new, offer),
        *_zones(new, offer),
        *quota_problems(_servers_quotas(new, offer.flavors, 0), offer),
    ]


def choose_image(name: str | None, images: Sequence[Image], flavor: Flavor | None = None) -> Image | None:
    """The image with that name or id, or the newest active Moorage image that the flavor's hosts boot.

    A cloud that has images for machine containers is a local one, where most servers are machine containers.
    """
    if name is not None:
        return newest(image for image in images if name in (image.id, image.name))
    ours = [image for image in images if not _missing_properties(image) and image.status == "active"]
    ours = [image for image in ours if boots(flavor, image)]
    return newest(image for image in ours if image.properties.get(FORMAT) == SQUASHFS) or newest(ours)


def boots(flavor: Flavor | None, image: Image) -> bool:
    """Whether the hosts that a flavor requires boot the image: some are for virtual machines alone."""
    return flavor is None or QCOW2 not in flavor.traits or image.properties.get(FORMAT) != SQUASHFS


def cluster_image(spec: ClusterSpec, offer: CloudOffer) -> Image | None:
    """The control plane's image."""
    return choose_image(spec.image, offer.images, _named(spec.flavor, offer.flavors))


def group_image(group: NodeGroup, spec: ClusterSpec, offer: CloudOffer) -> Image | None:
    """The group's own image, or the cluster's: of the same version, in the format that its flavor's hosts boot."""
    image, flavor = cluster_image(spec, offer), _named(group.flavor or spec.flavor, offer.flavors)
    if group.image:
        return choose_image(group.image, offer.images)
    if image is None or boots(flavor, image):
        return image
    same = [other for other in offer.images if other.properties.get(VERSION) == image.properties.get(VERSION)]
    return choose_image(None, same, flavor)


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


def _workers(spec: ClusterSpec) -> Iterator[Problem]:
    if not any(group.count for group in spec.groups):
        yield Problem("--workers", "0", "the cluster's DNS and other pods need a worker to run on", "1 or more workers")


def _flavors(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    image = cluster_image(spec, offer)
    memory, disk = max(image.min_memory if image else 0, CONTROL_PLANE_MEMORY), image.min_disk if image else 0
    found = [*_flavor("--flavor", spec.flavor, memory, disk, "a control plane", offer.flavors)]
    yield from found
    groups = tuple(group for group in spec.groups if group.flavor or not found)
    yield from _group_flavors(replace(spec, groups=groups), offer)


def _group_flavors(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    for group in spec.groups:
        image = group_image(group, spec, offer)
        memory, disk = (image.min_memory, image.min_disk) if image else (0, 0)
        option = f"node group {group.name}: --flavor" if group.flavor else "--flavor"
        yield from _flavor(option, group.flavor or spec.flavor, memory, disk, "a worker", offer.flavors)


def _group_images(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    for group in spec.groups:
        option, name = f"node group {group.name}: --image", group.flavor or spec.flavor
        if group.image and group.image != spec.image:
            yield from _named_image(option, group.image, offer.images)
        if group.image:
            yield from _format(option, group.image, name, offer)
        elif (image := cluster_image(spec, offer)) and group_image(group, spec, offer) is None:
            reason = f"the flavor {name} boots disks only, and the cloud has none of the version of {image.name}"
            yield Problem(option, "", reason, DISK_HINT)


def _format(option: str, image: str, flavor: str, offer: CloudOffer) -> Iterator[Problem]:
    """An image that the flavor's hosts do not boot."""
    chosen = choose_image(image, offer.images)
    if chosen and not boots(_named(flavor, offer.flavors), chosen):
        reason = f"it is for machine containers, and the flavor {flavor} boots disks only"
        yield Problem(option, chosen.name, reason, "another flavor, or an image of: moorage image upload --for server")


def _skew(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    """A kubelet may be up to three minor versions older than the API server, and not newer.

    Source: https://kubernetes.io/releases/version-skew-policy/
    """
    control_plane = _minor(cluster_image(spec, offer))
    for group in spec.groups:
        minor = _minor(group_image(group, spec, offer))
        if control_plane and minor and not control_plane[1] - SKEW <= minor[1] <= control_plane[1]:
            reason = f"it has Kubernetes 1.{minor[1]}, the control plane 1.{control_plane[1]}"
            fitting = f"an image with Kubernetes 1.{control_plane[1] - SKEW} to 1.{control_plane[1]}"
            yield Problem(f"node group {group.name}: --image", group.image, reason, fitting)


def check_kubelet_skew(version: str, there: Mapping[str, tuple[str, bool]], updated: Sequence[str]) -> None:
    """BadInput unless the `updated` nodes may run this version of Kubernetes.

    `there` has the version of each node, and whether it is a control plane. That gets at most one minor version newer,
    and none older; a kubelet is at most three older than it, and not newer.

    Source: https://kubernetes.io/releases/version-skew-policy/
    """
    minors = {name: found[1] for name, (text, _) in there.items() if (found := parse_minor(text))}
    new, control = parse_minor(version), [name for name, (_, is_control) in there.items() if is_control]
    current = max((minors[name] for name in control if name in minors), default=None)
    if new is None or current is None:
        return
    is_control_updated = any(name in control for name in updated)
    if is_control_updated and not current <= new[1] <= current + 1:
        reason = f"the image has Kubernetes 1.{new[1]}, the control plane 1.{current}"
        raise BadInput(reason, "update it by one minor version")
    api = new[1] if is_control_updated else current
    kubelets = {name: new[1] if name in updated else minor for name, minor in minors.items() if name not in control}
    for name, minor in kubelets.items():
        if not api - SKEW <= minor <= api:
            reason = f"{name} would have Kubernetes 1.{minor}, the control plane 1.{api}"
            raise BadInput(reason, f"a worker must have 1.{api - SKEW} to 1.{api}")


def parse_minor(version: str) -> tuple[int, int] | None:
    """Major and minor number of a version such as v1.37.2."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def _minor(image: Image | None) -> tuple[int, int] | None:
    """Major and minor version of an image's Kubernetes; None when it does not say."""
    return parse_minor(str(image.properties.get(KUBERNETES, ""))) if image else None


def _zones(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    for group in spec.groups:
        for zone in group.zones:
            if zone not in offer.zones:
                option = f"node group {group.name}: --zone"
                yield Problem(option, zone, "no such availability zone", choices(zone, offer.zones))


def _flavor(option: str, name: str, memory: int, disk: int, what: str, flavors: Sequence[Flavor]) -> Iterator[Problem]:
    smallest_first = smallest_flavors(flavors, memory, disk)
    if not name:
        yield Problem(option, "", "no flavor was given", _proposal(smallest_first))
        return
    flavor, fitting = _named(name, flavors), [fit.name for fit in smallest_first]
    if flavor is None:
        yield Problem(option, name, "no such flavor", choices(name, [flavor.name for flavor in flavors]))
        return
    if flavor.memory < memory:
        reason = f"{flavor.memory} MB of memory, {what} needs {memory} MB"
        yield Problem(option, name, reason, one_of(fitting))
    if flavor.disk and flavor.disk < disk:
        yield Problem(option, name, f"{flavor.disk} GB of disk, the image needs {disk} GB", one_of(fitting))


def smallest_flavors(flavors: Sequence[Flavor], memory: int, disk: int) -> list[Flavor]:
    """Those with at least this memory (MB) and disk (GB), the smallest first; a disk of 0 has the image's size."""
    fits = [flavor for flavor in flavors if flavor.memory >= memory and (flavor.disk >= disk or not flavor.disk)]
    return sorted(fits, key=lambda flavor: (flavor.memory, flavor.vcpus, flavor.disk))


def _proposal(fitting: Sequence[Flavor]) -> str:
    if not fitting:
        return "no flavor of this cloud fits: ask its operator for one"
    first = fitting[0]
    return f"{first.name} fits: {first.vcpus} VCPUs, {first.memory} MB of memory, {first.disk} GB of disk"


def _image(spec: ClusterSpec, offer: CloudOffer) -> Iterator[Problem]:
    if spec.image is not None:
        yield from _named_image("--image", spec.image, offer.images)
        yield from _format("--image", spec.image, spec.flavor, offer)
    elif cluster_image(spec, offer) is None:
        other = choose_image(None, offer.images) is not None
        reason = f"the flavor {spec.flavor} boots disks only, and this cloud has none" if other else NO_IMAGE
        yield Problem("--image", "", reason, DISK_HINT)


def _named_image(option: str, name: str, images: Sequence[Image]) -> Iterator[Problem]:
    ours = [image.name for image in images if not _missing_properties(image)]
    image = choose_image(name, images)
    if image is None:
        yield Problem(option, name, "no such image", choices(name, ours))
    elif lacking := _missing_properties(image):
        reason = f"not a Moorage node image: it lacks the properties {', '.join(lacking)}"
        yield Problem(option, name, reason, one_of(ours) or DISK_HINT)
    elif image.status != "active":
        yield Problem(option, image.name, f"it is {image.status}, not active", one_of(ours))


def _missing_properties(image: Image) -> list[str]:
    lacking = [name for name in IMAGE_PROPERTIES if not image.properties.get(name)]
    return [*(f"{key}={value}" for key, value in OURS.items() if image.properties.get(key) != value), *lacking]


def _external_network(spec: ClusterSpec, networks: Sequence[ExternalNetwork]) -> Iterator[Problem]:
    if choose_network(spec, networks) is not None:
        return
    names = [network.name or network.id for network in networks]
    if spec.external_network:
        reason = "no external network of that name, so that there are no floating IPs"
        yield Problem("--external-network", spec.external_network, reason, choices(spec.external_network, names))
    elif names:
        yield Problem("--external-network", "", "the cloud has several external networks", one_of(names))
    else:
        reason = "the cloud has no external network, so that there are no floating IPs"
        yield Problem("--external-network", "", reason, "ask its operator for one")


def _addresses(spec: ClusterSpec, addresses: Sequence[str]) -> Iterator[Problem]:
    for option, text in (
        ("--node-cidr", spec.node_cidr),
        ("--pod-cidr", spec.pod_cidr),
        ("--service-cidr", spec.service_cidr),
    ):
        network = parse_network(text)
        inside = [a for a in addresses if not isinstance(network, str) and IPv4Address(a) in network]
        if inside:
            yield Problem(
                option,
                text,
                f"it contains {inside[0]}, an address of the cloud that nodes must reach",
                "another network",
            )


def quota_problems(required: Mapping[str, int], offer: CloudOffer) -> Iterator[Problem]:
    """What is needed of each quota, where less is available."""
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


def _named(name: str, resources: Sequence[T]) -> T | None:
    return next((resource for resource in resources if name in (resource.name, resource.id)), None)
