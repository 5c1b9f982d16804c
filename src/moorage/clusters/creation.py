"""Create a cluster: observe, plan, execute one step, until the plan is done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from moorage.cloud.port.cloud import Cloud
from moorage.clusters import explain, keys, kubernetes, plan, preflight
from moorage.clusters.deletion.run import ClusterDeletion
from moorage.clusters.observer import Observer
from moorage.clusters.parameters import bootstrap_token, stack_request
from moorage.clusters.progress import Run
from moorage.kube.port import NODES
from moorage.model.cluster import ClusterSpec
from moorage.model.credential import Credential
from moorage.model.errors import CloudUnreachable, Conflict, Failed, Unreachable

READY_TIMEOUT = 600  # seconds that a node has to become Ready


@dataclass
class Creation:
    """One run of a cluster's creation."""

    observer: Observer
    run: Run
    spec: ClusterSpec
    attempts: plan.Attempts = field(default_factory=plan.Attempts)
    _checked: ClusterSpec | None = None
    _credential: Credential | None = None

    @property
    def cloud(self) -> Cloud:
        return self.observer.cloud

    def create(self, *, wait: bool) -> None:
        """Without `wait`, return when Heat has accepted the stack. Raises the errors of `reconcile.create`."""
        while True:
            observed = self.run.ask(self._observe)
            if observed and self._execute(plan.plan_creation(self.spec, observed, self.attempts), wait):
                return
            self.run.wait()

    def _observe(self) -> plan.Observed:
        observed = self.observer.observe()
        unchanged = self.run.progress.update(observed.stack, observed.resources, self.run.log.poll.now())
        return replace(observed, unchanged=unchanged)

    def _execute(self, step: plan.Step, wait: bool) -> bool:
        """Execute one step; True when the run is done."""
        match step:
            case plan.Reject():
                raise Conflict(
                    f"a different cluster {self.spec.name!r} exists: {'; '.join(step.differences)}",
                    f"choose another name, or moorage cluster delete {self.spec.name}",
                )
            case plan.Fail():
                raise _creation_failed(self.spec.name, step)
            case plan.Done():
                self.run.log.record(f"cluster {self.spec.name} is ready" + (f": {step.note}" if step.note else ""))
                return True
            case plan.CreateStack():
                return self._create_stack() and not wait
            case plan.Wait():
                self.run.log.record(step.reason)
                return not wait
            case _:
                self._repair(step)
        return False

    def _repair(self, step: plan.DeleteStack | plan.DeleteServers | plan.UpdateStack | plan.ReplaceNodes) -> None:
        try:
            match step:
                case plan.DeleteStack():
                    self._delete_stack(step)
                case plan.DeleteServers():
                    self._delete_servers(step)
                case plan.UpdateStack():
                    self._update_stack(step)
                case plan.ReplaceNodes():
                    self._replace_nodes(step)
        except (Unreachable, Conflict) as error:
            self.run.log.record(f"trying again: {error.message}")

    def _create_stack(self) -> bool:
        """Check the spec, create the key if needed, request the stack; False when Heat could not be reached."""
        spec = self._complete()
        key = self.observer.keys.get_or_create(spec.name)
        self.attempts = replace(self.attempts, creations=self.attempts.creations + 1)
        try:
            credential = self._get_credential(spec)
            self.run.log.record("requesting a network, a control plane and workers from Heat")
            self.cloud.stacks.create(stack_request(spec, keys.signing_request(key), READY_TIMEOUT, credential))
        except Conflict:
            return False  # another run was faster: the next observation shows its stack
        except CloudUnreachable as error:
            if self.attempts.creations >= plan.MAX_ATTEMPTS:
                raise
            self.run.log.record(f"requesting the stack again: {error.message}")
            return False
        return True

    def _get_credential(self, spec: ClusterSpec) -> Credential | None:
        """The application credential of the new stack."""
        if spec.cloud_provider and self._credential is None:
            self._credential = self.cloud.identity.create_credential(spec.name)
        return self._credential

    def _complete(self) -> ClusterSpec:
        """The spec with what it left open; checked once in a run."""
        if self._checked is None:
            self.run.log.record("checking names, flavors, image, addresses and quotas")
            self._checked = preflight.check(self.cloud, self.spec)
        return self._checked

    def _delete_stack(self, step: plan.DeleteStack) -> None:
        """Its credential is revoked too; the next stack gets another one."""
        self.run.log.record(step.reason)
        self.run.failure = step.reason
        self._credential = None
        deletion = ClusterDeletion(self.cloud, self.spec.name, step.stack, self.run)
        deletion.delete(deletion.infrastructure)

    def _delete_servers(self, step: plan.DeleteServers) -> None:
        for server in step.servers:
            self.run.log.record(f"deleting server {server.name}, which Heat does not know")
            self.cloud.servers.delete(server.id)

    def _update_stack(self, step: plan.UpdateStack) -> None:
        self.run.log.record(step.reason)
        self.attempts = replace(self.attempts, repairs=self.attempts.repairs + step.repairs)
        self.cloud.stacks.update(step.stack, {})

    def _replace_nodes(self, step: plan.ReplaceNodes) -> None:
        """Their names are never used again. Their first boots need a new token: the stack's first one has expired."""
        self.run.log.record(step.reason)
        repairs, replacements = self.attempts.repairs + step.repairs, self.attempts.replacements + 1
        self.attempts = replace(self.attempts, repairs=repairs, replacements=replacements)
        if kube := self.observer.kube(step.stack):
            for server in step.servers:
                kube.delete(NODES, explain.node_name(server, self.spec.name))
            token = bootstrap_token()
            kubernetes.create_join_token(kube, token)
            removed = [explain.node_index(server) for server in step.servers]
            self.cloud.stacks.update(step.stack, {"bootstrap_token": token, "remove_workers": removed})


def _creation_failed(name: str, step: plan.Fail) -> Failed:
    if step.used:
        return Failed(
            f"cluster {name!r} exists, but could not be repaired: {step.reason}",
            "fix the cause, then run this command again; what runs in the cluster keeps running."
            f" To give it up: moorage cluster delete {name}, then create it again",
        )
    return Failed(
        f"cluster {name!r} could not be created: {step.reason}",
        f"moorage cluster delete {name}, fix the cause, then create it again",
    )
