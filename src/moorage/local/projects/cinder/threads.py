"""Run Cinder's scheduler and volume service as threads of the API's process."""

from __future__ import annotations

from moorage.local.layout import Layout
from moorage.local.waiting import until

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
        reason = f"Cinder's backend {backend} did not initialize; see Cinder's log"
        until(volume.manager.is_working, BACKEND_TIMEOUT, reason, pause=0.1)
