"""oslo.privsep without its daemons, because the services run as root already."""

from __future__ import annotations

import gc
from typing import Any


def run_in_process() -> None:
    """Make all present and future privilege contexts run their functions in this process."""
    from oslo_privsep import priv_context

    create = priv_context.PrivContext.__init__

    def create_without_daemon(self: Any, *args: Any, **kwargs: Any) -> None:
        create(self, *args, **kwargs)
        self.set_client_mode(False)

    priv_context.PrivContext.__init__ = create_without_daemon  # type: ignore[method-assign]
    for existing in gc.get_objects():
        if isinstance(existing, priv_context.PrivContext):
            existing.set_client_mode(False)
