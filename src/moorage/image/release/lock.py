"""One build or download of a release at a time on a machine, and a clear error for a full disk."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moorage.model.errors import Failed


@contextmanager
def exclusive(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold `folder`'s lock until the block or the process ends; wait, with a report, while another process holds it.

    Failed when the disk gets full meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _explain_full_disk(folder), (folder / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another process that builds or downloads a release")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _explain_full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        again = "free some space and run it again: finished files are kept"
        raise Failed(f"the disk of {folder} is full", again) from error
