"""What an operator configures for all load balancers of a cluster, and what Octavia's providers support."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from moorage.cloud.network import ClusterNetwork
from moorage.model.errors import BadInput


@dataclass(frozen=True)
class Provider:
    """What an Octavia provider supports; its first algorithm is the default.

    `transparent`: packets reach the nodes with the client's address, so that security groups must filter clients.
    `whole`: health monitors can be created in one call with the load balancer.
    """

    name: str
    algorithms: tuple[str, ...]
    monitors: tuple[str, ...]
    transparent: bool = False
    whole: bool = True
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
    whole=False,
    http=False,
    limits=False,
    flavors=False,
)
PROVIDERS = {"amphora": AMPHORA, "octavia": AMPHORA, "ovn": OVN}


@dataclass(frozen=True)
class Monitoring:
    """The default health monitor; times in seconds."""

    delay: int = 5
    timeout: int = 3
    max_retries: int = 1
    max_retries_down: int = 3


@dataclass(frozen=True)
class Settings:
    """Ids are the cloud's. `cidr` is that of the nodes' subnet; `group` is the nodes' security group.

    Load balancers get an address from `subnet` and, unless they are internal, a floating IP from `floating_network`,
    which may be empty. `own_class` is our loadBalancerClass; Services without a class are ours too.
    """

    cluster: str
    subnet: str
    cidr: str
    group: str
    floating_network: str = ""
    provider: Provider = OVN
    monitoring: Monitoring = Monitoring()
    own_class: str = "openstack.org/octavia"


def settings_for(cluster: str, home: ClusterNetwork, offered: Collection[str], asked: str = "") -> Settings:
    """The settings for a cluster at `home`, in a cloud with these Octavia providers; `asked` is the one to use.

    By default amphora, which supports most, else ovn. BadInput when the cloud has no suitable one.
    """
    name = next((known for known in ([asked] if asked else PROVIDERS) if known in offered and known in PROVIDERS), None)
    if name is None:
        wanted, there = asked or " or ".join(PROVIDERS), ", ".join(offered) or "no Octavia"
        raise BadInput(f"load balancers need an Octavia with the provider {wanted}; this cloud has {there}")
    return Settings(cluster, home.subnet.id, home.subnet.cidr, home.group, home.external_network, PROVIDERS[name])
