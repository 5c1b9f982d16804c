"""The compute host with virtual machines: Nova's driver as we change it, libvirtd's files, and what is left of QEMU."""

from __future__ import annotations

import inspect
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moorage.local.cloud import LocalCloud
from moorage.local.layout import Layout
from moorage.local.programs import programs
from moorage.local.vm import daemon

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore"),  # warnings from importing Nova
]


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path / "state", tmp_path / "run", tmp_path / "cache")
    made.create_folders()
    return made


@pytest.fixture(scope="module")
def module() -> Any:
    pytest.importorskip("nova", reason="the extra `local` is not installed")
    pytest.importorskip("libvirt", reason="the extra `vm` is not installed")
    from moorage.local.vm import driver

    return driver


def test_methods_match_novas_signatures(module):
    own, base = module.VmDriver, module.libvirt_driver.LibvirtDriver
    for name, method in vars(own).items():
        if inspect.isfunction(method) and hasattr(base, name):
            assert list(inspect.signature(method).parameters) == list(
                inspect.signature(getattr(base, name)).parameters
            ), name


@pytest.mark.parametrize(("datapath", "offloads"), [("netdev", "off"), ("system", None)])
def test_guest_computes_checksums_where_the_switch_does_not(module, monkeypatch, datapath, offloads):
    made = module.config.LibvirtConfigGuestInterface()
    made.net_type, made.mac_addr, made.driver_name, made.model = "ethernet", "fa:16:3e:00:00:01", "qemu", "virtio"
    monkeypatch.setattr(module.vif.LibvirtGenericVIFDriver, "get_config", lambda *_: made)
    monkeypatch.setattr(module, "CONF", SimpleNamespace(moorage=SimpleNamespace(datapath=datapath)))
    host = module.VifDriver().get_config(None, None, None, None, None).format_dom().find("driver/host")
    assert (None if host is None else host.get("csum")) == offloads


def test_volume_is_its_file(module):
    connection = {"driver_volume_type": "moorage_file", "data": {"path": "/volumes/v1"}, "serial": "v1"}
    host = SimpleNamespace(find_secret=lambda *_: None)
    disk = {"type": "disk", "dev": "vdb", "bus": "virtio"}
    element = module.FileVolumeDriver(host).get_config(connection, disk).format_dom()
    assert element.get("type") == "file"
    assert element.find("source").get("file") == "/volumes/v1"
    assert element.find("serial").text == "v1"
    assert element.find("driver").get("type") == "raw"


class Attached(SimpleNamespace):
    """A volume of Nova, as far as it is detached."""

    detached = 0

    def driver_detach(self, *_):
        self.detached += 1


@pytest.mark.parametrize(
    ("host", "own", "detached"), [("moorage-vm", True, 1), ("moorage", True, 0), ("moorage", False, 0)]
)
def test_volume_is_detached_from_its_virtual_machine(module, monkeypatch, host, own, detached):
    """Nova's own method asks whether the instance is on the host of its configuration."""
    recorded = []
    monkeypatch.setattr(module, "_detach_of_first_host", lambda *arguments, **_: recorded.append(arguments))
    driver, volume = object.__new__(module.VmDriver) if own else object(), Attached()
    module._detach(volume, None, SimpleNamespace(host=host), None, driver, "attachment", destroy_bdm=True)
    assert volume.detached == detached
    assert [arguments[-1] for arguments in recorded] == ["attachment"], "its records are Nova's"


def test_nova_calls_the_changed_method(module):
    module.install()
    assert module.block_device.DriverVolumeBlockDevice._do_detach is module._detach


class Recorded(SimpleNamespace):
    saved = 0

    def save(self):
        self.saved += 1


@pytest.mark.parametrize(
    ("disabled", "reason", "enabled", "expected"),
    [
        (False, None, False, (True, "AUTO: connection lost")),
        (True, "AUTO: connection lost", True, (False, None)),
        (True, "for maintenance", True, (True, "for maintenance")),
        (True, "for maintenance", False, (True, "for maintenance")),
        (False, None, True, (False, None)),
    ],
)
def test_lost_libvirt_disables_the_host_unless_an_operator_did(
    module, monkeypatch, disabled, reason, enabled, expected
):
    service, asked = Recorded(disabled=disabled, disabled_reason=reason), []
    monkeypatch.setattr(module.Service, "get_by_host_and_binary", lambda _, *key: asked.append(key) or service)
    changed = SimpleNamespace(_update_compute_provider_status=lambda *_: None)
    module.VmDriver._set_service_enabled(changed, enabled, None if enabled else "connection lost")
    assert (service.disabled, service.disabled_reason) == expected
    assert service.saved == (expected != (disabled, reason))
    assert asked == [("moorage-vm", "nova-compute")], "not the host with machine containers"


def test_lost_libvirt_is_logged_when_the_database_is_lost_too(module):
    def fail(*_):
        raise OSError("no database")

    module.VmDriver._set_host_enabled(SimpleNamespace(_set_service_enabled=fail), False, "connection lost")


def test_virtual_machines_are_added_until_that_succeeded_once(tmp_path):
    cloud = LocalCloud(tmp_path / "state", tmp_path / "run", tmp_path / "cache", tmp_path / "clouds.yaml")
    with cloud._adding_vms() as adding:
        assert not adding
    cloud.layout.libvirt.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        interrupted(cloud)
    for expected in (True, False):
        with cloud._adding_vms() as adding:
            assert adding is expected


def interrupted(cloud):
    with cloud._adding_vms() as adding:
        assert adding
        raise KeyboardInterrupt


def test_libvirtd_runs_once_the_cloud_has_virtual_machines(layout):
    assert not layout.has_vms
    assert "libvirtd" not in [program.name for program in programs(layout, None)]
    layout.libvirt.mkdir()
    names = [program.name for program in programs(layout, None)]
    assert names.index("ovsdb") < names.index("libvirtd") < names.index("nova")


def test_only_root_reaches_libvirtd(layout):
    daemon.write_configuration(layout)
    assert (layout.libvirt / "etc").stat().st_mode & 0o077 == 0
    settings = (layout.libvirt / "etc/libvirtd.conf").read_text()
    assert f'unix_sock_dir = "{layout.libvirt_run}"' in settings
    assert 'unix_sock_rw_perms = "0700"' in settings
    assert "clear_emulator_capabilities = 1" in (layout.libvirt / "etc/qemu.conf").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root:x:0:0::/root:/bin/sh\n", ["root", "libvirt-qemu"]),
        ("root:x:0:0::/root:/bin/sh\nlibvirt-qemu:x:107:107::/:/bin/false\n", ["root", "libvirt-qemu"]),
    ],
)
def test_account_is_added_once(tmp_path, text, expected):
    (tmp_path / "passwd").write_text(text)
    (tmp_path / "run").mkdir()
    made = daemon._with_account(tmp_path / "passwd", daemon.ACCOUNTS["passwd"], tmp_path / "run")
    assert [line.partition(":")[0] for line in made.read_text().splitlines()] == expected
    assert (tmp_path / "passwd").read_text() == text


def test_qemu_of_a_dead_libvirtd_is_ended_and_nothing_else(layout, tmp_path):
    layout.libvirt.mkdir()
    emulator = tmp_path / Path(daemon.EMULATOR).name
    shutil.copy("/bin/sleep", emulator)
    files = layout.libvirt_run / "run/qemu"
    files.mkdir(parents=True)
    with subprocess.Popen([emulator, "600"]) as left, subprocess.Popen(["sleep", "600"]) as other:
        for name, text in {"one": left.pid, "recycled": other.pid, "damaged": "x", "ended": 2**22 - 1}.items():
            (files / f"{name}.pid").write_text(f"{text}\n")
        try:
            daemon.stop_machines(layout, lambda text: None)
            assert left.wait(10) == -9
            assert other.poll() is None
        finally:
            left.kill()
            other.kill()
