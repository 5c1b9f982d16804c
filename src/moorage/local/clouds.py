"""The user's clouds.yaml: Moorage's two entries; everything else in it is kept, comments included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from moorage.local.layout import GATEWAY, REGION
from moorage.local.secrets import Secrets, write_private
from moorage.local.seed import NODE_FLAVOR, TENANT
from moorage.local.services import KEYSTONE
from moorage.model.errors import BadInput

TENANT_CLOUD = "moorage"
ADMIN_CLOUD = "moorage-admin"


def entries(secrets: Secrets) -> dict[str, dict[str, Any]]:
    """Entry name → openstacksdk's parameters."""

    def entry(user: str, password: str, project: str) -> dict[str, Any]:
        return {
            "auth": {
                "auth_url": f"http://{GATEWAY}:{KEYSTONE.port}/v3",
                "username": user,
                "password": password,
                "project_name": project,
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
            "region_name": REGION,
            "identity_api_version": 3,
        }

    return {
        TENANT_CLOUD: entry(TENANT, secrets.tenant, TENANT) | {"moorage": {"flavor": NODE_FLAVOR}},
        ADMIN_CLOUD: entry("admin", secrets.admin, "admin"),
    }


def merge(text: str, desired: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> str:
    """`text` without the entries `names`, and with the entries `desired`; all other lines are kept.

    BadInput when `text` is not a clouds.yaml.
    """
    expected = _parse(text)
    clouds = {name: value for name, value in (expected.get("clouds") or {}).items() if name not in names}
    expected["clouds"] = {**clouds, **desired}
    lines = _remove_entries(text.splitlines(), names)
    if desired:
        lines = _add_entries(lines, desired)
    merged = "\n".join(lines).rstrip() + "\n"
    if _normalized(merged) != _normalized(yaml.safe_dump(expected)):
        # A layout without one line for each entry, such as flow style: write it again as YAML.
        merged = yaml.safe_dump(expected, sort_keys=False)
    return merged


def _normalized(text: str) -> dict[str, Any] | None:
    """Return the document without an empty `clouds`; None when it is not YAML."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        return None
    if not document.get("clouds"):
        document.pop("clouds", None)
    return dict(document)


def _parse(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise BadInput(f"clouds.yaml is not YAML: {error}", "repair the file, or move it away") from error
    if not isinstance(document, dict) or not isinstance(document.get("clouds") or {}, dict):
        raise BadInput("clouds.yaml has no mapping `clouds`", "repair the file, or move it away")
    return document


def _find_clouds_line(lines: list[str]) -> int | None:
    return next((i for i, line in enumerate(lines) if re.match(r"clouds\s*:\s*(\{\s*\})?\s*(#.*)?$", line)), None)


def _remove_entries(lines: list[str], names: tuple[str, ...]) -> list[str]:
    """Remove the blocks of `names` directly below `clouds:`."""
    start = _find_clouds_line(lines)
    if start is None:
        return lines
    remaining, dropping, depth = lines[: start + 1], False, -1
    for position, line in enumerate(lines[start + 1 :], start + 1):
        indent = len(line) - len(line.lstrip())
        comment = line.lstrip().startswith("#")
        if line.strip() and not comment:
            if indent == 0:
                return remaining + lines[position:]
            depth = indent if depth < 0 else depth
            if indent == depth:
                dropping = line.strip().rstrip(":").strip("'\"") in names
        # A comment at the entries' own depth describes the next entry.
        if not dropping or (comment and indent <= depth):
            remaining.append(line)
    return remaining


def _add_entries(lines: list[str], desired: Mapping[str, Mapping[str, Any]]) -> list[str]:
    start = _find_clouds_line(lines)
    if start is None:
        lines = [*lines, "clouds:"]
        start = len(lines) - 1
    lines = [*lines[:start], re.sub(r"\s*\{\s*\}", "", lines[start]), *lines[start + 1 :]]
    following = [line for line in lines[start + 1 :] if line.strip() and not line.lstrip().startswith("#")]
    depth = len(following[0]) - len(following[0].lstrip()) if following else 0
    block = yaml.safe_dump(dict(desired), sort_keys=False).splitlines()
    return [*lines[: start + 1], *(" " * (depth or 2) + line for line in block), *lines[start + 1 :]]


def write(path: Path, secrets: Secrets) -> None:
    """Write Moorage's entries into the file, and create it if needed; its mode is 0600 afterwards."""
    before = path.read_text() if path.exists() else ""
    desired = entries(secrets)
    after = merge(before, desired, tuple(desired))
    if after != before:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, after)


def remove(path: Path) -> None:
    """Remove Moorage's entries; delete a file that has nothing else."""
    if not path.exists():
        return
    after = merge(path.read_text(), {}, (TENANT_CLOUD, ADMIN_CLOUD))
    if _normalized(after):
        write_private(path, after)
    else:
        path.unlink()
