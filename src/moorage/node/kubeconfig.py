"""Kubeconfig files of a node's own programs. They name certificates by file, so that renewed ones are used."""

from __future__ import annotations

import json
from pathlib import Path

from moorage.node.files import File


def kubeconfig(server: str, ca: Path, certificate: Path, key: Path) -> File:
    """A kubeconfig as JSON, which is valid YAML."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [{"name": "user", "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
        "contexts": [{"name": "default", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "default",
    }
    return File(json.dumps(document, indent=2) + "\n", 0o600, rewritten_at_boot=True)
