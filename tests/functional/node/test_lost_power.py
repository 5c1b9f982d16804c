"""Power failures during a first boot, at each step: the next boot resumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from lab import Lab
from moorage.local.machine import life
from moorage.node import control_plane, worker
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.timeout(300)]

CONTROL_PLANE, WORKER = "lab-control-plane-0", "lab-worker-0"
CONTROL_PLANE_STEPS = tuple(step.doing for step in control_plane.steps())[:-2]
WORKER_STEPS = tuple(step.doing for step in worker.steps())[:-1]


@pytest.fixture
def lab(own_network: None, node_image: Any) -> Iterator[Lab]:
    with closing(Lab(node_image)) as made:
        yield made


def evenly(steps: tuple[str, ...], count: int) -> tuple[str, ...]:
    """So many of the steps, the first and the last among them."""
    return tuple(steps[round(number * (len(steps) - 1) / (count - 1))] for number in range(count))


def lose_power_at(lab: Any, name: str, steps: tuple[str, ...]) -> None:
    """Kill the machine as each of the steps begins, and start it again."""
    for doing in steps:
        seen = lab.console(name).count(f"]: {doing}")
        if seen == 0:
            until(lambda: lab.console(name), lambda reported, doing=doing: f"]: {doing}" in reported, pause=0.05)
        life.kill(lab.machines[name], lab.host)
        lab.start(name)


@pytest.mark.parametrize(
    ("control_plane_steps", "worker_steps"),
    [
        pytest.param(evenly(CONTROL_PLANE_STEPS, 3), evenly(WORKER_STEPS, 2), id="five steps"),
        pytest.param(CONTROL_PLANE_STEPS, WORKER_STEPS, id="each step", marks=pytest.mark.faults),
    ],
)
def test_first_boot_survives_power_failure(
    lab: Any, control_plane_steps: tuple[str, ...], worker_steps: tuple[str, ...]
) -> None:
    lab.boot(CONTROL_PLANE, "10.66.0.10", lab.user_data("control-plane"))
    lose_power_at(lab, CONTROL_PLANE, control_plane_steps)
    reported = lab.signal_of(CONTROL_PLANE)
    assert reported["status"] == "SUCCESS", reported
    lab.boot(WORKER, "10.66.0.11", lab.user_data("worker"))
    lose_power_at(lab, WORKER, worker_steps)
    reported = lab.signal_of(WORKER)
    assert reported["status"] == "SUCCESS", reported
    lines = lab.kubectl("get", "nodes", "--no-headers").splitlines()
    assert [line.split()[:2] for line in lines] == [[CONTROL_PLANE, "Ready"], [WORKER, "Ready"]]
    lab.kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")
