"""Nova's virt driver: every server is a machine container.

Loaded as `nova.virt.moorage_machine` (see `moorage.local.machine.install`). It is stateless: it reads what runs from
the machines' folders, so a new nova-compute takes over what an earlier one started. The contract of each method is that
of `nova.virt.driver.ComputeDriver`.
"""

from __future__ import annotations

import logging
import os
import shutil
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nova.conf
import os_resource_classes as resource_classes
import psutil
from nova import exception
from nova.compute import power_state
from nova.objects import fields
from nova.virt import driver, event, hardware
from nova.virt import node as node_identity

from moorage.host.run import HostError
from moorage.local.machine import attach, images, interfaces, life, options, translate
from moorage.local.machine.spec import Machine, Volume, load, load_all
from moorage.local.machine.watch import Watch

LOG = logging.getLogger(__name__)
CONF = nova.conf.CONF
MIB = 2**20
GIB = 2**30
HYPERVISOR = "moorage"
LETTERS = string.ascii_lowercase  # of disks; the first is the root disk's
FAILURES = (OSError, HostError, life.DidNotStart, translate.Unsupported, TimeoutError)


@contextmanager
def _report_host_errors(instance: Any) -> Iterator[None]:
    """Translate an error of the host to one that Nova shows to the user."""
    try:
        yield
    except FAILURES as error:
        LOG.exception("instance %s", instance.uuid)
        raise exception.InstanceDeployFailure(reason=str(error)) from error


class MachineDriver(driver.ComputeDriver):  # type: ignore[misc]
    """Machine containers on this host."""

    capabilities = driver.ComputeDriver.capabilities | {
        "has_imagecache": True,
        "supports_attach_interface": True,
        "supports_extend_volume": True,
        "supports_image_type_raw": True,
    }

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi)
        self.watch = Watch(self._report_stopped)

    # --- the host -----------------------------------------------------------------------------------------------

    def init_host(self, host: str) -> None:
        """Adopt running machines."""
        # Nova records in the second folder which instances use the images, before it cleans up.
        for folder in (options.state(), Path(CONF.instances_path)):
            folder.mkdir(parents=True, exist_ok=True)
        for machine in load_all(options.state()):
            if life.pid(machine):
                self.watch.start_watching(machine)

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        return [CONF.host]

    def get_nodenames_by_uuid(self, refresh: bool = False) -> dict[str, str]:
        return {node_identity.get_local_node_uuid(): CONF.host}

    def get_host_ip_addr(self) -> str:
        return str(CONF.my_ip)

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        total, used = _read_memory()
        disk = shutil.disk_usage(options.state())
        return {
            "uuid": node_identity.get_local_node_uuid(),
            "vcpus": os.cpu_count() or 1,
            "vcpus_used": sum(machine.cpus for machine in load_all(options.state())),
            "memory_mb": total // MIB,
            "memory_mb_used": used // MIB,
            "local_gb": disk.total // GIB,
            "local_gb_used": disk.used // GIB,
            "disk_available_least": disk.free // GIB,
            "hypervisor_type": HYPERVISOR,
            "hypervisor_version": 1,
            "hypervisor_hostname": nodename,
            "cpu_info": "{}",
            "supported_instances": [(fields.Architecture.X86_64, fields.HVType.LXC, fields.VMMode.EXE)],
            "numa_topology": None,
        }

    def update_provider_tree(self, provider_tree: Any, nodename: str, allocations: Any = None) -> None:
        ratios = self._get_allocation_ratios(provider_tree.data(nodename).inventory)
        reserved = {resource_classes.MEMORY_MB: CONF.reserved_host_memory_mb}
        totals = {
            resource_classes.VCPU: os.cpu_count() or 1,
            resource_classes.MEMORY_MB: _read_memory()[0] // MIB,
            resource_classes.DISK_GB: shutil.disk_usage(options.state()).total // GIB,
        }
        provider_tree.update_inventory(
            nodename,
            {
                kind: {
                    "total": total,
                    "min_unit": 1,
                    # A flavor may have more CPUs than the host: they are shares of it.
                    "max_unit": int(total * ratios[kind]) if kind == resource_classes.VCPU else total,
                    "step_size": 1,
                    "allocation_ratio": ratios[kind],
                    "reserved": reserved.get(kind, 0),
                }
                for kind, total in totals.items()
            },
        )

    def get_volume_connector(self, instance: Any) -> dict[str, Any]:
        return {"ip": CONF.my_ip, "host": CONF.host, "initiator": "moorage", "platform": "x86_64", "os_type": "linux"}

    def manage_image_cache(self, context: Any, all_instances: Any) -> None:
        images.drop_unused(options.state())

    # --- instances ----------------------------------------------------------------------------------------------

    def list_instances(self) -> list[str]:
        return self.list_instance_uuids()

    def list_instance_uuids(self) -> list[str]:
        return [machine.id for machine in load_all(options.state())]

    def instance_exists(self, instance: Any) -> bool:
        return self._find(instance) is not None

    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        machine = self._find(instance)
        if machine is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        running = life.is_running(machine)
        return hardware.InstanceInfo(state=power_state.RUNNING if running else power_state.SHUTDOWN)

    def get_num_instances(self) -> int:
        return len(self.list_instance_uuids())

    def get_console_output(self, context: Any, instance: Any) -> bytes:
        machine = self._get_machine(instance)
        return machine.console.read_bytes() if machine.console.exists() else b""

    def _find(self, instance: Any) -> Machine | None:
        try:
            return load(options.state() / instance.uuid)
        except FileNotFoundError:
            return None

    def _get_machine(self, instance: Any) -> Machine:
        machine = self._find(instance)
        if machine is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return machine

    # --- create and delete --------------------------------------------------------------------------------------

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        try:
            self._spawn(context, instance, network_info, block_device_info, power_on)
        except FAILURES as error:
            LOG.exception("instance %s", instance.uuid)
            self.destroy(context, instance, network_info, block_device_info)
            # Another host would not help, and Nova keeps the reason of a build that is not retried.
            raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=str(error)) from error

    def _spawn(self, context: Any, instance: Any, vifs: Any, devices: Any, power_on: bool) -> None:
        state = options.state()
        image = _get_image_record(context, instance.image_ref)
        machine = translate.machine(instance, image, vifs, state, CONF.moorage.cgroup_parent)
        machine = replace(machine, volumes=_volumes(devices))
        files = _build_config_drive(context, instance, vifs)
        life.create(machine, images.fetch(context, instance.image_ref, state), files)
        if power_on:
            self._start(machine)

    def _start(self, machine: Machine) -> None:
        life.start(machine, options.host())
        self.watch.start_watching(machine)

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        self.watch.stop_watching(instance.uuid)
        machine = self._find(instance)
        if machine is None:
            self.unplug_vifs(instance, network_info)
            shutil.rmtree(options.state() / instance.uuid, ignore_errors=True)
            return
        if destroy_disks:
            life.remove(machine, options.host())
        else:
            life.kill(machine, options.host())

    def cleanup(self, *arguments: Any, **named: Any) -> None:
        """Nothing remains after destroy."""

    # --- start and stop -----------------------------------------------------------------------------------------

    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        with _report_host_errors(instance):
            self._start(self._get_machine(instance))

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        self.watch.stop_watching(instance.uuid)
        life.stop(self._get_machine(instance), options.host(), timeout)

    def reboot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        reboot_type: str,
        block_device_info: Any = None,
        bad_volumes_callback: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        machine = self._get_machine(instance)
        self.watch.stop_watching(machine.id)
        with _report_host_errors(instance):
            life.stop(machine, options.host(), life.STOP_TIMEOUT if reboot_type == "SOFT" else 0)
            self._start(machine)

    def resume_state_on_host_boot(
        self, context: Any, instance: Any, network_info: Any, share_info: Any, block_device_info: Any = None
    ) -> None:
        with _report_host_errors(instance):
            self._start(self._get_machine(instance))

    def _report_stopped(self, machine_id: str) -> None:
        LOG.warning("instance %s has stopped unexpectedly", machine_id)
        self.emit_event(event.LifecycleEvent(machine_id, event.EVENT_LIFECYCLE_STOPPED))

    # --- volumes ------------------------------------------------------------------------------------------------

    def attach_volume(
        self, context: Any, connection_info: Any, instance: Any, mountpoint: str, *rest: Any, **named: Any
    ) -> None:
        with _report_host_errors(instance):
            attach.attach_volume(
                self._get_machine(instance), translate.volume(connection_info, mountpoint), options.host()
            )

    def detach_volume(
        self, context: Any, connection_info: Any, instance: Any, mountpoint: str, encryption: Any = None
    ) -> None:
        with _report_host_errors(instance):
            attach.detach_volume(
                self._get_machine(instance), translate.volume(connection_info, mountpoint), options.host()
            )

    def extend_volume(self, context: Any, connection_info: Any, instance: Any, requested_size: int) -> None:
        with _report_host_errors(instance):
            options.host().grow_loop(Path(translate.volume(connection_info, "").path))

    def get_device_name_for_instance(self, instance: Any, bdms: Any, block_device_obj: Any) -> str:
        used_names = {bdm.device_name for bdm in bdms if bdm.device_name}
        for letter in LETTERS[1:]:
            if (name := f"/dev/vd{letter}") not in used_names:
                return name
        raise exception.TooManyDiskDevices(maximum=len(LETTERS))

    def default_root_device_name(self, instance: Any, image_meta: Any, root_bdm: Any) -> str:
        return "/dev/vda"

    # --- interfaces ---------------------------------------------------------------------------------------------

    def attach_interface(self, context: Any, instance: Any, image_meta: Any, vif: Any) -> None:
        with _report_host_errors(instance):
            attach.attach_nic(self._get_machine(instance), translate.nic(vif, 0), options.host())

    def detach_interface(self, context: Any, instance: Any, vif: Any) -> None:
        with _report_host_errors(instance):
            attach.detach_nic(self._get_machine(instance), vif["id"], options.host())

    def plug_vifs(self, instance: Any, network_info: Any) -> None:
        """Bind the ports of a running machine; starting a machine binds them too."""
        machine = self._find(instance)
        if machine and life.pid(machine):
            for nic in machine.nics:
                interfaces.plug(nic, machine, options.host())

    def unplug_vifs(self, instance: Any, network_info: Any) -> None:
        for number, vif in enumerate(network_info or ()):
            interfaces.disconnect(translate.nic(vif, number), options.host())


def _read_memory() -> tuple[int, int]:
    """The host's total and used memory, in bytes."""
    memory = psutil.virtual_memory()
    return memory.total, memory.total - memory.available


def _get_image_record(context: Any, image: str) -> dict[str, Any]:
    from nova.image import glance

    record: dict[str, Any] = glance.API().get(context, image)
    return record


def _build_config_drive(context: Any, instance: Any, vifs: Any) -> dict[str, bytes]:
    """Return the config drive's files: path → content."""
    from nova.api.metadata import base

    metadata = base.InstanceMetadata(instance, content={}, network_info=vifs)
    files = metadata.metadata_for_config_drive()
    return {path: data if isinstance(data, bytes) else str(data).encode() for path, data in files}


def _volumes(devices: Any) -> tuple[Volume, ...]:
    mappings = driver.block_device_info_get_mapping(devices) if devices else []
    return tuple(translate.volume(entry["connection_info"], entry["mount_device"]) for entry in mappings)
