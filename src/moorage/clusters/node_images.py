"""Give nodes another image in place: in the slot that they did not boot, and booted once they are drained.

What is to be done is read from the Node each time, so any run continues. On the node, a pod runs moorage-node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.images import Image
from moorage.clusters import drain, events, kubernetes, node_pods
from moorage.clusters.kubernetes import KubeNode
from moorage.clusters.nodes import NodeExecutor
from moorage.clusters.observer import ConnectKube, Observer
from moorage.clusters.preflight.offer import FORMAT, KUBERNETES, OURS, check_kubelet_skew, choose_image
from moorage.clusters.progress import EVERY_SECOND, PollInterval, Report, Run
from moorage.clusters.reconcile import recorded, session
from moorage.clusters.waiting import NO_KEY
from moorage.kube.port import NODES, PODS, SECRETS, KubernetesClient, Object, Resource
from moorage.model.boot import SQUASHFS
from moorage.model.cluster import CONTROL_PLANE, DrainOptions
from moorage.model.errors import BadInput, Conflict, Failed, KubernetesUnreachable, MoorageError, NotFound
from moorage.model.image_statement import SIGNATURE, STATEMENT
from moorage.model.nodes import CORDONED, FAILED_IMAGE, IMAGE, IMAGE_FORMAT, OTHER_IMAGE, RETURNING

Result = TypeVar("Result")
TIMEOUT = 1800.0
"""Seconds for one node: fetching the image, and three boots."""
ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class NodeImages:
    """The images of one cluster's nodes.

    Every call may raise Failed with the reason, TimedOut, CloudUnreachable, NotFound for a node that does not exist.
    Without `drain` options, nodes are rebooted with their pods.
    """

    cloud: Cloud
    connect_kube: ConnectKube
    data_folder: Path
    cluster: str
    report: Report
    timeout: float = TIMEOUT
    poll: PollInterval = EVERY_SECOND

    def update(self, nodes: Sequence[str], image: str | None, options: DrainOptions | None) -> None:
        """Give these nodes an image, one after the other; the newest of the cloud by default.

        BadInput for an image that they cannot run. Failed when a node did not come up with it: it runs the former one.
        The control plane comes first, because no kubelet may be newer.
        """
        with self._run(nodes, f"update to {image or 'the newest image'}", options) as (kube, there, begin):
            formats = {node: _format(kube.get(NODES, node)) for node in nodes}
            images = {format: self._choose(image, format) for format in set(formats.values())}
            for chosen in images.values():
                check_kubelet_skew(str(chosen.properties.get(KUBERNETES, "")), _versions(there), nodes)
            for node in sorted(nodes, key=lambda name: there[name].group != CONTROL_PLANE):
                chosen = images[formats[node]]
                command = partial(self._command, chosen)
                begin(node).run_until_done(command, chosen.properties["moorage_version"], options is not None)

    def _command(self, image: Image) -> node_pods.HostCommand:
        """The update of a node, with a new token."""
        download, properties = self.cloud.images.download(image.id), image.properties
        words = (download.url, _hash(image), properties["moorage_version"], "--format", properties["moorage_format"])
        signed = {"MOORAGE_STATEMENT": STATEMENT, "MOORAGE_SIGNATURE": SIGNATURE}
        secrets = {name: properties[key] for name, key in signed.items() if key in properties}
        secrets["MOORAGE_TOKEN"] = download.token
        return node_pods.HostCommand("update", ("/usr/bin/moorage-node", "update", *words), secrets)

    def roll_back(self, nodes: Sequence[str], options: DrainOptions | None) -> None:
        """Return these nodes to the image in their other slot, one after the other; Conflict without a healthy one.

        After an interruption, only the nodes that have not returned yet do so.
        """
        with self._run(nodes, "return to the former image", options) as (kube, _, begin):
            for node, version in _targets(kube, nodes).items():
                command = node_pods.HostCommand("rollback", ("/usr/bin/moorage-node", "rollback", version))
                begin(node).run_until_done(lambda command=command: command, version, options is not None)  # type: ignore[misc]

    def _choose(self, name: str | None, format: str) -> Image:
        """The image of that name, or the newest one, for nodes that boot this format."""
        ours = self.cloud.images.list(OURS)
        right = [image for image in ours if image.properties.get(FORMAT) == format]
        image = choose_image(name, [*ours, *self._named(name)] if name else right)
        if image is None or not image.properties.get("moorage_version"):
            raise NotFound(
                f"the cloud has no Moorage image {name or f'of the format {format}'}", "moorage image upload"
            )
        if image.properties.get(FORMAT) != format:
            raise BadInput(f"{image.name} is not of the format {format}, which these nodes boot")
        if not _hash(image):
            raise BadInput(f"{image.name} has no hash among its properties", "upload it again: moorage image upload")
        return image

    def _named(self, name: str | None) -> list[Image]:
        found = self.cloud.images.find(name) if name else None
        return [found] if found else []

    @contextmanager
    def _run(
        self, nodes: Sequence[str], request: str, options: DrainOptions | None
    ) -> Iterator[tuple[KubernetesClient, Mapping[str, KubeNode], Callable[[str], _NodeUpdate]]]:
        """The cluster's API, its nodes by name, and a function that begins the update of one. Events are kept."""
        timeout = len(nodes) * (self.timeout + (options.timeout if options else 0))
        arguments = (self.cloud, self.connect_kube, self.data_folder, self.cluster, self.report)
        with session(*arguments, timeout, self.poll, f"{', '.join(nodes)}: {request}") as (observer, run):
            observed = observer.observe()
            recorded(self.cluster, observed)
            if not observed.key or (kube := observer.kube(observed.base_stack)) is None:
                raise Failed(f"nodes cannot be changed here: {NO_KEY}", "run this where the cluster was created")
            there = {node.name: node for node in kubernetes.nodes(kube)}
            for node in nodes:
                if node not in there:
                    listed = ", ".join(sorted(there)) or "none"
                    raise NotFound(f"the cluster has no node {node!r}", f"there are: {listed}")
            executor = NodeExecutor(observer, run, options or DrainOptions())
            try:
                yield kube, there, lambda node: _NodeUpdate(kube, observer, run, executor, node)
            except MoorageError as error:
                run.act("ImageUpdateFailed", self.cluster, error.message, warning=True)
                raise
            finally:
                events.send(self.cloud, observed.base_stack, run)


def _hash(image: Image) -> str:
    """The SHA-256 of the image's file."""
    name = "moorage_sha256" if image.properties.get(FORMAT) == SQUASHFS else "moorage_file_sha256"
    return str(image.properties.get(name, ""))


def _format(node: Object | None) -> str:
    """The format that a node boots."""
    return (_annotation(node, IMAGE_FORMAT) if node else "") or SQUASHFS


def _versions(nodes: Mapping[str, KubeNode]) -> dict[str, tuple[str, bool]]:
    """Kubernetes' version of each node, and whether the node is a control plane."""
    return {name: (node.version, node.group == CONTROL_PLANE) for name, node in nodes.items()}


def _targets(kube: KubernetesClient, nodes: Sequence[str]) -> dict[str, str]:
    """The version to return to by node, recorded on all of them at the start.

    The nodes that an interrupted run has recorded and not finished, if there are any.
    """
    found = {node: kube.get(NODES, node) or {"metadata": {}} for node in nodes}
    begun = {node: version for node, there in found.items() if (version := _annotation(there, RETURNING))}
    if begun:
        return begun
    targets = {node: _annotation(there, OTHER_IMAGE) for node, there in found.items()}
    if without := [node for node, version in targets.items() if not version]:
        raise Conflict(
            f"{', '.join(without)}: no other image that was healthy", "moorage node update gives nodes any other image"
        )
    for node, version in targets.items():
        kube.patch(NODES, node, {"metadata": {"annotations": {RETURNING: version}}})
    return targets


@dataclass
class _NodeUpdate:
    """One node's way to another image."""

    kube: KubernetesClient
    observer: Observer
    run: Run
    executor: NodeExecutor
    node: str

    def run_until_done(self, command: Callable[[], node_pods.HostCommand], version: str, drained: bool) -> None:
        before = self._wait_until_ready()
        self._run_on_node(command())
        if _image(before) == version:
            self._finish()
            self.run.act("ImageUnchanged", self.node, f"{self.node} runs {version}")
            return
        self._patch({"metadata": {"annotations": {FAILED_IMAGE: None}}})
        if drained:
            self._drain(before)
        self._reboot(version)
        self._finish()
        self.run.act("ImageUpdated", self.node, f"{self.node} runs {version}")

    def _wait_until_ready(self) -> Object:
        """The Node; a reboot that an interrupted run has begun ends first."""
        while not _is_ready(found := self._get()):
            self.run.log.record(f"waiting for {self.node} to be Ready")
            self.run.wait()
        return found

    def _drain(self, before: Object) -> None:
        """Pods leave; a Node that was cordoned before stays cordoned."""
        if not before.get("spec", {}).get("unschedulable"):
            self._patch({"metadata": {"annotations": {CORDONED: "true"}}})
        base = self.observer.base()
        while base is not None and not self._ask(lambda: self.executor.drain_nodes([self.node], base, drain.cordon)):
            self.run.wait()

    def _reboot(self, version: str) -> None:
        """Reboot, until the node reports this image, or that it did not come up."""
        command = node_pods.HostCommand("switch", ("/usr/bin/moorage-node", "switch"))
        key = node_pods.name(self.node, command.action)
        self._delete(key)
        self._create(PODS, node_pods.pod(self.node, command))
        while True:
            node = self._get()
            if _image(node) == version and _is_ready(node):
                return
            if _annotation(node, FAILED_IMAGE) == version:
                self._finish()
                raise Failed(f"{self.node} did not come up with {version}; it runs {_image(node)} again")
            if (refused := self._refusal(key)) and _is_ready(node):
                self._finish()
                raise Failed(f"{self.node} was not rebooted: {refused}", "run the same command again")
            self.run.log.record(f"rebooting {self.node} into {version}")
            self.run.wait()

    def _refusal(self, key: str) -> str:
        """Why the node did not reboot. The log of a pod that a reboot has ended is empty, or says so."""
        pod = self._ask(lambda: self.kube.get(PODS, key))
        if pod is None or pod.get("status", {}).get("phase") not in ENDED:
            return ""
        last = self._ask(lambda: self.kube.last_log_line(key))
        return "" if last == "rebooting" else last

    def _finish(self) -> None:
        """Delete what the run needed, and let new pods on the node again."""
        for action in ("update", "rollback", "switch"):
            self._delete(node_pods.name(self.node, action))
        node = self._get()
        change: Object = {"metadata": {"annotations": {RETURNING: None, CORDONED: None}}}
        if _annotation(node, CORDONED):
            change["spec"] = {"unschedulable": None}
        self._patch(change)

    def _run_on_node(self, command: node_pods.HostCommand) -> None:
        """Run a command in a pod until it ends; Failed with the last line of its output."""
        key = node_pods.name(self.node, command.action)
        self._delete(key)
        try:
            if command.secrets:
                self._create(SECRETS, node_pods.secret(self.node, command))
            self._create(PODS, node_pods.pod(self.node, command))
            while (phase := self._phase(key)) not in ENDED:
                self.run.log.record(f"{self.node}: {self._ask(lambda: self.kube.last_log_line(key)) or command.action}")
                self.run.wait()
            last = self._ask(lambda: self.kube.last_log_line(key))
        finally:
            with suppress(KubernetesUnreachable):
                self.kube.delete(SECRETS, key)
        self._delete(key)
        if phase == "Failed":
            reason = last.removeprefix("failed: ") or "the pod failed, and its log cannot be read"
            raise Failed(f"{self.node}: {reason}")

    def _phase(self, key: str) -> str:
        pod = self._ask(lambda: self.kube.get(PODS, key))
        if pod is None:
            raise Conflict(f"the pod {key} was deleted while it ran", "run the same command again")
        return str(pod.get("status", {}).get("phase", ""))

    def _create(self, resource: Resource, desired: Object) -> None:
        with suppress(Conflict):  # the response to an earlier request was lost
            self._ask(lambda: self.kube.create(resource, desired))

    def _delete(self, key: str) -> None:
        self._ask(lambda: self.kube.delete(SECRETS, key))
        while self._ask(lambda: self.kube.get(PODS, key)) is not None:
            self._ask(lambda: self.kube.delete(PODS, key, at_once=True))
            self.run.wait()

    def _get(self) -> Object:
        node = self._ask(lambda: self.kube.get(NODES, self.node))
        if node is None:
            raise NotFound(f"the cluster has no node {self.node!r} any more")
        return node

    def _patch(self, change: Object) -> None:
        self._ask(lambda: self.kube.patch(NODES, self.node, change))

    def _ask(self, question: Callable[[], Result]) -> Result:
        """Ask the API until it answers: it may run on the node that reboots."""
        while True:
            try:
                return question()
            except KubernetesUnreachable as error:
                self.run.log.record(f"waiting for Kubernetes: {error.message}")
                self.run.wait()


def _annotation(node: Object, name: str) -> str:
    return str((node["metadata"].get("annotations") or {}).get(name, ""))


def _image(node: Object) -> str:
    return _annotation(node, IMAGE)


def _is_ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
