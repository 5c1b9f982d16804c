"""What a command gets as `ctx.obj`: paths, and the ways to reach the three outside worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from moorage.config import Paths

if TYPE_CHECKING:
    from moorage.cloud.port import Cloud
    from moorage.kube.port import Kube, KubeAccess


@dataclass(frozen=True)
class Context:
    """Made once by `moorage.bootstrap`; connections are made when a command asks, not before.

    `cloud_name` is an entry of clouds.yaml, or None for the environment's (OS_CLOUD, OS_*).
    """

    paths: Paths
    connect_cloud: Callable[[str | None], Cloud]
    connect_kube: Callable[[KubeAccess], Kube]
    cloud_name: str | None = None

    def cloud(self) -> Cloud:
        """Connect to the cloud that the user named; raises CloudUnreachable or BadInput."""
        return self.connect_cloud(self.cloud_name)


pass_context = click.make_pass_decorator(Context)
