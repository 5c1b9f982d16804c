"""The user's clouds.yaml: Moorage's two entries; everything else in it is kept, comments included."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

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
    document = _parse(text)
    if document is None:  # at most comments
        return text + (_dump({"clouds": dict(desired)}) if desired else "")
    clouds = document["clouds"] = document.get("clouds") or CommentedMap()
    for name in names:
        if name in clouds and clouds.get(name) != desired.get(name):
            _delete(document, name)
    clouds.update({name: entry for name, entry in desired.items() if name not in clouds})
    if not clouds:
        del document["clouds"]
    return _dump(document) if document else "".join(line for line in text.splitlines(True) if line.startswith("#"))


def _parse(text: str) -> CommentedMap | None:
    try:
        document = _yaml().load(text)
    except YAMLError as error:
        raise BadInput(f"clouds.yaml is not YAML: {error}", "repair the file, or move it away") from error
    if document is None:
        return None
    if not isinstance(document, CommentedMap) or not isinstance(document.get("clouds") or {}, dict):
        raise BadInput("clouds.yaml has no mapping `clouds`", "repair the file, or move it away")
    return document


def _delete(document: CommentedMap, name: str) -> None:
    """Delete an entry, and keep the comment below it, which describes the next one."""
    comment = _comment_below(document["clouds"], name)
    for mapping, key in ((document["clouds"], name), (document, "clouds")):
        keys = list(mapping)
        following = keys[keys.index(key) + 1 :]
        if comment and following:
            column = mapping.lc.key(following[0])[1]
            mapping.yaml_set_comment_before_after_key(following[0], before=comment, indent=column)
            break
    del document["clouds"][name]


def _comment_below(mapping: CommentedMap, key: str) -> str:
    """The comment lines below a value: ruamel.yaml keeps them with the last value in it."""
    value = mapping[key]
    if isinstance(value, CommentedMap) and value:
        return _comment_below(value, list(value)[-1])
    tokens = mapping.ca.items.get(key)
    lines = tokens[2].value.splitlines()[1:] if tokens and tokens[2] else []
    return "\n".join(line.strip().removeprefix("#").strip() for line in lines if line.strip())


def _dump(document: Mapping[str, Any]) -> str:
    text = io.StringIO()
    _yaml().dump(document, text)
    return text.getvalue()


def _yaml() -> YAML:
    yaml = YAML()  # round trip: it keeps comments, order and quotes
    yaml.preserve_quotes = True
    yaml.width = 10_000
    return yaml


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
    if after:
        write_private(path, after)
    else:
        path.unlink()
