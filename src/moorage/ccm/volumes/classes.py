"""Which StorageClass a Cinder type gets, given the existing classes. Pure.

A class is created once and never changed, so that users can change it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moorage.kube.objects import Object
from moorage.model.ownership import CINDER_DRIVER

MANAGED = ("app.kubernetes.io/managed-by", "moorage")
DEFAULT = "storageclass.kubernetes.io/is-default-class"
DEFAULTS = (DEFAULT, "storageclass.beta.kubernetes.io/is-default-class")  # Kubernetes honours both
BUILT_IN = {"__DEFAULT__": "cinder"}  # Cinder's own type, and a name that says more
LONGEST = 253  # characters in the name of a class, a DNS-1123 subdomain


@dataclass(frozen=True)
class NewClass:
    """A class to create; `conflicting_name` is the name of its type, if another class has that name."""

    wanted: Object
    conflicting_name: str = ""


@dataclass(frozen=True)
class ClassPlan:
    """The classes to create, and our classes of deleted types, which are kept because volumes name them."""

    make: tuple[NewClass, ...] = ()
    orphans: tuple[Object, ...] = ()


def plan_classes(types: Mapping[str, str], default: str, there: Sequence[Object]) -> ClassPlan:
    """`types` are Cinder's names by id, `default` is the name of the default type."""
    ours = [found for found in there if _is_ours(found)]
    served = {_type(found) for found in ours}
    lacking = {id: name for id, name in types.items() if name not in served}
    return ClassPlan(
        make=tuple(_new(lacking, default, there)),
        orphans=tuple(found for found in ours if _type(found) not in types.values()),
    )


def class_name(type: str) -> str:
    """A type's name by Kubernetes' rule for names; "" when no character remains."""
    text = re.sub(r"[^a-z0-9.-]+", "-", BUILT_IN.get(type, type).lower())
    labels = (label.strip("-") for label in text.split("."))
    return ".".join(label for label in labels if label)[:LONGEST].strip("-.")


def _new(lacking: Mapping[str, str], default: str, there: Sequence[Object]) -> Iterator[NewClass]:
    taken = {found["metadata"]["name"]: found for found in there}
    has_default = any(_is_default(found) for found in there)
    for id, type in sorted(lacking.items(), key=_plainest_first):
        plain = class_name(type)
        if plain in taken and _serves(taken[plain], id, type):
            continue  # a user's own class for that type
        name = plain if plain and plain not in taken else f"{(plain or 'type')[: LONGEST - 9].rstrip('-.')}-{id[:8]}"
        if name in taken:
            continue
        taken[name] = _class(name, type, default=type == default and not has_default)
        yield NewClass(taken[name], conflicting_name=plain if plain != name else "")


def _plainest_first(item: tuple[str, str]) -> tuple[bool, str]:
    """A name that needs no change comes before one that becomes the same by a change."""
    id, type = item
    return class_name(type) != type, id


def _class(name: str, type: str, *, default: bool) -> Object:
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


def _is_ours(found: Object) -> bool:
    key, value = MANAGED
    return found.get("provisioner") == CINDER_DRIVER and (found["metadata"].get("labels") or {}).get(key) == value


def _is_default(found: Object) -> bool:
    annotations = found["metadata"].get("annotations") or {}
    return "true" in (annotations.get(name) for name in DEFAULTS)


def _type(found: Object) -> str:
    return str((found.get("parameters") or {}).get("type", ""))


def _serves(found: Object, id: str, type: str) -> bool:
    return found.get("provisioner") == CINDER_DRIVER and _type(found) in (id, type)
