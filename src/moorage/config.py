"""The folders of the cache, of the local cloud's state, and of its sockets.

Each may be set by an environment variable; nothing else in Moorage reads the environment for a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The folders that Moorage uses on this machine.

    `cache` can be deleted at any time and is filled again (MOORAGE_CACHE); `state` has the local cloud's data and logs
    (MOORAGE_STATE); `run` its sockets and pids (MOORAGE_RUN); `data` the keys of the user's clusters, and those that
    the user trusts (XDG_DATA_HOME, by the XDG Base Directory Specification).
    """

    cache: Path
    state: Path
    run: Path
    data: Path

    @property
    def trusted_keys(self) -> Path:
        """Public keys of publishers that this user trusts."""
        return self.data / "trusted-keys"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Paths:
        home = Path(environment.get("HOME", "/root"))
        return cls(
            cache=Path(environment.get("MOORAGE_CACHE") or home / ".cache" / "moorage"),
            state=Path(environment.get("MOORAGE_STATE") or "/var/lib/moorage"),
            run=Path(environment.get("MOORAGE_RUN") or "/run/moorage"),
            data=Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "moorage",
        )
