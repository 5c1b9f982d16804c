"""The cluster's credential: store a new one, and report when the cloud refuses the current one.

The Secret kube-system/moorage-cloud has a new credential in its key `clouds.yaml`. Its text replaces the clouds.yaml of
this program; systemd notices that and restarts the programs that read the file.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

from moorage.kube.events import Recorder
from moorage.kube.merge import apply
from moorage.kube.port import CONFIG_MAPS, SECRETS, SYSTEM, KubernetesClient, Resource
from moorage.model.credential import SECRET, STATE
from moorage.model.errors import CloudUnreachable, MoorageError
from moorage.node.files import File, write

Result = TypeVar("Result")
log = logging.getLogger(__name__)

PERIOD = 20.0  # seconds between two checks: one call of each API
SOON = 2.0  # while the cloud refuses the credential


@dataclass
class CredentialWatch:
    """Reads the Secret and checks the credential; reports a problem in an Event and a ConfigMap."""

    api: KubernetesClient
    events: Recorder
    file: Path
    check: Callable[[], None]
    name: str = "credential"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("cloud",)
    _reported: str | None = None

    def reconcile(self, key: str) -> float | None:
        """Raises errors of the Kubernetes API; reports errors of the cloud."""
        self._store()
        problem = self._problem()
        if problem:
            self.events.event(SYSTEM, "CloudUnreachable", f"the cloud cannot be reached: {problem}")
        if problem != self._reported:
            self._report(problem)
        return SOON if problem else PERIOD

    def _problem(self) -> str:
        try:
            self.check()
        except CloudUnreachable as error:
            return error.message
        return ""

    def _store(self) -> None:
        """Write the file again when the Secret differs from it."""
        secret = self.api.get(SECRETS, SECRET)
        text = base64.b64decode((secret or {}).get("data", {}).get("clouds.yaml", "")).decode()
        if text:
            write(self.file, File(text, 0o600))

    def _report(self, problem: str) -> None:
        if problem or self.api.get(CONFIG_MAPS, STATE):  # a ConfigMap that does not exist says the same as an empty one
            namespace, _, name = STATE.partition("/")
            metadata = {"namespace": namespace, "name": name}
            apply(self.api, CONFIG_MAPS, {"metadata": metadata, "data": {"problem": problem}})
        self._reported = problem


def until_accepted(watch: CredentialWatch, connect: Callable[[], Result], stop: Event) -> Result | None:
    """The result of `connect` once the cloud answers, and None on `stop`. Reports meanwhile why it does not answer."""
    while not stop.is_set():
        try:
            return connect()
        except CloudUnreachable as error:
            log.warning("waiting for the cloud: %s", error)
            stop.wait(_check_once(watch))
    return None


def _check_once(watch: CredentialWatch) -> float:
    try:
        return watch.reconcile("cloud") or SOON
    except MoorageError as error:
        log.warning("%s", error)
        return SOON
