"""Run Neutron's RPC server and OVN synchronization as threads of the API's process."""

from __future__ import annotations

from typing import Any

from moorage.local.layout import Layout
from moorage.local.waiting import until

CHASSIS_TIMEOUT = 60.0


def prepare(layout: Layout) -> None:
    """Set in Neutron that this process is the first and only one of its API, and that it starts now.

    Neutron would read both from files in /tmp named by the parent's pid. The parent, the supervisor, remains the same
    when it restarts Neutron: OVN's events would still be sent to the old process.
    """
    from neutron.common import utils, wsgi_utils
    from oslo_utils import timeutils

    wsgi_utils._start_time = utils.datetime_to_ts(timeutils.utcnow())
    wsgi_utils._first_worker_result = True


def start(layout: Layout) -> None:
    """Start the workers and sync OVN's databases with Neutron's; returns when OVN binds ports here."""
    from neutron import service
    from neutron.conf.plugins.ml2.drivers.ovn import ovn_conf
    from neutron.plugins.ml2.drivers.ovn.mech_driver.ovsdb import ovn_db_sync, worker
    from neutron_lib.callbacks import events, registry, resources
    from neutron_lib.plugins import directory

    for plugin_worker in service._get_plugins_workers():
        # The maintenance worker needs a process of its own: here it would replace the API's connections.
        if not isinstance(plugin_worker, worker.MaintenanceWorker):
            plugin_worker.start()
    driver = directory.get_plugin().mechanism_manager.mech_drivers["ovn"].obj
    mode = ovn_conf.get_ovn_neutron_sync_mode()
    for synchronizer in (ovn_db_sync.OvnNbSynchronizer, ovn_db_sync.OvnSbSynchronizer):
        synchronizer(driver._plugin, driver, mode, is_maintenance=True).sync(delay_seconds=0)
    driver._start_maintenance_thread()
    registry.publish(resources.PROCESS, events.AFTER_SPAWN, None)
    _wait_for_chassis(directory.get_plugin())


def _wait_for_chassis(plugin: Any) -> None:
    from neutron_lib import context

    def is_registered() -> bool:
        return any(agent["alive"] for agent in plugin.get_agents(context.get_admin_context()))

    until(is_registered, CHASSIS_TIMEOUT, "ovn-controller did not register; see its log", pause=0.1)
