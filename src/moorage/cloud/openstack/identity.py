"""The port `Identity` on a real Keystone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from moorage.cloud.openstack.rest import Rest
from moorage.model.credential import Credential
from moorage.model.errors import BadInput, NotFound
from moorage.model.ownership import owned_by

KEYSTONE = "identity"
MAX_CERTIFICATES = 16384  # bytes, as in control-plane.yaml
CACERT_HINT = "name a file with the certificates of the cloud's own CA alone, as cacert in clouds.yaml"
ADMINISTRATIVE = frozenset({"admin", "manager", "service"})
"""Keystone's default roles that reach beyond one project's servers, networks and volumes."""


class OpenStackIdentity:
    """The port `Identity` on Keystone."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    @property
    def project(self) -> str:
        return self.rest.project()

    @property
    def region(self) -> str:
        return self.rest.region or ""

    def addresses(self) -> list[str]:
        host = urlsplit(self.rest.endpoint("orchestration")).hostname or ""
        return [host] if re.fullmatch(r"[0-9.]+", host) else []

    def ca_certificates(self) -> str:
        file = self.rest.session.verify
        if not isinstance(file, str):
            return ""
        try:
            text = Path(file).read_text()
        except (OSError, ValueError) as error:
            raise BadInput(f"the cloud's cacert {file} cannot be read: {error}", CACERT_HINT) from error
        if len(text) > MAX_CERTIFICATES:
            size = f"{len(text) // 1024} KB, and user data has room for {MAX_CERTIFICATES // 1024}"
            raise BadInput(f"the cloud's cacert {file} has {size}", CACERT_HINT)
        return text

    def create_credential(self, cluster: str) -> Credential:
        """The name is the cluster's and a random part; the description names the owner."""
        body = {"name": f"moorage-{cluster}-{token_hex(4)}", "unrestricted": False}
        body |= {"description": self._description(cluster)}
        body |= {"roles": [{"name": role} for role in without_administrative(self.rest.roles())]}
        try:
            response = self.rest.post(KEYSTONE, self._path(), {"application_credential": body})
        except BadInput as error:
            raise BadInput(
                f"the cluster needs an application credential, and {error.message}",
                "use credentials that may create one: a user's own (not a restricted application credential), "
                "or --no-cloud-provider for a cluster without load balancers and volumes",
            ) from error
        created = response["application_credential"]
        return Credential(created["id"], created["secret"], self.rest.endpoint(KEYSTONE), self.region)

    def credentials(self, cluster: str) -> list[str]:
        rows = self.rest.list(KEYSTONE, self._path())
        return [row["id"] for row in rows if self._is_owned(row, cluster)]

    def _is_owned(self, row: Mapping[str, Any], cluster: str) -> bool:
        return bool(row["project_id"] == self.project and row["description"] == self._description(cluster))

    def _description(self, cluster: str) -> str:
        """One Keystone serves all regions, and lists a user's credentials for all projects."""
        return owned_by(cluster) + (f" in {self.region}" if self.region else "")

    def delete_credential(self, id: str) -> None:
        try:
            self.rest.delete(KEYSTONE, f"{self._path()}/{id}")
        except NotFound:
            return

    def _path(self) -> str:
        return f"/users/{self.rest.user()}/application_credentials"


def without_administrative(roles: Iterable[str]) -> list[str]:
    """The roles without administrative ones; all of them when there are no others."""
    names = sorted(roles)
    return [role for role in names if role not in ADMINISTRATIVE] or names
