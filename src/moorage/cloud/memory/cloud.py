"""A cloud in memory: keeps state as the real one does, and has switches for faults."""

from __future__ import annotations

from dataclasses import dataclass, field

from moorage.cloud.memory.identity import MemoryIdentity
from moorage.cloud.memory.images import MemoryImages
from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.memory.network import MemoryNetwork
from moorage.cloud.memory.stacks import MemoryStacks, StackServers
from moorage.cloud.memory.volumes import MemoryVolumes


@dataclass
class MemoryCloud:
    """The port `Cloud`. The services have the switches for faults."""

    load_balancers: MemoryLoadBalancers | None = field(default_factory=MemoryLoadBalancers)
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    volumes: MemoryVolumes | None = field(default_factory=MemoryVolumes)
    identity: MemoryIdentity = field(default_factory=MemoryIdentity)
    images: MemoryImages = field(default_factory=MemoryImages)
    defaults: dict[str, str] = field(default_factory=lambda: {"flavor": "m1.node"})
    stacks: MemoryStacks = field(init=False)
    servers: StackServers = field(init=False)

    def __post_init__(self) -> None:
        self.stacks = MemoryStacks(self.load_balancers, self.volumes)
        self.servers = StackServers(self.stacks)
        self.network.stacks = self.stacks

    def fail(self, why: str) -> None:
        """From now on no service answers, with that reason, the service's name first; "" ends it."""
        for service in (self.identity, self.stacks, self.servers, self.images, self.network):
            service.unreachable = why
