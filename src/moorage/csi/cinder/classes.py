"""Plans a StorageClass for each Cinder volume type. Pure.

A class is created once and never changed, so that users may edit it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moorage.kube.port import Object
from moorage.model.ownership import CINDER_DRIVER

MANAGED = ("app.kubernetes.io/managed-by", "moorage")
DEFAULT = "storageclass.kubernetes.io/is-default-class"
DEFAULTS = (DEFAULT, "storageclass.beta.kubernetes.io/is-default-class")  # Kubernetes honours both
BUILT_IN = {"__DEFAULT__": "cinder"}  # the name of Cinder's built-in type is not descriptive
LONGEST = 253  # characters in the name of a class, which is a DNS-1123 subdomain


@dataclass(frozen=True)
class NewClass:
    """A class to create. `taken_name` is the name derived from its type, if another class has that already."""

    body: Object
    taken_name: str = ""


@dataclass(frozen=True)
class ClassPlan:
    """The classes to create, and the managed classes of deleted types; these are kept, because volumes name them."""

    create: tuple[NewClass, ...] = ()
    orphans: tuple[Object, ...] = ()


def plan_classes(types: Mapping[str, str], default: str, existing: Sequence[Object]) -> ClassPlan:
    """`types` maps the ids of Cinder's types to their names; `default` is the name of Cinder's default type."""
    managed = [storage_class for storage_class in existing if _is_managed(storage_class)]
    served = {_type(storage_class) for storage_class in managed}
    unserved = {id: name for id, name in types.items() if name not in served}
    return ClassPlan(
        create=tuple(_plan_new(unserved, default, existing)),
        orphans=tuple(storage_class for storage_class in managed if _type(storage_class) not in types.values()),
    )


def class_name(type: str) -> str:
    """A type's name as a valid Kubernetes name; "" when no valid character remains."""
    text = re.sub(r"[^a-z0-9.-]+", "-", BUILT_IN.get(type, type).lower())
    labels = (label.strip("-") for label in text.split("."))
    return ".".join(label for label in labels if label)[:LONGEST].strip("-.")


def _plan_new(unserved: Mapping[str, str], default: str, existing: Sequence[Object]) -> Iterator[NewClass]:
    taken = {storage_class["metadata"]["name"]: storage_class for storage_class in existing}
    has_default = any(_is_default(storage_class) for storage_class in existing)
    for id, type in sorted(unserved.items(), key=_valid_names_first):
        plain = class_name(type)
        if plain in taken and _serves(taken[plain], id, type):
            continue  # a user's class for the same type
        name = plain if plain and plain not in taken else f"{(plain or 'type')[: LONGEST - 9].rstrip('-.')}-{id[:8]}"
        if name in taken:
            continue
        taken[name] = _class_body(name, type, default=type == default and not has_default)
        yield NewClass(taken[name], taken_name=plain if plain != name else "")


def _valid_names_first(item: tuple[str, str]) -> tuple[bool, str]:
    """Sort key: a type with a valid name gets that name before a type with a name that only translates to it."""
    id, type = item
    return class_name(type) != type, id


def _class_body(name: str, type: str, *, default: bool) -> Object:
    metadata: dict[str, Any] = {"name": name, "labels": dict([MANAGED])}
    if default:
        metadata["annotations"] = {DEFAULT: "true"}
    return {
        "metadata": metadata,
        "provisioner": CINDER_DRIVER,
        "parameters": {"type": type},
        "allowVolumeExpansion": True,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


def _is_managed(storage_class: Object) -> bool:
    key, value = MANAGED
    labels = storage_class["metadata"].get("labels") or {}
    return storage_class.get("provisioner") == CINDER_DRIVER and labels.get(key) == value


def _is_default(storage_class: Object) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return "true" in (annotations.get(name) for name in DEFAULTS)


def _type(storage_class: Object) -> str:
    return str((storage_class.get("parameters") or {}).get("type", ""))


def _serves(storage_class: Object, id: str, type: str) -> bool:
    return storage_class.get("provisioner") == CINDER_DRIVER and _type(storage_class) in (id, type)
