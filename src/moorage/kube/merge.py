"""JSON merge patch (RFC 7386), the API's rules for patches, and an apply that is built on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moorage.kube.port import KubernetesClient, Object, Resource, key_of
from moorage.model.errors import NotFound


def merge(old: Any, change: Any) -> Any:
    """The old value with the change merged; neither is modified. Null removes a field."""
    if not isinstance(change, Mapping):
        return change
    result = dict(old) if isinstance(old, Mapping) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def apply(api: KubernetesClient, resource: Resource, desired: Object) -> None:
    """Merge the object into the existing one, or create it; Conflict when another client creates it meanwhile."""
    try:
        api.patch(resource, key_of(desired), desired)
    except NotFound:
        api.create(resource, desired)


def apply_patch(old: Object, change: Mapping[str, Any], status: bool) -> Object:
    """The object after a patch: a patch of the status changes nothing else, any other patch leaves the status alone."""
    if status:
        return {**old, "status": merge(old.get("status", {}), change.get("status", {}))}
    rest = {name: value for name, value in change.items() if name != "status"}
    return {**old, **merge({name: value for name, value in old.items() if name != "status"}, rest)}
