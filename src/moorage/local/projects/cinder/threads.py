"""Run Cinder's scheduler and volume service as threads of the API's process."""

from __future__ import annotations

import time

from moorage.local.layout import Layout

BACKEND_TIMEOUT = 60.0


def prepare(layout: Layout) -> None:
    """Register the volume service's options before the API parses the configuration."""
    import cinder.cmd.volume  # noqa: F401


def start(layout: Layout) -> None:
    """Start the services; returns when every backend has initialized."""
    import os_brick
    from cinder import service
    from cinder.cmd.volume import host_opt
    from cinder.common import constants
    from oslo_config import cfg

    os_brick.setup(cfg.CONF)
    service.Service.create(binary="cinder-scheduler").start()
    for backend in cfg.CONF.enabled_backends:
        cfg.CONF.register_opt(host_opt, group=backend)
        volume = service.Service.create(
            host=f"{cfg.CONF.host}@{backend}",
            service_name=backend,
            binary=constants.VOLUME_BINARY,
            coordination=True,
        )
        volume.start()
        _wait_until_initialized(volume.manager, backend)


def _wait_until_initialized(manager: object, backend: str) -> None:
    deadline = time.monotonic() + BACKEND_TIMEOUT
    while not manager.is_working():  # type: ignore[attr-defined]
        if time.monotonic() > deadline:
            raise TimeoutError(f"Cinder's backend {backend} did not initialize; see Cinder's log")
        time.sleep(0.1)
