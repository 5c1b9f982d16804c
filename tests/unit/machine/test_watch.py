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
    made = Machine("m", "m", str(tmp_path), "12-1", 1, 512, 1, "moorage")
    process = subprocess.Popen(["sleep", "60"])
    made.process.write_text(json.dumps({"pid": process.pid, "started": start_time(process.pid), "monitor": 1}))
    yield made
    process.kill()
    process.wait()


@pytest.fixture
def message(monkeypatch: pytest.MonkeyPatch) -> tuple[watch.Watch, threading.Event]:
    monkeypatch.setattr(life, "REBOOT", 0.1)
    event = threading.Event()
    return watch.Watch(lambda machine_id: event.set()), event


def end(machine: Machine) -> None:
    subprocess.run(["kill", "-9", str(json.loads(machine.process.read_text())["pid"])], check=True)


def test_unexpected_end_is_reported(machine: Machine, message: tuple[watch.Watch, threading.Event]) -> None:
    watcher, event = message
    watcher.expect(machine)
    assert not event.wait(0.2)
    end(machine)
    assert event.wait(5)


def test_requested_stop_is_not_reported(machine: Machine, message: tuple[watch.Watch, threading.Event]) -> None:
    watcher, event = message
    watcher.expect(machine)
    watcher.forget(machine.id)
    end(machine)
    assert not event.wait(0.5)


def test_end_before_watch_is_reported(machine: Machine, message: tuple[watch.Watch, threading.Event]) -> None:
    watcher, event = message
    end(machine)
    watcher.expect(machine)
    assert event.wait(5)


def test_machine_in_reboot_runs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    end(machine)
    once_more = subprocess.Popen(["sleep", "60"])
    known = {"pid": once_more.pid, "started": start_time(once_more.pid), "monitor": 1}
    timer = threading.Timer(0.2, machine.process.write_text, [json.dumps(known)])
    timer.start()
    assert life.runs(machine)
    timer.join()
    once_more.kill()
    once_more.wait()
    monkeypatch.setattr(life, "REBOOT", 0.1)
    assert not life.runs(machine)


def test_machine_without_monitor_does_not_run(machine: Machine) -> None:
    end(machine)
    machine.process.unlink()
    assert not life.runs(machine)
