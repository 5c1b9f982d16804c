"""The demo's record in the local cloud's state, with which the next `up` recognizes a running demo."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Database:
    """PostgreSQL's address, and the number of rows that the demo has written."""

    host: str
    port: int
    rows: int


@dataclass(frozen=True)
class Demo:
    """What runs, and the duration of each step in seconds."""

    cloud: str
    project: str
    cluster: str
    api: str
    application: str
    answer: str
    database: Database
    took: Mapping[str, float]


def write(state: Path, made: Demo, password: str) -> None:
    """Write the record, with the database's password; readable by root only."""
    partial = _file(state).with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(made) | {"password": password}, file)
    partial.replace(_file(state))


def read(state: Path) -> tuple[Demo, str] | None:
    """The recorded demo and the password; None without a record, or with an older version's."""
    try:
        fields = json.loads(_file(state).read_text())
        password = str(fields.pop("password"))
        return Demo(**{**fields, "database": Database(**fields["database"])}), password
    except (OSError, ValueError, KeyError, TypeError):
        return None


def project(state: Path) -> str | None:
    """The local cloud's project, for the clusters' keys in the user's home; None without a demo."""
    try:
        fields: dict[str, Any] = json.loads(_file(state).read_text())
    except FileNotFoundError:
        return None
    return str(fields["project"])


def _file(state: Path) -> Path:
    return state / "demo.json"
