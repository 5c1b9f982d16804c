"""A project and its credentials in memory."""

from __future__ import annotations

from secrets import token_hex

from moorage.model.credential import Credential
from moorage.model.errors import BadInput, CloudUnreachable


class MemoryIdentity:
    """The port `Identity`. `created` are pairs of a cluster's name and its credential.

    Faults: `unreachable` is why Keystone does not answer; `allow_credentials` is whether this user may create any.
    """

    def __init__(self) -> None:
        self.project, self.region = "project-1", "RegionOne"
        self.created: list[tuple[str, Credential]] = []
        self.allow_credentials = True
        self.unreachable = ""
        self.ca = ""

    def addresses(self) -> list[str]:
        self._check_reachable()
        return ["172.24.4.1"]

    def ca_certificates(self) -> str:
        return self.ca

    def create_credential(self, cluster: str) -> Credential:
        self._check_reachable()
        if not self.allow_credentials:
            raise BadInput("Keystone refused: application credentials cannot create others")
        created = Credential(token_hex(8), token_hex(16), "http://172.24.4.1:5000/v3", self.region)
        self.created.append((cluster, created))
        return created

    def credentials(self, cluster: str) -> list[str]:
        self._check_reachable()
        return [credential.id for owner, credential in self.created if owner == cluster]

    def delete_credential(self, id: str) -> None:
        self._check_reachable()
        self.created = [(owner, credential) for owner, credential in self.created if credential.id != id]

    def _check_reachable(self) -> None:
        if self.unreachable:
            raise CloudUnreachable(self.unreachable, service=self.unreachable.split()[0])
