"""Deletes the resources that a cluster owns: observe, plan, execute. It resumes after an interruption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.load_balancers import LoadBalancers
from moorage.cloud.port.volumes import Volumes
from moorage.clusters.owned.network import plan_network
from moorage.clusters.owned.observe import observe
from moorage.clusters.owned.resources import (
    CleanupPreview,
    DeleteAttachment,
    DeleteFloatingIP,
    DeleteListener,
    DeleteLoadBalancer,
    DeletePool,
    DeleteServer,
    DeleteSnapshot,
    DeleteVolume,
    Deletion,
    KeepSnapshot,
    KeepVolume,
    ReleaseFloatingIP,
    SetTags,
)
from moorage.clusters.owned.storage import plan_retention, plan_storage
from moorage.model.cluster import OwnedResource
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound
from moorage.model.ownership import RECLAIM_MARK, RETAIN

T = TypeVar("T")
MARK = {RECLAIM_MARK: RETAIN}


@dataclass
class Cleanup:
    """The cleanup of one cluster; `keep` keeps all volumes and snapshots.

    `.seen` is the last preview. `kept` are all resources that are kept, by id, each as it was first seen: a resource
    that is marked as kept no longer has its original reason.
    """

    cloud: Cloud
    cluster: str
    keep: bool = False
    seen: CleanupPreview | None = None
    kept: dict[str, OwnedResource] = field(default_factory=dict)
    _asked: Counter[str] = field(default_factory=Counter)

    def observe(self, *, stackless: bool) -> CleanupPreview:
        """The plans for what is observed now. CloudUnreachable when a service does not answer."""
        observed = observe(self.cloud, self.cluster, stackless=stackless)
        self.seen = CleanupPreview(
            plan_retention(observed, self.keep, self._asked),
            plan_network(observed, self._asked),
            plan_storage(observed, self.keep, self._asked),
        )
        self.kept = {resource.id: resource for resource in self.seen.kept} | self.kept
        return self.seen

    def execute(self, deletions: Iterable[Deletion], report: Callable[[str], None]) -> None:
        """Execute deletions. A rejected one is planned again; when a service does not answer, the rest waits too."""
        for deletion in deletions:
            report(deletion.text)
            try:
                self._delete(deletion)
            except NotFound:
                continue  # deleted meanwhile
            except (Conflict, BadInput) as error:
                report(f"{deletion.text}: {error.message}")
            except CloudUnreachable as error:
                report(f"waiting for the cloud: {error.message}")
                return
            self._asked[deletion.id] += 1

    def _delete(self, deletion: Deletion) -> None:
        match deletion:
            case DeleteServer():
                self.cloud.servers.delete(deletion.id)
            case DeleteFloatingIP():
                self.cloud.network.delete_floating_ip(deletion.id)
            case ReleaseFloatingIP():
                self.cloud.network.associate_floating_ip(deletion.id, "")
                self.cloud.network.set_floating_ip_description(deletion.id, "")
            case DeleteLoadBalancer() | DeletePool() | DeleteListener() | SetTags():
                _execute_octavia(_present(self.cloud.load_balancers), deletion)
            case _:
                _execute_cinder(_present(self.cloud.volumes), deletion)


def _present(port: T | None) -> T:
    assert port is not None, "the resource was found through this service"
    return port


def _execute_octavia(do: LoadBalancers, deletion: Deletion) -> None:
    match deletion:
        case DeleteLoadBalancer():
            do.delete(deletion.id)
        case DeletePool():
            do.delete_pool(deletion.id)
        case DeleteListener():
            do.delete_listener(deletion.id)
        case SetTags():
            do.set_tags(deletion.id, deletion.tags)


def _execute_cinder(do: Volumes, deletion: Deletion) -> None:
    match deletion:
        case DeleteSnapshot():
            do.delete_snapshot(deletion.id)
        case DeleteVolume():
            do.delete(deletion.id)
        case DeleteAttachment():
            do.delete_attachment(deletion.id)
        case KeepVolume():
            do.set_metadata(deletion.id, MARK)
        case KeepSnapshot():
            do.set_snapshot_metadata(deletion.id, MARK)
