"""A test that fails tells what its cluster said."""

from __future__ import annotations

import subprocess

import pytest

from cluster import Cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    cluster = item.funcargs.get("cluster")
    if call.when == "call" and report.failed and isinstance(cluster, Cluster):
        report.sections += told(cluster)
    return report


def told(cluster):
    found = []
    try:
        for name, text in cluster.told():
            found.append((f"{name} of the cluster {cluster.name}", text[-8000:]))
    except (AssertionError, subprocess.TimeoutExpired) as silent:  # of what cannot be asked any more
        found.append((f"the cluster {cluster.name} says no more", str(silent)))
    return found
