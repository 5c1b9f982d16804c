"""Load balancers in memory with changes that take time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.port.load_balancers import ACTIVE, LoadBalancer


@dataclass
class SlowLoadBalancers(MemoryLoadBalancers):
    """After a change a load balancer is PENDING for that many seconds, however often it is read."""

    pending: float = 0.0
    _due: dict[str, float] = field(default_factory=dict)

    def __init__(self, pending: float, on_delete: object = None) -> None:
        super().__init__(pending_polls=1, quota=100_000, on_delete=on_delete or (lambda port: None))  # type: ignore[arg-type]
        self.pending, self._due = pending, {}

    def right(self, members: int) -> int:
        """The number of load balancers that are ACTIVE and have that many members on every port."""
        return sum(_right(found, members) for found in self._read_all())

    def _set_pending(self, id: str) -> None:
        self._due[id] = time.monotonic() + self.pending
        super()._set_pending(id)

    def _advance(self, id: str, read: bool = True) -> None:
        if id in self._remaining_polls and time.monotonic() >= self._due.get(id, 0.0):
            self._remaining_polls[id] = 0
            super()._advance(id, read=False)


def _right(found: LoadBalancer, members: int) -> bool:
    return found.provisioning_status == ACTIVE and all(
        held.pool is not None and len(held.pool.members) == members for held in found.listeners
    )
