"""The driver's section of nova.conf, the group [moorage]."""

from __future__ import annotations

from pathlib import Path

from oslo_config import cfg

from moorage.local.machine.host.linux import LinuxHost

GROUP = "moorage"
OPTIONS = [
    cfg.StrOpt("state_dir", default="/var/lib/moorage/machines", help="Folder of the servers."),
    cfg.StrOpt("run_dir", default="/run/moorage/machines", help="Folder of sockets and pids."),
    cfg.StrOpt("ovs_db", default="unix:/run/openvswitch/db.sock", help="Open vSwitch's database."),
    cfg.StrOpt("integration_bridge", default="br-int", help="The bridge that OVN manages."),
    cfg.StrOpt("datapath", default="netdev", choices=["system", "netdev"], help="Open vSwitch's datapath."),
    cfg.StrOpt("cgroup_parent", default="moorage", help="The cgroup that has a group for each server."),
]


def register() -> None:
    """Register the options with Nova's configuration."""
    import nova.conf

    nova.conf.CONF.register_opts(OPTIONS, group=GROUP)


def state() -> Path:
    import nova.conf

    return Path(nova.conf.CONF.moorage.state_dir)


def host() -> LinuxHost:
    import nova.conf

    settings = nova.conf.CONF.moorage
    return LinuxHost(settings.ovs_db, settings.integration_bridge, settings.datapath)
