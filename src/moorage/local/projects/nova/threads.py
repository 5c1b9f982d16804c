"""Nova's conductor, scheduler and compute service as threads beside its API."""

from __future__ import annotations

import time
import uuid

from moorage.local.layout import Layout
from moorage.local.projects.nova import cells, forgotten
from moorage.local.serve import dependencies

HOST_TIMEOUT = 60.0
COMPUTE = "nova-compute"


def prepare(layout: Layout) -> None:
    """Let Nova shut eventlet out before anything else of it is imported, as it insists."""
    from nova import monkey_patch

    monkey_patch.patch(backend="threading")


def take_over() -> None:
    """Put right what the Nova before this one left; nobody can ask for anything meanwhile."""
    forgotten.give_up()
    _report_compute()


def start(layout: Layout) -> None:
    """Start the services; return when the compute service is up, its host mapped, and its resources known."""
    import nova.conf
    import os_brick
    import os_vif
    from nova import service
    from nova.compute import rpcapi as compute
    from nova.conductor import rpcapi as conductor
    from nova.scheduler import rpcapi as scheduler

    from moorage.local.machine import install

    install()
    os_brick.setup(nova.conf.CONF)
    os_vif.initialize()
    _keep_compute_identity(layout)
    service.Service.create(binary="nova-conductor", topic=conductor.RPC_TOPIC).start()
    service.Service.create(binary="nova-scheduler", topic=scheduler.RPC_TOPIC).start()
    # The compute service reports its resources, and plugs the servers that it brings back, as it starts.
    for needed in ("placement", "neutron"):
        dependencies.wait_for_health(needed)
    service.Service.create(binary=COMPUTE, topic=compute.RPC_TOPIC, topic_alt=compute.RPC_TOPIC_ALT).start()
    _map_host()


def _keep_compute_identity(layout: Layout) -> None:
    """Nova refuses to start when the identity of a known host is gone; so it is made before the first
    start."""
    identity = layout.data("nova") / "compute_id"
    if not identity.exists():
        identity.write_text(str(uuid.uuid4()))


def _report_compute() -> None:
    """Count the compute service as up from now on: what it is asked before it listens waits for it in a queue.

    Its own first report comes seconds after it has started. After a longer stop it counts as down until then: no
    server would find a host, and one that is deleted would only leave the database, its machine running on.
    """
    from nova import context
    from nova.objects import ServiceList

    for _, inside in cells.each(context.get_admin_context()):
        for compute in ServiceList.get_by_binary(inside, COMPUTE, include_disabled=True):
            compute.report_count += 1
            compute.save()


def _map_host() -> None:
    """Put the compute host into its cell, and see that it is there with its resources."""
    from nova import context
    from nova.objects import host_mapping

    admin = context.get_admin_context()
    deadline = time.monotonic() + HOST_TIMEOUT
    while True:
        host_mapping.discover_hosts(admin)
        if len(host_mapping.HostMappingList.get_all(admin)) > 0 and _resources_known():
            return
        if time.monotonic() > deadline:
            raise TimeoutError("nova-compute did not report its resources; Nova's log says why")
        time.sleep(0.2)


def _resources_known() -> bool:
    from nova import context
    from nova.objects import ComputeNodeList

    return any(len(ComputeNodeList.get_all(inside)) > 0 for _, inside in cells.each(context.get_admin_context()))
