"""One cluster for all end-to-end tests; a failing test prints its events and logs."""

from __future__ import annotations

import subprocess

import pytest
from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from cluster import RunCluster

# The SDK's, of its own settings and of its dependencies.
SDK_WARNINGS = ("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning", "ignore:Support for InfluxDB")


UNREACHABLE = (AssertionError, subprocess.TimeoutExpired, SDKException, ClientException)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.filterwarnings(*SDK_WARNINGS))


@pytest.fixture(scope="session")
def run_cluster(cloud, tmp_path_factory):
    made = RunCluster(cloud, tmp_path_factory.mktemp("manifests"))
    yield made
    made.delete()


@pytest.fixture
def cluster(run_cluster):
    """One control-plane node and two workers, all Ready; a module's objects in it exist until the module's end."""
    return run_cluster.get()


@pytest.fixture(scope="module")
def emptied(run_cluster):
    yield
    if run_cluster.cluster is not None:
        run_cluster.get().empty()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    run = item.funcargs.get("run_cluster")
    if call.when == "call" and report.failed and run and run.cluster:
        report.sections += message(run.cluster)
    return report


def message(cluster):
    found = []
    try:
        for name, text in cluster.message():
            found.append((f"{name} of the cluster {cluster.name}", text[-8000:]))
    except UNREACHABLE as error:
        found.append((f"the cluster {cluster.name} or its cloud cannot be asked", str(error)))
    return found
