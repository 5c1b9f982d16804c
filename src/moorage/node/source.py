"""The sources of a node's user data: the config drive's folder, its block device, the metadata service."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.model.errors import NotFound
from moorage.node.layout import Layout

DOCUMENTS = "openstack/latest"
LABEL = "config-2"
METADATA = "http://169.254.169.254"
PATIENCE = 60.0
"""Seconds for the metadata service to answer: DHCP comes first."""


@dataclass(frozen=True)
class Server:
    """The server's id and availability zone in the cloud; "" where the cloud has none."""

    id: str = ""
    zone: str = ""


UNKNOWN = Server()


@dataclass(frozen=True)
class Found:
    """The user data, the server's name as a node's, and the server's identity."""

    user_data: str
    name: str
    server: Server = UNKNOWN


def find(layout: Layout) -> Found:
    """Try all sources; NotFound when none has user data."""
    folder = layout.config_drive
    if (folder / DOCUMENTS).is_dir():
        return from_folder(folder)
    # Until then the driver of a CD may not be loaded.
    subprocess.run(["udevadm", "settle", "--timeout=15"], check=False, capture_output=True)
    device = device_of(LABEL)
    if device is not None:
        return from_device(device, folder)
    return from_service(METADATA, PATIENCE)


def from_folder(folder: Path) -> Found:
    """Read a mounted config drive; NotFound without user data."""
    documents = folder / DOCUMENTS
    try:
        user_data = (documents / "user_data").read_text()
        meta = json.loads((documents / "meta_data.json").read_text())
    except FileNotFoundError as error:
        raise NotFound(
            f"the config drive has no {Path(error.filename).name}: was the server created with user data?"
        ) from error
    return _found(user_data, meta)


def device_of(label: str) -> Path | None:
    """The block device of the file system with a label."""
    found = subprocess.run(["findfs", f"LABEL={label}"], capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def from_device(device: Path, folder: Path) -> Found:
    """Mount the config drive, read it, and unmount it, so that pods cannot read it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-o", "ro", str(device), str(folder)], check=True)
    try:
        return from_folder(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def from_service(url: str, patience: float) -> Found:
    """Ask the metadata service until it answers; NotFound when it does not."""
    end = time.monotonic() + patience
    while True:
        try:
            user_data = _get(f"{url}/{DOCUMENTS}/user_data")
            return _found(user_data, json.loads(_get(f"{url}/{DOCUMENTS}/meta_data.json")))
        except (OSError, ValueError) as error:
            gone = isinstance(error, urllib.error.HTTPError) and error.code == 404
            if gone or time.monotonic() > end:
                raise NotFound(f"no config drive, and the metadata service has no user data: {error}") from error
            time.sleep(0.5)


def name_of(meta: dict[str, Any]) -> str:
    """The server's name as a node's: a DNS label in lower case; the machine's own name when the cloud has none."""
    name = str(meta.get("name") or meta.get("hostname") or socket.gethostname())
    return name.lower().partition(".")[0]


def server_of(meta: dict[str, Any]) -> Server:
    """The server's identity in Nova's metadata (`uuid` and `availability_zone`)."""
    return Server(str(meta.get("uuid") or ""), str(meta.get("availability_zone") or ""))


def _found(user_data: str, meta: dict[str, Any]) -> Found:
    return Found(user_data, name_of(meta), server_of(meta))


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        content: bytes = answer.read()
    return content.decode()
