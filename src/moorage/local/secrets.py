"""The local cloud's passwords and keys: random, created once, readable by root only."""

from __future__ import annotations

import base64
import json
import os
import secrets as random
from dataclasses import asdict, dataclass
from pathlib import Path

from moorage.local.services import SERVICES


@dataclass(frozen=True)
class Secrets:
    """`services` maps a service's name to its user's password; `domains` to its domain administrator's."""

    admin: str
    tenant: str
    services: dict[str, str]
    domains: dict[str, str]
    encryption_key: str
    """32 characters: Heat's key for the data that it stores, and Nova's fixed key."""

    def __repr__(self) -> str:
        return "Secrets(…)"


def ensure(path: Path) -> Secrets:
    """Read `path`, or create it; a new service in the table gets a password without changing others."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    complete = Secrets(
        admin=stored.get("admin") or random.token_urlsafe(24),
        tenant=stored.get("tenant") or random.token_urlsafe(24),
        services={s.name: stored.get("services", {}).get(s.name) or random.token_urlsafe(24) for s in SERVICES},
        domains={
            s.name: stored.get("domains", {}).get(s.name) or random.token_urlsafe(24) for s in SERVICES if s.domain
        },
        encryption_key=stored.get("encryption_key") or random.token_hex(16),
    )
    if asdict(complete) != stored:
        write_private(path, json.dumps(asdict(complete), indent=1))
    return complete


def ensure_key_repository(folder: Path) -> None:
    """Create a Keystone key repository (Fernet) with a staged and a primary key, unless it exists."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("0", "1"):
        if not (folder / name).exists():
            write_private(folder / name, base64.urlsafe_b64encode(random.token_bytes(32)).decode())


def write_private(path: Path, text: str) -> None:
    """Replace `path` atomically by a file of mode 0600."""
    part = path.with_name(path.name + ".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.replace(path)
