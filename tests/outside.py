"""Reach the package archives from tests in their own network namespace.

Only what goes into the cache may be downloaded so; a second run downloads nothing.
"""

from __future__ import annotations

import os

VARIABLE = "MOORAGE_TEST_OUTSIDE"


def remember() -> None:
    """Keep the network namespace that we are in now; call before leaving it."""
    if VARIABLE not in os.environ:
        descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
        os.environ[VARIABLE] = f"/proc/{os.getpid()}/fd/{descriptor}"


def outside(*words: str) -> tuple[str, ...]:
    """A command that fetches, as it must be run to have the machine's own network."""
    namespace = os.environ.get(VARIABLE)
    return ("nsenter", f"--net={namespace}", *words) if namespace else words
