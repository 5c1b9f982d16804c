"""Whether the driver can serve: once the cloud has answered, its configuration is right."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from moorage.model.errors import MoorageError

log = logging.getLogger(__name__)


class Ready:
    """False until the cloud has answered once, and True from then on, without more requests.

    Each call that needs the cloud reports when it is unreachable; restarting the driver would not help.
    """

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask
        self._answered = False

    def __call__(self) -> bool:
        if not self._answered:
            self._answered = self._try()
        return self._answered

    def _try(self) -> bool:
        try:
            self._ask()
        except MoorageError as error:
            log.warning("not ready: %s", error.message)
            return False
        return True
