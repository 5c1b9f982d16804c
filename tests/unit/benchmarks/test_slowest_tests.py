"""Tests that have become slow are named, whatever the machine's speed."""

from __future__ import annotations

import pytest
from benchmarks import slowest_tests

pytestmark = pytest.mark.unit

THEN = {"a": 10.0, "b": 20.0, "c[x|y]": 30.0}


def test_slower_on_a_slow_machine_names_only_the_test_that_doubled():
    now = {"a": 30.0, "b": 60.0, "c[x|y]": 180.0, "new": 500.0}
    assert slowest_tests.slower(now, THEN) == {"c[x|y]": 2.0}


def test_slower_without_a_table_names_nothing():
    assert slowest_tests.slower(THEN, {}) == {}


def test_read_returns_what_was_written():
    assert slowest_tests.read("# Title\n\n" + slowest_tests.written(THEN)) == THEN


def test_written_keeps_the_slowest_only():
    assert slowest_tests.read(slowest_tests.written(THEN, count=1)) == {"c[x|y]": 30.0}


def test_times_come_from_the_lanes_that_ran(tmp_path):
    case = '<testcase classname="tests.e2e.test_x" name="test_y" time="1.5"/>'
    (tmp_path / "cloud.xml").write_text(f"<testsuites><testsuite>{case}</testsuite></testsuites>")
    assert slowest_tests.times(tmp_path) == {"tests.e2e.test_x::test_y": 1.5}
