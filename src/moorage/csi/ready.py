"""Whether the driver can serve. Once the cloud has answered, its configuration is right."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from moorage.model.errors import MoorageError

log = logging.getLogger(__name__)


class Ready:
    """False until a first `read` of the cloud succeeds; True from then on, without more requests.

    Each call that needs the cloud reports when it is unreachable; restarting the driver would not help.
    """

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read
        self._is_ready = False

    def __call__(self) -> bool:
        if not self._is_ready:
            self._is_ready = self._check()
        return self._is_ready

    def _check(self) -> bool:
        try:
            self._read()
        except MoorageError as error:
            log.warning("not ready: %s", error.message)
            return False
        return True
