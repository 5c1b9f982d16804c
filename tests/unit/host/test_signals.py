import os
import signal
import subprocess
import sys

import pytest

DURING_WAIT = """
import os, signal
from moorage.host.signals import stop_on_sigterm
stop = stop_on_sigterm()
with stop._cond:  # as `stop.wait` does
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
        pass
raise SystemExit(7 if stop.wait(30) else 1)
"""
IN_ANOTHER_THREAD = """
import signal, threading, time
from moorage.host.signals import stop_on_sigterm
stop = stop_on_sigterm()

def receive():
    while not stop._cond._waiters:
        time.sleep(0.01)
    time.sleep(0.1)  # until the main thread is in the system call
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=receive).start()
stop.wait()
raise SystemExit(7)
"""


@pytest.mark.unit
@pytest.mark.parametrize("program", [DURING_WAIT, IN_ANOTHER_THREAD], ids=["during wait", "in another thread"])
def test_stop_on_sigterm_sets_the_event(program):
    """A handler that sets the event waits for a lock in the first case, and does not run in the second."""
    ended = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert ended.returncode == 7


@pytest.mark.unit
def test_stop_on_sigterm_ignores_other_signals():
    program = """
import signal, time
from moorage.host.signals import stop_on_sigterm
signal.signal(signal.SIGUSR1, lambda number, frame: None)
stop = stop_on_sigterm()
signal.raise_signal(signal.SIGUSR1)
raise SystemExit(stop.wait(0.2))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == os.EX_OK
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
