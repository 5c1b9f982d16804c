"""A cluster's spec as a YAML file, with the fields of `ClusterSpec` and `NodeGroup` as keys."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from moorage.clusters.preflight.problem import Problem, choices, error_of
from moorage.model.cluster import ClusterSpec, Taint
from moorage.model.errors import BadInput

T = TypeVar("T")
SPEC = "spec"
"""The key of a spec in a larger document, such as that of `moorage cluster show`."""
WORDS = {str: "text", int: "a whole number"}


def dump(spec: ClusterSpec) -> dict[str, Any]:
    """The spec as plain data, without what is empty; `parse` reads it back."""
    groups = [
        _filled({**asdict(group), "labels": dict(group.labels), "taints": [*map(str, group.taints)]})
        for group in spec.groups
    ]
    plain = {**asdict(spec), "registry_mirrors": dict(spec.registry_mirrors), "groups": groups}
    return {**_filled(plain), "cloud_provider": spec.cloud_provider, "groups": groups}


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {name: value for name, value in lists.items() if value not in ("", None, [], {})}


def parse(text: str) -> ClusterSpec:
    """Read a spec from a YAML document; BadInput with every key that is unknown, missing or of a wrong type."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"the file is not YAML: {' '.join(str(error).split())}") from error
    if isinstance(document, dict) and isinstance(document.get(SPEC), dict):
        document = document[SPEC]
    reader = _Reader()
    spec = reader.build(ClusterSpec, document, "")
    if reader.problems or spec is None:
        raise error_of(reader.problems)
    return spec


def parse_taint(text: str) -> Taint | None:
    """The taint of a text such as `key=value:effect` or `key:effect`; None when it is not one."""
    pair, separator, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return Taint(key, effect, value) if separator and key and effect else None


@dataclass
class _Reader:
    """Builds dataclasses from plain data, and collects what is wrong with it."""

    problems: list[Problem] = field(default_factory=list)

    def build(self, kind: type[T], value: Any, where: str) -> T | None:
        """None when something is wrong."""
        if not isinstance(value, dict):
            self._report(where or "the file", value, "not a mapping", "keys and values, such as name: demo")
            return None
        assert is_dataclass(kind)
        hints, known = get_type_hints(kind), {each.name: each for each in fields(kind)}
        before = len(self.problems)
        for key in value:
            if key not in known:
                self._report(f"{where}{key}", "", "no such key", choices(str(key), sorted(known)))
        for name in (name for name, each in known.items() if _is_required(each) and name not in value):
            self._report(f"{where}{name}", "", "missing", "this key is required")
        built = {key: self._convert(hints[key], value[key], f"{where}{key}") for key in known if key in value}
        return None if len(self.problems) > before else kind(**built)

    def _convert(self, kind: Any, value: Any, where: str) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is types.UnionType:
            return None if value is None else self._convert(arguments[0], value, where)
        if origin is tuple:
            return tuple(self._members(arguments[0], value, where))
        if origin is not None:  # Mapping[str, str]
            return self._mapping(value, where)
        if kind is Taint:
            return self._taint(value, where)
        if isinstance(kind, type) and is_dataclass(kind):
            return self.build(kind, value, f"{where}.")
        if not isinstance(value, kind) or isinstance(value, bool):
            self._report(where, value, f"not {WORDS[kind]}", 'in quotes, if it is meant so: "…"' if kind is str else "")
        return value

    def _members(self, kind: Any, value: Any, where: str) -> Iterator[Any]:
        if not isinstance(value, list):
            self._report(where, value, "not a list", "lines that begin with a hyphen")
            return
        for index, member in enumerate(value):
            yield self._convert(kind, member, f"{where}[{index}]")

    def _mapping(self, value: Any, where: str) -> dict[str, str]:
        if not isinstance(value, dict):
            self._report(where, value, "not a mapping", "keys and values")
            return {}
        for key in (key for key in value if not isinstance(key, str)):
            self._report(f"{where}.{key}", "", "the key is not text", 'in quotes, if it is meant so: "…"')
        return {str(key): self._convert(str, text, f"{where}.{key}") for key, text in value.items()}

    def _taint(self, value: Any, where: str) -> Taint | None:
        taint = parse_taint(value) if isinstance(value, str) else None
        if taint is None:
            self._report(where, value, "not a taint", "KEY=VALUE:EFFECT or KEY:EFFECT")
        return taint

    def _report(self, where: str, value: Any, reason: str, alternative: str) -> None:
        self.problems.append(Problem(where, str(value) if value != "" else "", reason, alternative))


def _is_required(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING
