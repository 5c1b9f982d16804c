"""Heat's engine as threads beside its API."""

from __future__ import annotations

import time
from typing import Any

from moorage.local.layout import Layout

# Most resources are there at once; a server takes seconds, and asking Nova is not free.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.15, 1.5, 0.6


def start(layout: Layout) -> None:
    """Start the engine; return when it listens."""
    from heat.engine import scheduler, service, template
    from heat.rpc import api
    from oslo_config import cfg

    _poll_faster(scheduler.TaskRunner)
    scheduler.ENABLE_SLEEP = False  # which is left for a second's pause before each resource that waits for nothing
    template._get_template_extension_manager()
    service.EngineService(cfg.CONF.host, api.ENGINE_TOPIC).start()


def _poll_faster(runner: Any) -> None:
    """Let Heat look for what it asked for soon and then more seldom, instead of once a second."""

    def sleep(self: Any, wait_time: float | None) -> None:
        if wait_time:
            self.looked = getattr(self, "looked", 0) + 1
            time.sleep(pause(self.looked))

    runner._sleep = sleep


def pause(looked: int) -> float:
    """Seconds until the next look at a resource that has been looked at so many times."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** (looked - 1))
