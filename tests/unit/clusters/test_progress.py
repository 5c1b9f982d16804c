"""For how long stacks have not changed."""

from __future__ import annotations

import pytest

from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters.progress import UNCHANGED_LIMIT, UNCHANGED_LIMIT_AFTER_OUTAGE, ProgressTracker

pytestmark = pytest.mark.unit

BASE, GROUP = Stack("b", "demo", "CREATE_IN_PROGRESS"), Stack("g", "demo-workers-1", "CREATE_IN_PROGRESS")
SERVER = StackResource(("nodes", "0", "server"), "OS::Nova::Server", "CREATE_IN_PROGRESS")


def test_each_stack_is_stuck_until_it_changes_or_is_updated():
    """A plan resumes one stack at a time: the other one must not lose its turn."""
    tracker = ProgressTracker()
    for stack in (BASE, GROUP):
        assert not tracker.update(stack, (), 0).stuck
    assert [tracker.update(stack, (), UNCHANGED_LIMIT).stuck for stack in (BASE, GROUP)] == [True, True]
    tracker.restart(BASE.id, UNCHANGED_LIMIT)
    later = UNCHANGED_LIMIT + 1
    assert [tracker.update(stack, (), later).stuck for stack in (BASE, GROUP)] == [False, True]
    assert not tracker.update(GROUP, [SERVER], later).stuck


def test_outage_shortens_the_limit_until_the_stack_is_updated():
    tracker = ProgressTracker()
    tracker.update(BASE, (), 0)
    tracker.update(GROUP, (), 0)
    tracker.mark_unresponsive()
    now = UNCHANGED_LIMIT_AFTER_OUTAGE
    assert [tracker.update(stack, (), now).stuck for stack in (BASE, GROUP)] == [True, True]
    tracker.restart(BASE.id, now)
    assert [tracker.update(stack, (), now + now).stuck for stack in (BASE, GROUP)] == [False, True]
