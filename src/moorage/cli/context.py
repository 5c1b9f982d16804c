"""What a command gets as `ctx.obj`: paths, and functions that connect to the cloud and to Kubernetes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from moorage.config import Paths

if TYPE_CHECKING:
    from moorage.cloud.port.cloud import Cloud
    from moorage.kube.kubeconfig import KubeAccess
    from moorage.kube.port import KubernetesClient


@dataclass(frozen=True)
class Context:
    """Created once by `moorage.bootstrap`; commands connect when they need to.

    `cloud_name` is an entry of clouds.yaml, or None for the environment's (OS_CLOUD, OS_*).
    """

    paths: Paths
    connect_cloud: Callable[[str | None], Cloud]
    connect_kube: Callable[[KubeAccess], KubernetesClient]
    cloud_name: str | None = None

    def cloud(self) -> Cloud:
        """Connect to the cloud that the user named; CloudUnreachable, BadInput."""
        return self.connect_cloud(self.cloud_name)


pass_context = click.make_pass_decorator(Context)
