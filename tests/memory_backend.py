"""A Cinder backend with volumes in memory; its clock advances only in `sleep`, so that tests do not wait."""

from __future__ import annotations

from moorage.cloud.port.volumes import Volumes
from moorage.csi.cinder.backend import CinderBackend
from moorage.csi.cinder.reader import Settings, Timeouts


class Clock:
    """Seconds that pass only during `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def backend_on(volumes: Volumes) -> CinderBackend:
    clock = Clock()
    return CinderBackend(volumes, Settings("demo", timeouts=Timeouts(clock=clock, sleep=clock.sleep)))
