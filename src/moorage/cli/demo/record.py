"""What the demo is, and the note of it in the local cloud's state, by which the next `up` finds that all runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Database:
    """Where PostgreSQL is reached from this machine, and how many rows the demo has written to it."""

    host: str
    port: int
    rows: int


@dataclass(frozen=True)
class Demo:
    """What runs, and how long each step took, in seconds."""

    cloud: str
    project: str
    cluster: str
    api: str
    application: str
    answer: str
    database: Database
    took: Mapping[str, float]


def write(state: Path, made: Demo, password: str) -> None:
    """Note the demo, with the database's password; for root alone."""
    partial = _file(state).with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(made) | {"password": password}, file)
    partial.replace(_file(state))


def read(state: Path) -> tuple[Demo, str] | None:
    """The demo as it was noted and the password; None when there is no note, or an earlier version's."""
    try:
        fields = json.loads(_file(state).read_text())
        password = str(fields.pop("password"))
        return Demo(**{**fields, "database": Database(**fields["database"])}), password
    except (OSError, ValueError, KeyError, TypeError):
        return None


def project(state: Path) -> str | None:
    """The local cloud's project, whose clusters' keys lie in the person's home; None when there was no demo."""
    try:
        fields: dict[str, Any] = json.loads(_file(state).read_text())
    except FileNotFoundError:
        return None
    return str(fields["project"])


def _file(state: Path) -> Path:
    return state / "demo.json"
