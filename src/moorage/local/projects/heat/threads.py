"""Run Heat's engine as threads of the API's process."""

from __future__ import annotations

import time
from typing import Any

from moorage.local.layout import Layout

# Most resources are complete at once; a server takes seconds, and polling Nova costs time.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.15, 1.5, 0.6
CANCEL_TIMEOUT = 15.0  # seconds, as in Heat itself


def start(layout: Layout) -> None:
    """Start the engine; returns when it listens."""
    from heat.engine import scheduler, service, template, worker
    from heat.rpc import api
    from oslo_config import cfg

    _poll_faster(scheduler.TaskRunner)
    scheduler.ENABLE_SLEEP = False  # otherwise Heat pauses for a second before each resource without dependencies
    template._get_template_extension_manager()
    worker._cancel_workers = _cancel_workers
    service.EngineService(cfg.CONF.host, api.ENGINE_TOPIC).start()


def _cancel_workers(stack: Any, threads: Any, engine: str, _rpc: Any) -> bool:
    """Stop the work on a stack that will be deleted; False when some of it continues.

    Heat polls every five seconds, and waits fifteen for engines that have died. This is the only engine; it takes over
    the locks of a dead one later.
    """
    from heat.db import api
    from heat.engine import worker

    def is_working() -> bool:
        return engine in api.engine_get_all_locked_by_stack(stack.context, stack.id)

    if is_working():
        worker._cancel_check_resource(stack.id, engine, threads)
    deadline = time.monotonic() + CANCEL_TIMEOUT
    while is_working():
        if time.monotonic() > deadline:
            return False
        time.sleep(FIRST_PAUSE)
    return True


def _poll_faster(runner: Any) -> None:
    """Make Heat poll soon and then at growing intervals, instead of once a second."""

    def sleep(self: Any, wait_time: float | None) -> None:
        if wait_time:
            self.polls = getattr(self, "polls", 0) + 1
            time.sleep(poll_interval(self.polls))

    runner._sleep = sleep


def poll_interval(polls: int) -> float:
    """Seconds until the next poll of a resource after that many polls."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** (polls - 1))
