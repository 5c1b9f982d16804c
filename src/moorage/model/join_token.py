"""The token with which a node joins a cluster, as Kubernetes stores it (kubernetes.io: "Authenticating with Bootstrap
Tokens").
"""

from __future__ import annotations

import datetime
from typing import Any

LIFE = datetime.timedelta(hours=24)
BOOTSTRAPPERS = "system:bootstrappers:moorage"


def secret(token: str, now: datetime.datetime) -> dict[str, Any]:
    """The Secret for a token `[a-z0-9]{6}.[a-z0-9]{16}`, as JSON.

    Kubernetes' token cleaner deletes it when it has expired, and the bootstrap signer signs the ConfigMap cluster-info
    with it.
    """
    id, _, rest = token.partition(".")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{id}", "namespace": "kube-system"},
        "stringData": {
            "token-id": id,
            "token-secret": rest,
            "expiration": (now + LIFE).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": BOOTSTRAPPERS,
        },
    }
