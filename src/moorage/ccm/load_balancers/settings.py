"""The settings for all load balancers of a cluster, and the capabilities of Octavia's providers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from moorage.cloud.port.network import ClusterNetwork
from moorage.model.errors import BadInput


@dataclass(frozen=True)
class Provider:
    """The capabilities of an Octavia provider. The first algorithm is the default.

    `transparent`: packets reach the nodes with the clients' addresses, so that only a security group can filter them.
    `inline_monitors`: Octavia can create health monitors in the same call as the load balancer.
    `http`: HTTP listeners and the PROXY protocol. `limits`: connection limits and timeouts of listeners.
    """

    name: str
    algorithms: tuple[str, ...]
    monitors: tuple[str, ...]
    transparent: bool = False
    inline_monitors: bool = True
    http: bool = True
    limits: bool = True
    flavors: bool = True


AMPHORA = Provider(
    "amphora",
    ("ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"),
    ("TCP", "UDP-CONNECT", "HTTP", "SCTP"),
)
OVN = Provider(
    "ovn",
    ("SOURCE_IP_PORT", "SOURCE_IP"),
    ("TCP", "UDP-CONNECT"),
    transparent=True,
    inline_monitors=False,
    http=False,
    limits=False,
    flavors=False,
)
PROVIDERS = {"amphora": AMPHORA, "octavia": AMPHORA, "ovn": OVN}


@dataclass(frozen=True)
class Monitoring:
    """The defaults of health monitors; times in seconds."""

    delay: int = 5
    timeout: int = 3
    max_retries: int = 1
    max_retries_down: int = 3


@dataclass(frozen=True)
class Settings:
    """Ids are those of the cloud. `cidr` is the range of the nodes' subnet, `group` the security group of all nodes.

    Load balancers get their address from `subnet` and, except for internal ones, a floating IP from
    `floating_network`, which may be empty where there is none. Moorage serves Services with the loadBalancerClass
    `load_balancer_class` and those without a class.
    """

    cluster: str
    subnet: str
    cidr: str
    group: str
    floating_network: str = ""
    provider: Provider = OVN
    monitoring: Monitoring = Monitoring()
    load_balancer_class: str = "openstack.org/octavia"


def settings_for(cluster: str, network: ClusterNetwork, available: Collection[str], requested: str = "") -> Settings:
    """The settings for a cluster on `network`, in a cloud with the Octavia providers `available`.

    Uses the provider `requested`; the default is amphora, which supports most features, before ovn. Raises BadInput
    when none of these is available.
    """
    candidates = [requested] if requested else PROVIDERS
    name = next((name for name in candidates if name in available and name in PROVIDERS), None)
    if name is None:
        expected, offered = requested or " or ".join(PROVIDERS), ", ".join(available) or "no Octavia"
        raise BadInput(f"load balancers need an Octavia with the provider {expected}; this cloud has {offered}")
    return Settings(
        cluster, network.subnet.id, network.subnet.cidr, network.group, network.external_network, PROVIDERS[name]
    )
