"""The credential with which a cluster calls its cloud."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

CLOUD = "moorage"
"""The only entry of a control plane's clouds.yaml."""
SECRET = "kube-system/moorage-cloud"
"""The Secret that hands a cluster a new credential: its key `clouds.yaml` is the file's text."""
STATE = "kube-system/moorage-controller"
"""The ConfigMap with the reason why the cluster cannot reach its cloud, in its key `problem`; empty or missing when it
can.
"""


@dataclass(frozen=True)
class Credential:
    """A Keystone application credential, its identity endpoint and its region, which may be empty."""

    id: str
    secret: str = field(repr=False)
    auth_url: str
    region: str = ""


def clouds_yaml(credential: Credential) -> str:
    """A clouds.yaml with one entry, as JSON, which is valid YAML."""
    entry: dict[str, Any] = {
        "auth_type": "v3applicationcredential",
        "auth": {
            "auth_url": credential.auth_url,
            "application_credential_id": credential.id,
            "application_credential_secret": credential.secret,
        },
    }
    if credential.region:
        entry["region_name"] = credential.region
    return json.dumps({"clouds": {CLOUD: entry}}, indent=2) + "\n"
