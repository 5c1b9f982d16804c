"""Check a spec against its cloud, and complete what it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.images import Image, Images
from moorage.clusters.preflight.offer import (
    OURS,
    CloudOffer,
    added_problems,
    choose_network,
    cluster_image,
    group_image,
    problems,
)
from moorage.clusters.preflight.problem import error_of
from moorage.model.cluster import ClusterSpec
from moorage.model.errors import BadInput

DEFAULTS = ("flavor", "worker_flavor", "external_network")  # what clouds.yaml may name for new clusters


def check(cloud: Cloud, spec: ClusterSpec) -> ClusterSpec:
    """The spec with everything that it left open: the image's id, flavors and external network.

    BadInput or QuotaExceeded lists all problems in one message.
    """
    cloud.identity.ca_certificates()
    spec, offer = with_defaults(spec, cloud.defaults), _offer(cloud, spec)
    if found := problems(spec, offer):
        raise error_of(found)
    image, network = cluster_image(spec, offer), choose_network(spec, offer.external_networks)
    assert image is not None
    assert network is not None
    name = spec.external_network or network.name or network.id
    return replace(_with_groups(spec, offer), image=image.id, external_network=name)


def check_added(cloud: Cloud, spec: ClusterSpec, added: Mapping[str, int]) -> ClusterSpec:
    """The spec of a cluster that exists, with everything that its groups left open.

    `added` are the numbers of nodes that it does not have yet, by group. Errors as `check`.
    """
    spec, offer = with_defaults(spec, cloud.defaults), _offer(cloud, spec)
    if found := added_problems(spec, added, offer):
        raise error_of(found)
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
        image = group_image(group, spec, offer)
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


def _offered_images(images: Images, spec: ClusterSpec) -> list[Image]:
    """The Moorage images, and the one that the spec names, whatever it is."""
    ours = images.list(OURS)
    named = {name for name in (spec.image, *(group.image for group in spec.groups)) if name}
    others = [found for name in sorted(named) if (found := images.find(name)) is not None and found not in ours]
    return [*ours, *others]
