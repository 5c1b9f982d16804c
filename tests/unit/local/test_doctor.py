"""The doctor's findings for a machine's facts."""

from dataclasses import replace

import pytest

from moorage.local.doctor import GIB, examine
from moorage.local.facts import Facts

pytestmark = pytest.mark.unit

GOOD = Facts(
    root=True,
    architecture="x86_64",
    programs_missing=(),
    packages_missing=(),
    filesystems_missing=(),
    namespaces_missing=(),
    controllers_missing=(),
    devices_missing=(),
    netfilter=True,
    ports_taken={},
    bridges_taken=(),
    subnet_users=(),
    disk_free=40 * GIB,
    disk_path="/var/lib",
    memory_available=8 * GIB,
)


def test_suitable_machine_has_no_findings():
    assert examine(GOOD) == []


@pytest.mark.parametrize(
    ("change", "subject", "fix"),
    [
        ({"root": False}, "root", "sudo"),
        ({"architecture": "aarch64"}, "architecture", "x86_64"),
        ({"programs_missing": ("ovs-vswitchd", "mariadbd")}, "packages", "mariadb-server openvswitch-switch"),
        ({"programs_missing": ("libvirtd", "xorrisofs")}, "packages", "libvirt-daemon xorriso"),
        ({"packages_missing": ("nova",)}, "python", "uv sync"),
        ({"filesystems_missing": ("squashfs",)}, "kernel", "modprobe squashfs"),
        ({"namespaces_missing": ("cgroup",)}, "kernel", "kernel"),
        ({"controllers_missing": ("memory",)}, "kernel", "cgroup_enable=memory"),
        ({"devices_missing": ("/dev/loop-control",)}, "device", "modprobe loop"),
        ({"devices_missing": ("/dev/net/tun",)}, "device", "modprobe tun"),
        ({"netfilter": False}, "kernel", "nf_tables"),
        ({"ports_taken": {5000: "keystone"}}, "port", "ss -lntp"),
        ({"bridges_taken": ("br-int",)}, "bridge", "systemctl disable --now openvswitch-switch"),
        ({"subnet_users": ("eth1",)}, "address", "another address"),
        ({"disk_free": GIB}, "disk", "MOORAGE_STATE"),
        ({"memory_available": GIB}, "memory", "larger machine"),
    ],
)
def test_missing_feature_is_fatal_with_fix(change, subject, fix):
    (finding,) = examine(replace(GOOD, **change))
    assert finding.subject == subject
    assert fix in finding.fix
    assert finding.fatal


@pytest.mark.parametrize(
    "change",
    [{"disk_free": 10 * GIB}, {"memory_available": 4 * GIB}, {"devices_missing": ("/dev/fuse",)}],
)
def test_scarce_resource_is_not_fatal(change):
    (finding,) = examine(replace(GOOD, **change))
    assert not finding.fatal


def test_package_is_named_once():
    (finding,) = examine(replace(GOOD, programs_missing=("ovs-vswitchd", "ovs-vsctl")))
    assert finding.fix.count("openvswitch-switch") == 1


def test_all_findings_are_reported():
    findings = examine(replace(GOOD, root=False, disk_free=0, ports_taken={5000: "keystone", 9696: "neutron"}))
    assert [finding.subject for finding in findings] == ["root", "port", "port", "disk"]
