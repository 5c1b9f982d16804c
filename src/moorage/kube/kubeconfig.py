"""Kubeconfigs: of one cluster, of a node's own program, and a user's file that may have other entries."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.model.errors import BadInput, Failed

SECTIONS = ("clusters", "users", "contexts")


@dataclass(frozen=True)
class KubeAccess:
    """The URL of a Kubernetes API and a client's credentials; certificates and key as PEM."""

    url: str
    ca: str
    certificate: str
    key: str


def default_path(environment: Mapping[str, str]) -> Path:
    """The file that kubectl writes: the first of KUBECONFIG, or ~/.kube/config."""
    first = environment.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first) if first else Path(environment.get("HOME", "/root")) / ".kube" / "config"


def with_only(name: str, access: KubeAccess) -> dict[str, Any]:
    """A kubeconfig with this cluster only."""
    user = {"client-certificate-data": _data(access.certificate), "client-key-data": _data(access.key)}
    return _document(entry_name(name), {"server": access.url, "certificate-authority-data": _data(access.ca)}, user)


def with_files(url: str, ca: Path, certificate: Path, key: Path) -> dict[str, Any]:
    """A kubeconfig that names the certificates by file, so that renewed ones are used."""
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    return _document("default", {"server": url, "certificate-authority": str(ca)}, user)


def without_user(url: str, ca: str) -> dict[str, Any]:
    """A kubeconfig without credentials, for the public ConfigMap cluster-info."""
    cluster = {"certificate-authority-data": _data(ca), "server": url}
    return {**_document("", cluster, {}), "users": [], "contexts": []}


def merge(there: Mapping[str, Any], name: str, access: KubeAccess) -> dict[str, Any]:
    """`there` with the cluster's entries added or replaced; the cluster's context is the current one."""
    ours = with_only(name, access)
    others = remove(there, name)
    sections = {section: [*(others.get(section) or []), *ours[section]] for section in SECTIONS}
    return {**ours, **there, **sections, "current-context": ours["current-context"]}


def remove(there: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`there` without the cluster's entries; unsets a current context of the cluster."""
    entry, result = entry_name(name), dict(there)
    for section in SECTIONS:
        if section in there:
            result[section] = [item for item in there[section] or [] if item.get("name") != entry]
    if there.get("current-context") == entry:
        result["current-context"] = ""
    return result


def entry_name(name: str) -> str:
    """The name of the cluster's cluster, user and context entries."""
    return f"moorage-{name}"


def read(path: Path) -> dict[str, Any]:
    """The file's content, empty when there is no file; BadInput when it is not a kubeconfig."""
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text()) if path.exists() else None
    except (yaml.YAMLError, OSError) as error:
        raise BadInput(f"{path} cannot be read as a kubeconfig: {error}", "repair it, or use --print") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise BadInput(f"{path} is not a kubeconfig", "repair it, or use --print")
    return loaded or {}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the file atomically, mode 0600."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text(content))
        fresh.replace(path.resolve())
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Failed(f"cannot write {path}: {error.strerror}", "give write access, or use --print") from error


def text(content: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(content), sort_keys=False)


def _document(entry: str, cluster: Mapping[str, str], user: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": entry, "cluster": dict(cluster)}],
        "users": [{"name": entry, "user": dict(user)}],
        "contexts": [{"name": entry, "context": {"cluster": entry, "user": entry}}],
        "current-context": entry,
    }


def _data(pem: str) -> str:
    return b64encode(pem.encode()).decode()
