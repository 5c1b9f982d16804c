"""The sources of a node's user data: the config drive's folder, its block device, the metadata service."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moorage.model.errors import BadInput, NotFound
from moorage.node.layout import Layout

DOCUMENTS = "openstack/latest"
LABEL = "config-2"
METADATA = "http://169.254.169.254"
PATIENCE = 60.0
"""Seconds for the metadata service to answer: DHCP comes first."""

Read = Callable[[str], str]
"""Returns the text of a document; FileNotFoundError when the source does not have it."""


@dataclass(frozen=True)
class Server:
    """The server's id and availability zone in the cloud; "" where the cloud has none."""

    id: str = ""
    zone: str = ""


UNKNOWN = Server()


@dataclass(frozen=True)
class Found:
    """The user data, the server's name as a node's, its identity, and its network data ({} without)."""

    user_data: str
    name: str
    server: Server = UNKNOWN
    network: Mapping[str, Any] = field(default_factory=dict)


def find(layout: Layout) -> Found:
    """Try all sources; NotFound when none has user data, BadInput for a damaged document."""
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
    """Read a mounted config drive; NotFound without user data, BadInput for a damaged document."""
    try:
        return _found(lambda name: (folder / DOCUMENTS / name).read_text())
    except FileNotFoundError as error:
        raise NotFound(
            f"the config drive has no {Path(error.filename).name}: was the server created with user data?"
        ) from error


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
    """Ask the metadata service until it answers; NotFound when it does not, or has no user data."""
    end = time.monotonic() + patience
    while True:
        try:
            return _found(lambda name: _get(f"{url}/{DOCUMENTS}/{name}"))
        except OSError as error:
            if isinstance(error, FileNotFoundError) or time.monotonic() > end:
                raise NotFound(f"no config drive, and the metadata service has no user data: {error}") from error
            time.sleep(0.5)


def name_of(meta: Mapping[str, Any]) -> str:
    """The server's name as a node's: a DNS label in lower case; the machine's own name when the cloud has none."""
    name = str(meta.get("name") or meta.get("hostname") or socket.gethostname())
    return name.lower().partition(".")[0]


def server_of(meta: Mapping[str, Any]) -> Server:
    """The server's identity in Nova's metadata (`uuid` and `availability_zone`)."""
    return Server(str(meta.get("uuid") or ""), str(meta.get("availability_zone") or ""))


def _found(read: Read) -> Found:
    try:
        user_data, meta = read("user_data"), _mapping(read, "meta_data.json")
    except UnicodeDecodeError as error:
        raise BadInput("the server's user data is not text") from error
    try:
        network = _mapping(read, "network_data.json")
    except FileNotFoundError:
        network = {}
    return Found(user_data, name_of(meta), server_of(meta), network)


def _mapping(read: Read, name: str) -> Mapping[str, Any]:
    try:
        document = json.loads(read(name))
    except ValueError as error:
        raise BadInput(f"the cloud's {name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadInput(f"the cloud's {name} is not a JSON object")
    return document


class _SameServer(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: user data comes from the link-local address, or not at all."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _SameServer)
    try:
        with opener.open(url, timeout=5) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            raise FileNotFoundError(f"{url} answered {error}") from error
        raise
    return content.decode()
