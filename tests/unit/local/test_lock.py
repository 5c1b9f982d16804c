import subprocess
import sys
import time

import pytest

from moorage.local.lock import exclusive
from moorage.model.errors import Conflict

pytestmark = pytest.mark.unit

HOLDER = """
import sys
from pathlib import Path
from moorage.local.lock import exclusive
with exclusive(Path(sys.argv[1]), print, "busy"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the lock until its input ends; yield (lock, process)."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield tmp_path / "lock", process
        process.kill()


def test_second_process_waits_and_reports_why(holder):
    lock, process = holder
    reported = []

    def report(text):
        reported.append(text)
        process.stdin.close()

    with exclusive(lock, report, "another process is running"):
        pass
    assert reported[0] == "waiting: another process is running"


def test_second_process_times_out(holder):
    lock, _ = holder
    with (
        pytest.raises(Conflict, match="another process is running"),
        exclusive(lock, lambda text: None, "another process is running", timeout=0.1),
    ):
        pass


def test_killed_holder_releases_lock(holder):
    lock, process = holder
    process.kill()
    started = time.monotonic()
    with exclusive(lock, lambda text: None, "busy"):
        pass
    assert time.monotonic() - started < 10
