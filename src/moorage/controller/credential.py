"""The cluster's credential: a new one is taken up when it is given, and the word is out when the cloud refuses it.

A new one is given as the Secret kube-system/moorage-cloud, whose key `clouds.yaml` is the file's text. It becomes the
file that we were told to read; systemd sees that and restarts its readers.
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
from moorage.kube.objects import CONFIG_MAPS, SECRETS, SYSTEM, KubernetesClient, Resource
from moorage.model.credential import SECRET, STATE
from moorage.model.errors import CloudUnreachable, MoorageError, NotFound
from moorage.node.files import File, write

Result = TypeVar("Result")
log = logging.getLogger(__name__)

PERIOD = 20.0  # seconds between two looks: one call of either API
SOON = 2.0  # while the cloud does not accept us


@dataclass
class CredentialWatch:
    """Looks at the Secret and asks the cloud; what is wrong stands in an Event and in a ConfigMap."""

    api: KubernetesClient
    events: Recorder
    file: Path
    check: Callable[[], None]
    name: str = "credential"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("cloud",)
    _told: str | None = None

    def reconcile(self, key: str) -> float | None:
        """Errors of the Kubernetes API are raised, those of the cloud are told."""
        self._take()
        problem = self._problem()
        if problem:
            self.events.event(SYSTEM, "CloudUnreachable", f"nothing can be asked of the cloud: {problem}")
        if problem != self._told:
            self._tell(problem)
        return SOON if problem else PERIOD

    def _problem(self) -> str:
        try:
            self.check()
        except CloudUnreachable as error:
            return error.message
        return ""

    def _take(self) -> None:
        """Write the file again when a Secret says otherwise."""
        found = self.api.get(SECRETS, SECRET)
        text = base64.b64decode((found or {}).get("data", {}).get("clouds.yaml", "")).decode()
        if text:
            write(self.file, File(text, 0o600))

    def _tell(self, problem: str) -> None:
        try:
            self.api.patch(CONFIG_MAPS, STATE, {"data": {"trouble": problem}})
        except NotFound:
            if problem:
                namespace, _, name = STATE.partition("/")
                metadata = {"namespace": namespace, "name": name}
                self.api.create(CONFIG_MAPS, {"metadata": metadata, "data": {"trouble": problem}})
        self._told = problem


def until_accepted(watch: CredentialWatch, ask: Callable[[], Result], stop: Event) -> Result | None:
    """What `ask` says once the cloud answers it, telling meanwhile why it does not; None on `stop`."""
    while not stop.is_set():
        try:
            return ask()
        except CloudUnreachable as error:
            log.warning("waiting for the cloud: %s", error)
            stop.wait(_looked(watch))
    return None


def _looked(watch: CredentialWatch) -> float:
    try:
        return watch.reconcile("cloud") or SOON
    except MoorageError as error:
        log.warning("%s", error)
        return SOON
