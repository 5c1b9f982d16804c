"""The port `Cloud` on a real OpenStack."""

from __future__ import annotations

from collections.abc import Mapping

from moorage.cloud.openstack.identity import OpenStackIdentity
from moorage.cloud.openstack.images import OpenStackImages
from moorage.cloud.openstack.load_balancers import OCTAVIA, OpenStackLoadBalancers
from moorage.cloud.openstack.network import OpenStackNetwork
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.openstack.servers import OpenStackServers
from moorage.cloud.openstack.stacks import OpenStackStacks
from moorage.cloud.openstack.volumes import CINDER, OpenStackVolumes


class OpenStackCloud:
    """The port `Cloud` on a real OpenStack."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.identity = OpenStackIdentity(rest)
        self.stacks = OpenStackStacks(rest)
        self.servers = OpenStackServers(rest)
        self.images = OpenStackImages(rest)
        self.network = OpenStackNetwork(rest)

    @property
    def defaults(self) -> Mapping[str, str]:
        return self.rest.defaults

    @classmethod
    def connect(cls, name: str | None) -> OpenStackCloud:
        """Use an entry of clouds.yaml, or the environment's credentials; BadInput when there are none."""
        return cls(Rest.connect(name))

    @property
    def load_balancers(self) -> OpenStackLoadBalancers | None:
        return OpenStackLoadBalancers(self.rest) if self.rest.has_service(OCTAVIA) else None

    @property
    def volumes(self) -> OpenStackVolumes | None:
        return OpenStackVolumes(self.rest) if self.rest.has_service(CINDER) else None
