"""The events of a cluster: what happened, when and why. Heat and Kubernetes keep them, for every machine to read.

Moorage's own are signals to a handle in the base stack: Heat keeps them as events of that stack.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.stacks import Stack, StackEvent
from moorage.clusters import explain
from moorage.clusters.parameters import creations
from moorage.clusters.progress import REQUESTED, Run
from moorage.clusters.steps import Attempts
from moorage.kube.port import EVENTS, KubernetesClient, Object
from moorage.model.cluster import ClusterEvent
from moorage.model.errors import CloudUnreachable, KubernetesUnreachable

HANDLE = "events"  # the resource of the base stack
OWN = re.compile(r"status:(?P<status>\w+) reason:(?P<reason>\w+) (?P<object>\S+): (?P<message>.*)", re.DOTALL)
COMPONENTS = "moorage-"  # how the names of Moorage's components begin, which record Events in Kubernetes
ADDED, REPLACED, REPAIRED = "NodesAdded", "NodesReplaced", "NodesRepaired"
RETRIED, DELETED_AGAIN = "StackRetried", "DeletionRetried"
ACTIONS = {"CREATE": "Creation", "UPDATE": "Update", "DELETE": "Deletion"}
STATES = {"IN_PROGRESS": "Started", "COMPLETE": "Completed", "FAILED": "Failed"}


def send(cloud: Cloud, base: Stack, run: Run) -> None:
    """Let Heat keep the events of this run that it does not have yet; the next call tries those that it rejects."""
    while run.sent < len(run.events):
        event = run.events[run.sent]
        text = f"{event.reason} {event.object}: {event.message}"
        try:
            if not cloud.stacks.signal(base, HANDLE, text, failure=event.warning):
                return
        except CloudUnreachable as error:
            run.log.record(f"trying again: {error.message}")
            return
        run.sent += 1


def attempts(cloud: Cloud, base: Stack, run: Run) -> Attempts:
    """What was attempted for the last request: by this run if it has one of its own, else by all runs since.

    Heat adds a signal to the events a moment after it accepted it, so this run's own ones count in any case.
    """
    if run.request:
        return Attempts(creations(base) if run.events else 0) | _count(run.events)
    kept = own(cloud.stacks.events(base))
    begun = max((index for index, event in enumerate(kept) if event.reason == REQUESTED), default=0)
    return Attempts(creations(base)) | _count(kept[begun:]) | _count(run.events)


def _count(events: Iterable[ClusterEvent]) -> Attempts:
    """A stack that gets more nodes was complete before: its attempts are counted from zero."""
    repaired: Counter[str] = Counter()
    replaced: Counter[str] = Counter()
    for event in events:
        if event.reason == ADDED:
            repaired[event.object] = replaced[event.object] = 0
        repaired[event.object] += event.reason in (REPAIRED, RETRIED, DELETED_AGAIN)
        replaced[event.object] += event.reason in (REPAIRED, REPLACED)
    return Attempts(repairs=repaired, replacements=replaced)


def own(events: Iterable[StackEvent]) -> list[ClusterEvent]:
    """Moorage's own among the events of a base stack."""
    found = ((event, OWN.search(event.reason)) for event in events if event.path == (HANDLE,))
    return [
        ClusterEvent(event.time, match["reason"], match["object"], match["message"], match["status"] == "FAILURE")
        for event, match in found
        if match
    ]


def of_stack(stack: Stack, events: Iterable[StackEvent]) -> list[ClusterEvent]:
    """What Heat did with a stack and what of it failed, and which nodes became Ready."""
    found = (_of_stack(stack, event) for event in events if event.path != (HANDLE,))
    return [event for event in found if event is not None]


def _of_stack(stack: Stack, event: StackEvent) -> ClusterEvent | None:
    action, _, state = event.status.partition("_")
    failed = state == "FAILED"
    if failed and explain.cancelled(event.reason):
        return None
    if not event.path:
        reason = f"{ACTIONS.get(action, action)}{STATES.get(state, state)}"
        return ClusterEvent(event.time, reason, stack.name, explain.own_message(event.reason), failed)
    name = explain.name_at(event.path, stack.name)
    if failed:
        message = f"{event.path[-1].replace('_', ' ')}: {explain.own_message(event.reason)}"
        return ClusterEvent(event.time, f"{ACTIONS.get(action, action)}Failed", name, message, warning=True)
    if event.path[-1] in ("ready", "control_plane_ready") and event.status == "CREATE_COMPLETE":
        return ClusterEvent(event.time, "NodeReady", name, "the node is Ready")
    return None


def of_kubernetes(objects: Iterable[Object]) -> list[ClusterEvent]:
    """Those that Moorage's components recorded."""
    return [_of_kubernetes(it) for it in objects if _component(it).startswith(COMPONENTS)]


def _of_kubernetes(found: Object) -> ClusterEvent:
    about = found.get("involvedObject", {})
    name = "/".join(part for part in (about.get("namespace"), about.get("name")) if part)
    return ClusterEvent(
        found.get("lastTimestamp") or found.get("eventTime") or "",
        found.get("reason", ""),
        name,
        found.get("message", ""),
        found.get("type") == "Warning",
    )


def _component(found: Mapping[str, Any]) -> str:
    return str(found.get("reportingComponent") or found.get("source", {}).get("component") or "")


def of_cluster(cloud: Cloud, stacks: Sequence[Stack], kube: KubernetesClient | None) -> list[ClusterEvent]:
    """The events of a cluster with these stacks, the base stack first, oldest first. CloudUnreachable."""
    listed = [cloud.stacks.events(stack) for stack in stacks]
    found = own(listed[0])
    for stack, events in zip(stacks, listed, strict=True):
        found += of_stack(stack, events)
    with suppress(KubernetesUnreachable):
        found += of_kubernetes(kube.list(EVENTS).items) if kube else []
    return sorted(found, key=lambda event: event.time)
