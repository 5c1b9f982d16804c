"""JSON merge patch (RFC 7386), and the API's rules for patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moorage.kube.objects import Object


def merged(old: Any, change: Any) -> Any:
    """The old value with the change merged; neither is modified. Null removes a field."""
    if not isinstance(change, Mapping):
        return change
    made = dict(old) if isinstance(old, Mapping) else {}
    for name, value in change.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made


def patched(old: Object, change: Mapping[str, Any], status: bool) -> Object:
    """The object after a patch: a patch of the status changes nothing else, any other patch leaves the status alone."""
    if status:
        return {**old, "status": merged(old.get("status", {}), change.get("status", {}))}
    rest = {name: value for name, value in change.items() if name != "status"}
    return {**old, **merged({name: value for name, value in old.items() if name != "status"}, rest)}
