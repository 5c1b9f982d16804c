"""Nova's libvirt driver, as the second compute host of one process and with this cloud's volumes.

Nova loads drivers from `nova.virt.*` only: call `install()` before its service is created. The contract of each method
is that of `nova.virt.driver.ComputeDriver`.
"""

from __future__ import annotations

import logging
import sys
import uuid
from pathlib import Path
from typing import Any

import nova.conf
from nova.context import get_admin_context
from nova.objects.instance import InstanceList
from nova.objects.service import Service
from nova.virt import block_device
from nova.virt.libvirt import config, vif
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt.volume import volume

from moorage.local.layout import HOST, VM_HOST
from moorage.local.machine.translate import VOLUME_TYPE

LOG = logging.getLogger(__name__)
CONF = nova.conf.CONF
NAME = "moorage_vm.VmDriver"
NODE_UUID = str(uuid.uuid5(uuid.NAMESPACE_URL, "moorage:compute-node/" + VM_HOST))


def install() -> None:
    """Register this module as `nova.virt.moorage_vm`."""
    sys.modules["nova.virt.moorage_vm"] = sys.modules[__name__]
    libvirt_driver.VOLUME_DRIVERS[VOLUME_TYPE] = f"{__name__}.FileVolumeDriver"
    block_device.DriverVolumeBlockDevice._do_detach = _detach


_detach_of_first_host = block_device.DriverVolumeBlockDevice._do_detach


def _detach(
    volume: Any, context: Any, instance: Any, volume_api: Any, virt_driver: Any, *rest: Any, **named: Any
) -> None:
    """Detach a volume from its machine, which Nova's own method only does on the first compute host."""
    if isinstance(virt_driver, VmDriver) and instance.host == VM_HOST:
        volume.driver_detach(context, instance, volume_api, virt_driver)
    _detach_of_first_host(volume, context, instance, volume_api, virt_driver, *rest, **named)


class VmDriver(libvirt_driver.LibvirtDriver):  # type: ignore[misc]
    """Virtual machines on this host. Nova's options and its identity on disk are those of the first compute host."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        self._host.get_hostname = lambda: VM_HOST
        self._host.get_node_uuid = lambda: NODE_UUID
        self.vif_driver = VifDriver(self._host)
        # Images of machine containers are raw ones, and older ones do not name their hypervisor.
        self.capabilities["supports_image_type_raw"] = False

    def init_host(self, host: str) -> None:
        Path(CONF.instances_path).mkdir(parents=True, exist_ok=True)
        super().init_host(host)

    def network_binding_host_id(self, context: Any, instance: Any) -> str:
        """The ports of both compute hosts are on the same switch."""
        return HOST

    def manages_network_binding_host_id(self) -> bool:
        return True

    def manage_image_cache(self, context: Any, all_instances: Any) -> None:
        """Nova lists the instances of the first compute host."""
        super().manage_image_cache(context, InstanceList.get_by_host(context, VM_HOST))

    def _set_host_enabled(self, enabled: bool, disable_reason: Any = None) -> None:
        """Record whether libvirt answers: on this service, where Nova's own method has the first compute host's."""
        try:
            self._set_service_enabled(enabled, disable_reason)
        except Exception:
            LOG.exception("the compute service of %s could not be changed", VM_HOST)

    def _set_service_enabled(self, enabled: bool, disable_reason: Any) -> None:
        admin = get_admin_context()
        service = Service.get_by_host_and_binary(admin, VM_HOST, "nova-compute")
        if service is None or service.disabled == (not enabled):
            return
        if service.disabled and not (service.disabled_reason or "").startswith(libvirt_driver.DISABLE_PREFIX):
            return  # an operator disabled it
        service.disabled = not enabled
        service.disabled_reason = None if enabled else f"{libvirt_driver.DISABLE_PREFIX}{disable_reason}"
        service.save()
        self._update_compute_provider_status(admin, service)


class Interface(config.LibvirtConfigGuestInterface):  # type: ignore[misc]
    """An interface that computes its packets' checksums: Open vSwitch in userspace reads them as they are."""

    def format_dom(self) -> Any:
        element = super().format_dom()
        offloads = ("csum", "gso", "tso4", "tso6", "ecn", "ufo")
        element.find("driver").append(element.makeelement("host", dict.fromkeys(offloads, "off")))
        return element


class VifDriver(vif.LibvirtGenericVIFDriver):  # type: ignore[misc]
    def get_config(self, *arguments: Any) -> Any:
        found = super().get_config(*arguments)
        if CONF.moorage.datapath == "netdev" and found.driver_name:
            found.__class__ = Interface
        return found


class FileVolumeDriver(volume.LibvirtBaseVolumeDriver):  # type: ignore[misc]
    """A volume of Cinder's driver in `moorage.local.volumes`: a raw file."""

    def __init__(self, host: Any) -> None:
        super().__init__(host, is_block_dev=False)

    def get_config(self, connection_info: Any, disk_info: Any) -> Any:
        found = super().get_config(connection_info, disk_info)
        found.source_type, found.source_path = "file", connection_info["data"]["path"]
        return found

    def extend_volume(self, connection_info: Any, instance: Any, requested_size: int) -> int:
        """Cinder has extended the file: libvirt only tells the machine."""
        return requested_size
