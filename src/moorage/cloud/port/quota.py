"""A project's quota of one kind of resource."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quota:
    """`limit` None means unlimited."""

    used: int
    limit: int | None

    @property
    def available(self) -> int | None:
        return None if self.limit is None else self.limit - self.used

    @classmethod
    def from_limit(cls, used: int, limit: int) -> Quota:
        """A quota as OpenStack gives it, where a negative limit means unlimited."""
        return cls(used, None if limit < 0 else limit)
