"""The services' configuration files, rendered from `projects/<name>/` to `<state>/etc/<name>/`."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.local.layout import EXTERNAL_CIDR, GATEWAY, HOST, LOOPBACK, REGION, Layout, packaged_etc
from moorage.local.secrets import Secrets, ensure_key_repository, write_private
from moorage.local.services import SERVICES, Service

DEFAULT_STATE = Path("/var/lib/moorage")
PROJECTS = Path(__file__).parent / "projects"


@dataclass(frozen=True)
class ConfigOverrides:
    """What depends on this machine: the datapath (`system` when its kernel has one, else `netdev`).

    `virt_type` is `kvm` or `qemu`, which emulates the processor.
    """

    datapath: str
    virt_type: str = "qemu"


def templates(service: Service) -> list[str]:
    """List the file names of a service's templates; each rendered file has the same name."""
    return sorted(p.name for p in (PROJECTS / service.name).iterdir() if p.suffix in (".conf", ".ini", ".json"))


def render(service: Service, layout: Layout, secrets: Secrets, overrides: ConfigOverrides) -> dict[str, str]:
    """File name → text. jinja2.UndefinedError when a template uses an unknown variable."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(PROJECTS),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    values = _template_values(service, layout, secrets, overrides)
    return {name: environment.get_template(f"{service.name}/{name}").render(values) for name in templates(service)}


def _template_values(service: Service, layout: Layout, secrets: Secrets, overrides: ConfigOverrides) -> dict[str, Any]:
    return {
        "service": service,
        "layout": layout,
        "secrets": secrets,
        "overrides": overrides,
        "etc": layout.etc / service.name,
        "data": layout.data(service.name),
        "gateway": GATEWAY,
        "loopback": LOOPBACK,
        "external_cidr": EXTERNAL_CIDR,
        "region": REGION,
        "host": HOST,
        "cgroup_parent": cgroup_parent(layout.state),
        "ports": {entry.name: entry.port for entry in SERVICES},
    }


def cgroup_parent(state: Path) -> str:
    """The cgroup of all machines of a cloud; clouds with other state have another one."""
    if state == DEFAULT_STATE:
        return "moorage"
    return f"moorage-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}"


def write(layout: Layout, secrets: Secrets, overrides: ConfigOverrides) -> None:
    """Write every service's configuration, and the files from its package."""
    for service in SERVICES:
        folder = layout.etc / service.name
        for directory in (folder, layout.data(service.name)):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        packaged = packaged_etc(service.name)
        if packaged.is_dir():
            shutil.copytree(packaged, folder, dirs_exist_ok=True)
        for name, text in render(service, layout, secrets, overrides).items():
            write_private(folder / name, text)
    for repository in ("fernet", "credential"):
        ensure_key_repository(layout.data("keystone") / repository)
