"""When the end of a machine is reported. The machines here are plain processes."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.local.machine import life, watch
from moorage.local.machine.monitor import start_time
from moorage.local.machine.spec import Machine

pytestmark = pytest.mark.unit


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    created = Machine("m", "m", str(tmp_path), "12-1", 1, 512, 1, "moorage")
    process = subprocess.Popen(["sleep", "60"])
    created.process.write_text(json.dumps({"pid": process.pid, "started": start_time(process.pid), "monitor": 1}))
    yield created
    process.kill()
    process.wait()


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> tuple[watch.Watch, threading.Event]:
    monkeypatch.setattr(life, "REBOOT_TIMEOUT", 0.1)
    event = threading.Event()
    return watch.Watch(lambda machine_id: event.set()), event


def kill_machine(machine: Machine) -> None:
    subprocess.run(["kill", "-9", str(json.loads(machine.process.read_text())["pid"])], check=True)


def test_unexpected_end_is_reported(machine: Machine, watching: tuple[watch.Watch, threading.Event]) -> None:
    watcher, event = watching
    watcher.start_watching(machine)
    assert not event.wait(0.2)
    kill_machine(machine)
    assert event.wait(5)


def test_requested_stop_is_not_reported(machine: Machine, watching: tuple[watch.Watch, threading.Event]) -> None:
    watcher, event = watching
    watcher.start_watching(machine)
    watcher.stop_watching(machine.id)
    kill_machine(machine)
    assert not event.wait(0.5)


def test_end_before_watch_is_reported(machine: Machine, watching: tuple[watch.Watch, threading.Event]) -> None:
    watcher, event = watching
    kill_machine(machine)
    watcher.start_watching(machine)
    assert event.wait(5)


def test_machine_in_reboot_runs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_machine(machine)
    restarted = subprocess.Popen(["sleep", "60"])
    record = {"pid": restarted.pid, "started": start_time(restarted.pid), "monitor": 1}
    timer = threading.Timer(0.2, machine.process.write_text, [json.dumps(record)])
    timer.start()
    assert life.is_running(machine)
    timer.join()
    restarted.kill()
    restarted.wait()
    monkeypatch.setattr(life, "REBOOT_TIMEOUT", 0.1)
    assert not life.is_running(machine)


def test_machine_without_monitor_does_not_run(machine: Machine) -> None:
    kill_machine(machine)
    machine.process.unlink()
    assert not life.is_running(machine)
