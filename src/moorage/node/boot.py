"""`moorage-node boot`: every boot runs all steps; completed ones take no time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from moorage.model.errors import MoorageError
from moorage.node import control_plane, network, signalling, source, update, userdata, worker
from moorage.node.files import File, write_all
from moorage.node.layout import Layout
from moorage.node.machine import Machine
from moorage.node.node import Node, Step
from moorage.node.signalling import Report
from moorage.node.userdata import Signal
from moorage.node.waiting import Clock, Deadline, NotYet

Say = Callable[[str], None]

TRIAL_TIMES, TRIAL_LEAST, TRIAL_MOST = 10, 30.0, 300.0
"""A node with a new image must be Ready in ten times the seconds of its last healthy boot, within these limits."""
SIGNAL_TIME = 120.0
"""Seconds in which a failure must be signaled; a success has the rest of its time."""


def boot(layout: Layout, machine: Machine, clock: Clock, say: Say) -> None:
    """Bring the node up and signal the stack; an error is signaled, if possible, and raised.

    A new image that fails is given up instead: the machine reboots into the former one.
    """
    try:
        _boot(layout, machine, clock, say)
    except Exception:
        if (slot := update.on_trial(layout)) is not None:
            say(f"the new image in slot {slot} did not get Ready; rebooting into the other one")
            update.give_up(layout, slot)
            machine.reboot()
        raise


def trial_time(layout: Layout) -> float:
    """Seconds in which a node with a new image must be Ready, before it boots the former one again."""
    try:
        last = float(layout.ready_seconds.read_text())
    except (OSError, ValueError):
        return TRIAL_MOST
    return min(max(TRIAL_TIMES * last, TRIAL_LEAST), TRIAL_MOST)


def _boot(layout: Layout, machine: Machine, clock: Clock, say: Say) -> None:
    began = None if layout.boot_began.exists() else clock.now()
    write_all({layout.boot_began: File("", rewritten_at_boot=True)})
    found = source.find(layout)
    configure_network(layout, machine, found.network, say)
    trial = update.on_trial(layout) is not None
    signal = None if trial else userdata.signal_of(found.user_data)
    try:
        data = userdata.parse(found.user_data)
    except MoorageError as error:
        _signal_failure(layout, signal, Report(found.name, False, error.message), clock, say)
        raise
    machine.set_hostname(found.name)
    patience = min(data.ready_timeout, trial_time(layout)) if trial else data.ready_timeout
    node = Node(found.name, data, layout, machine, Deadline.after(patience, clock), say, found.server)
    say(f"{node.name} is a {data.role} of cluster {data.cluster.name}")
    try:
        results = _run(node)
    except Exception as error:  # any error: the stack waits for a signal
        reason = str(error) or type(error).__name__
        _signal_failure(layout, signal, Report(node.name, False, reason), clock, say)
        raise
    signalling.send_once(layout, data.signal, Report(node.name, True, "Ready", results), node.deadline)
    say(f"{node.name} is Ready")
    if began is not None:  # not a second run in this boot, which finds everything started
        _record_time(layout, clock.now() - began, say)
    run(worker.afterwards() if data.role == "worker" else control_plane.afterwards(), node)


def _record_time(layout: Layout, seconds: float, say: Say) -> None:
    try:
        write_all({layout.ready_seconds: File(f"{seconds:.1f}\n", rewritten_at_boot=True)})
    except OSError as error:  # a full disk: the node is Ready all the same
        say(f"how long the boot took could not be recorded: {error}")


def configure_network(layout: Layout, machine: Machine, document: Mapping[str, Any], say: Say) -> None:
    """Configure what the cloud describes; without a usable description, DHCP does on all interfaces.

    Never raises: a failure that follows must be signaled.
    """
    try:
        described = network.configuration(document)
        for message in described.ignored:
            say(message)
        changed = write_all({layout.networks / name: File(text) for name, text in described.files.items()})
        if changed:
            machine.restart("systemd-networkd")
    except (MoorageError, OSError, subprocess.SubprocessError) as error:
        say(f"the network is configured by DHCP only: {error}")


def _run(node: Node) -> dict[str, str]:
    if node.data.role == "worker":
        run(worker.steps(), node)
        return {}
    run(control_plane.steps(), node)
    return control_plane.results(node)


def run(steps: Sequence[Step], node: Node) -> None:
    """Run the steps; a failure's message names the step, with the last lines of its units' journals."""
    for step in steps:
        node.report(step.doing)
        try:
            node.deadline.until(partial(_take, step, node), interval=1.0)
        except MoorageError as error:
            message = f"{step.doing}: {error.message}{_because(node, step)}"
            raise type(error)(message, error.hint) from error


def _take(step: Step, node: Node) -> None:
    """Run a step. Errors of the machine (a full disk, a stopping systemd) may pass: retry."""
    try:
        step.act(node)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotYet(str(error)) from error


def _because(node: Node, step: Step) -> str:
    failing = node.machine.failing(step.units) if step.units else []
    words = [f"{unit} is not running: {node.machine.last_log_line(unit) or 'no message'}" for unit in failing]
    return "".join(f"; {each}" for each in words)


def _signal_failure(layout: Layout, signal: Signal | None, report: Report, clock: Clock, say: Say) -> None:
    """Never raises: the console must end with the failure itself."""
    try:
        signalling.send_once(layout, signal, report, Deadline.after(SIGNAL_TIME, clock))
    except (MoorageError, OSError) as error:
        say(f"the failure could not be signaled to the stack: {error}")
