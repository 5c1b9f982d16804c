"""Run Nova's conductor, scheduler and compute service as threads of the API's process."""

from __future__ import annotations

import uuid
from typing import Any

from moorage.local.layout import HOST, VM_HOST, Layout
from moorage.local.projects.nova import cells, lost_builds
from moorage.local.serve import dependencies
from moorage.local.waiting import until

HOST_TIMEOUT = 60.0
COMPUTE = "nova-compute"


def prepare(layout: Layout) -> None:
    """Disable eventlet in Nova before any other module of Nova is imported, as Nova requires."""
    from nova import monkey_patch

    monkey_patch.patch(backend="threading")


def recover() -> None:
    """Repair the state that the previous Nova process left, before the API listens."""
    lost_builds.fail_lost_builds()
    _report_compute()


def start(layout: Layout) -> None:
    """Start the services; returns when the compute service is up, its host mapped, and its resources known."""
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
    _ensure_compute_identity(layout)
    service.Service.create(binary="nova-conductor", topic=conductor.RPC_TOPIC).start()
    service.Service.create(binary="nova-scheduler", topic=scheduler.RPC_TOPIC).start()
    # The compute service reports its resources, and plugs the interfaces of its servers, when it starts.
    for dependency in ("placement", "neutron"):
        dependencies.wait_for_health(dependency)
    service.Service.create(binary=COMPUTE, topic=compute.RPC_TOPIC, topic_alt=compute.RPC_TOPIC_ALT).start()
    hosts = {HOST}
    if layout.has_vms and _has_libvirt(layout):
        _create_vm_service().start()
        hosts.add(VM_HOST)
    _map_hosts(hosts)


def _has_libvirt(layout: Layout) -> bool:
    """Whether libvirtd answers: without it the host with machine containers serves all the same."""
    try:
        dependencies.wait_for_socket(layout.libvirt_socket)
    except TimeoutError:
        print(f"no virtual machines until a restart: {layout.log}/libvirtd.out says why libvirtd does not answer")
        return False
    return True


def _create_vm_service() -> Any:
    """Nova's second compute service, with the libvirt driver."""
    from nova import service
    from nova.compute import rpcapi as compute

    from moorage.local.vm import driver

    driver.install()
    settings = driver.CONF
    return service.Service(
        VM_HOST,
        COMPUTE,
        compute.RPC_TOPIC,
        service.SERVICE_MANAGERS[COMPUTE],
        report_interval=settings.report_interval,
        periodic_enable=settings.periodic_enable,
        periodic_fuzzy_delay=settings.periodic_fuzzy_delay,
        topic_alt=compute.RPC_TOPIC_ALT,
        compute_driver=driver.NAME,
    )


def _ensure_compute_identity(layout: Layout) -> None:
    """Create the identity before the first start: Nova refuses to start when a known host has none."""
    identity = layout.data("nova") / "compute_id"
    if not identity.exists():
        identity.write_text(str(uuid.uuid4()))


def _report_compute() -> None:
    """Count the compute service as up from now on: requests that it gets before it listens wait in a queue.

    Its own first report comes seconds after its start. After a longer stop it would count as down until then: the
    scheduler would find no host, and deleting a server would only delete its record while its machine keeps running.
    """
    from nova import context
    from nova.objects import ServiceList

    for _, cell_context in cells.contexts(context.get_admin_context()):
        for compute in ServiceList.get_by_binary(cell_context, COMPUTE, include_disabled=True):
            compute.report_count += 1
            compute.save()


def _map_hosts(hosts: set[str]) -> None:
    """Map the compute hosts to their cell, and wait until they and their resources are known."""
    from nova import context
    from nova.objects import host_mapping

    admin = context.get_admin_context()

    def is_known() -> bool:
        host_mapping.discover_hosts(admin)
        mapped = {mapping.host for mapping in host_mapping.HostMappingList.get_all(admin)}
        return hosts <= mapped and hosts <= _hosts_with_resources()

    until(is_known, HOST_TIMEOUT, "nova-compute did not report its resources; see Nova's log", pause=0.2)


def _hosts_with_resources() -> set[str]:
    from nova import context
    from nova.objects import ComputeNodeList

    return {
        node.host
        for _, cell_context in cells.contexts(context.get_admin_context())
        for node in ComputeNodeList.get_all(cell_context)
    }
