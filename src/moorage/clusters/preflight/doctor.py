"""Check what a cloud has for clusters, before anybody creates one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Literal

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.servers import Flavor
from moorage.cloud.port.stacks import StackRequest
from moorage.clusters.preflight.offer import (
    CONTROL_PLANE_MEMORY,
    OURS,
    CloudOffer,
    choose_image,
    quota_problems,
    required_quotas,
    smallest_flavors,
)
from moorage.model.cluster import ClusterSpec, NodeGroup
from moorage.model.errors import MoorageError

State = Literal["ok", "limited", "missing"]
UPLOAD = "moorage image build --for server, moorage image upload --for server"
HEAT_TIME = 120.0
"""Seconds that the creation of a stack with one resource may take."""
TEMPLATE = """heat_template_version: rocky
resources:
  handle: {type: OS::Heat::WaitConditionHandle, properties: {signal_transport: HEAT_SIGNAL}}
"""
"""The handle through which nodes signal: Heat creates a user for it in its own domain."""


@dataclass(frozen=True)
class Finding:
    """What clusters need. Without what is `missing`, none can be created; what is `limited`, they can do without."""

    requirement: str
    state: State
    found: str
    fix: str = ""


def examine(cloud: Cloud, report: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> list[Finding]:
    """Check everything; it creates an application credential and a stack, and deletes them.

    Without Keystone nothing else can be checked. Other services are checked independently.
    """
    name = f"moorage-doctor-{token_hex(4)}"
    checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("credentials", lambda: _credentials(cloud)),
        ("application credential", lambda: _application_credential(cloud, name)),
        ("node image", lambda: _image(cloud)),
        ("flavor", lambda: _flavor(cloud)),
        ("external network", lambda: _external_network(cloud)),
        (f"Heat, with the stack {name}", lambda: _heat(cloud, name, sleep)),
        ("load balancers", lambda: _load_balancers(cloud)),
        ("volumes", lambda: _volumes(cloud)),
        ("quotas", lambda: _quotas(cloud)),
    )
    found: list[Finding] = []
    for requirement, check in checks:
        report(f"checking {requirement}")
        found.append(_checked(requirement.partition(",")[0], check))
        if requirement == "credentials" and found[-1].state != "ok":
            break
    return found


def _checked(requirement: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except MoorageError as error:
        return Finding(requirement, "missing", error.message, error.hint)


def _credentials(cloud: Cloud) -> Finding:
    cloud.identity.addresses()  # of the catalog, which comes with a token
    region = cloud.identity.region
    return Finding("credentials", "ok", f"project {cloud.identity.project}" + (f", region {region}" if region else ""))


def _application_credential(cloud: Cloud, name: str) -> Finding:
    """A cluster calls its cloud with one."""
    try:
        created = cloud.identity.create_credential(name)
    except MoorageError as error:
        reason = f"clusters have no load balancers and volumes: {error.message}"
        return Finding("application credential", "limited", reason, error.hint)
    cloud.identity.delete_credential(created.id)
    return Finding("application credential", "ok", "this user can create one for each cluster")


def _image(cloud: Cloud) -> Finding:
    image = choose_image(None, cloud.images.list(OURS))
    if image is None:
        return Finding("node image", "missing", "the cloud has no Moorage node image", UPLOAD)
    return Finding("node image", "ok", f"{image.name} is the default")


def _flavor(cloud: Cloud) -> Finding:
    fitting, default = _fitting(cloud), cloud.defaults.get("flavor", "")
    if not fitting:
        reason = f"no flavor has {CONTROL_PLANE_MEMORY} MB of memory and the image's disk"
        return Finding("flavor", "missing", reason, "ask the cloud's operator for one")
    if default and default not in {flavor.name for flavor in fitting}:
        reason = f"{default}, the default in clouds.yaml, does not exist or is too small"
        return Finding("flavor", "missing", reason, f"name another, such as {fitting[0].name}")
    names = ", ".join(flavor.name for flavor in fitting[:4])
    return Finding("flavor", "ok", f"{default} is the default" if default else f"these fit: {names}; pass --flavor")


def _external_network(cloud: Cloud) -> Finding:
    names = sorted(network.name or network.id for network in cloud.network.external_networks())
    default = cloud.defaults.get("external_network", "")
    if not names or (default and default not in names):
        reason = f"{default} in clouds.yaml is none" if names else "the cloud has none, so there are no floating IPs"
        return Finding("external network", "missing", reason, "ask the cloud's operator for one")
    chosen = default or (names[0] if len(names) == 1 else "")
    return Finding("external network", "ok", chosen or f"{', '.join(names)}; pass --external-network")


def _heat(cloud: Cloud, name: str, sleep: Callable[[float], None]) -> Finding:
    try:
        cloud.stacks.create(StackRequest(name, TEMPLATE, {}, {}, (name,), timeout_minutes=5))
        return _created(cloud, name, sleep)
    finally:
        if (stack := cloud.stacks.get(name)) is not None:
            cloud.stacks.delete(stack)


def _created(cloud: Cloud, name: str, sleep: Callable[[float], None]) -> Finding:
    stack, waited = cloud.stacks.get(name), 0.0
    while stack and stack.status == "CREATE_IN_PROGRESS" and waited < HEAT_TIME:
        sleep(1.0)
        waited += 1.0
        stack = cloud.stacks.get(name)
    if stack is None:
        return Finding("Heat", "missing", f"the stack {name} disappeared while it was created")
    if stack.status == "CREATE_COMPLETE":
        return Finding("Heat", "ok", "it creates stacks that nodes can signal to")
    reason = f"{stack.status} after {waited:.0f} s: {stack.reason}"
    fix = "ask the cloud's operator for a stack domain, and for the role heat_stack_owner if the cloud has it"
    return Finding("Heat", "missing", reason, fix)


def _load_balancers(cloud: Cloud) -> Finding:
    port = cloud.load_balancers
    if port is None:
        return Finding("load balancers", "limited", "no Octavia: Services of type LoadBalancer get no address")
    port.tagged("moorage-doctor")
    return Finding("load balancers", "ok", "Octavia answers")


def _volumes(cloud: Cloud) -> Finding:
    port = cloud.volumes
    if port is None:
        return Finding("volumes", "limited", "no Cinder: pods have no persistent volumes")
    port.list("moorage-doctor")
    return Finding("volumes", "ok", "Cinder answers")


def _quotas(cloud: Cloud) -> Finding:
    """For the smallest cluster: a control plane and one worker."""
    flavors, images = cloud.servers.flavors(), cloud.images.list(OURS)
    fitting, default = _fitting(cloud), cloud.defaults.get("flavor", "")
    flavor = default or (fitting[0].name if fitting else "")
    spec = ClusterSpec("doctor", (NodeGroup(count=1),), flavor=flavor)
    offer = CloudOffer(flavors, images, (), {**cloud.servers.quotas(), **cloud.network.quotas()})
    problems = list(quota_problems(required_quotas(spec, flavors), offer))
    if problems:
        lacking = "; ".join(f"{problem.parameter.removeprefix('quota of ')}: {problem.reason}" for problem in problems)
        return Finding("quotas", "missing", lacking, problems[0].alternative)
    return Finding("quotas", "ok", f"a control plane and a worker of {flavor or 'any flavor'} fit")


def _fitting(cloud: Cloud) -> list[Flavor]:
    image = choose_image(None, cloud.images.list(OURS))
    return smallest_flavors(cloud.servers.flavors(), CONTROL_PLANE_MEMORY, image.min_disk if image else 0)
