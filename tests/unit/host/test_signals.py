import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal
from moorage.host.signals import stop_on_sigterm
stop = stop_on_sigterm()
with stop._cond:  # as `stop.wait` does
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
        pass
raise SystemExit(7 if stop.wait(30) else 1)
"""


@pytest.mark.unit
def test_stop_on_sigterm_during_wait_sets_the_event():
    """A handler that set the event itself would wait for the lock that the interrupted thread holds."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], timeout=60, check=False)
    assert ended.returncode == 7


@pytest.mark.unit
def test_stop_on_sigterm_without_a_signal_stays_unset():
    program = "from moorage.host.signals import stop_on_sigterm; raise SystemExit(stop_on_sigterm().is_set())"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == os.EX_OK
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
