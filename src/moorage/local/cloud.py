"""The local cloud as a whole: up, down, status, reset."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from moorage.cloud.port.images import ImageFile
from moorage.local import addresses, clouds, configuration, doctor, facts, health, ovn, secrets, seed
from moorage.local.databases import prepare as prepare_databases
from moorage.local.layout import GATEWAY, REGION, VM_HOST, Layout
from moorage.local.lock import exclusive
from moorage.local.programs import Program, programs, registry_configuration
from moorage.local.services import KEYSTONE, NOVA, SERVICES, Service
from moorage.local.status import Status, status
from moorage.local.supervisor import Supervisor, stop_leftovers
from moorage.local.vm import daemon
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, Failed, NotFound, TimedOut

Report = Callable[[str], None]
READY_TIMEOUT = 300.0
PORTS_TIMEOUT = 5.0
PAUSE = 0.2
CONTROL_GROUPS = Path("/sys/fs/cgroup")
BUSY = "another `moorage cloud` command is running"
STOPPED_LAST = ("mariadb", "ovs-vswitchd", "ovsdb", "ovn-northbound", "ovn-southbound")
"""Programs that must stop last, because the others need them to stop."""


@dataclass(frozen=True)
class Options:
    """What the cloud gets if it exists: the node image, and the registry's program.

    `disk` is the node image for virtual machines: with it, the cloud offers them from now on.
    """

    image: ImageFile | None = None
    registry: Path | None = None
    disk: ImageFile | None = None

    @property
    def images(self) -> list[ImageFile]:
        return [image for image in (self.image, self.disk) if image]

    @property
    def flavors(self) -> tuple[seed.Flavor, ...]:
        return (*seed.FLAVORS, *seed.VM_FLAVORS) if self.disk else seed.FLAVORS

    @property
    def fingerprint(self) -> str:
        """Changes when the cloud must be seeded again."""
        images = [f"{image.name} {sorted(image.properties.items())}" for image in self.images]
        content = f"{images}|{self.flavors}|{[entry.name for entry in SERVICES]}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]


class LocalCloud:
    """A real OpenStack in `state`, `run` and `cache`, with entries in the user's `clouds_file`.

    Every method can be repeated, and completes what an interrupted call left. All methods raise only MoorageError.
    """

    def __init__(self, state: Path, run: Path, cache: Path, clouds_file: Path, options: Options | None = None) -> None:
        self.layout = Layout(state.absolute(), run.absolute(), cache.absolute())
        self.clouds_file = clouds_file
        self.options = options or Options()
        self.supervisor = Supervisor(self.layout)

    @property
    def running(self) -> bool:
        return self.supervisor.alive

    def machines(self) -> list[str]:
        """Host names of the servers that run on this machine."""
        from moorage.local.machine import running_hostnames

        return running_hostnames(self.layout.machines)

    def up(self, report: Report) -> None:
        """Start what does not run; returns when every service is ready and the cloud can be used."""
        self._reject_unfit_machine()
        with self._explain_full_disk(), self._lock(report):
            if self.options.disk:
                self.layout.libvirt.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._adding_vms() as adding:
                if self.running:
                    if adding:
                        report("adding a host for virtual machines")
                        self._write_configuration()
                    self.supervisor.update(self._programs())
                    if adding:
                        self.supervisor.restart(NOVA.name)
                else:
                    self._start(report)
            self._wait_until_ready(report)
            self._seed(report)
            clouds.write(self.clouds_file, secrets.ensure(self.layout.secrets))

    def down(self, report: Report) -> None:
        """Stop every server and every process; data is kept, and `up` starts the same servers again."""
        with self._lock(report):
            self._stop(report)

    def reset(self, report: Report) -> None:
        """Stop everything and delete everything except the cache."""
        with self._lock(report):
            self._stop(report)
            report("deleting the cloud's data")
            shutil.rmtree(self.layout.state, ignore_errors=True)
            shutil.rmtree(self.layout.run, ignore_errors=True)
            _remove_control_groups(configuration.cgroup_parent(self.layout.state))
            clouds.remove(self.clouds_file)

    def status(self) -> list[Status]:
        """One row for each program, running or not."""
        _require_root()
        return status(self.layout, self._programs(), self.supervisor.program_states())

    def doctor(self) -> list[doctor.Finding]:
        """List what this machine lacks; empty when nothing is missing."""
        started_before = self.running or not self.supervisor.stopped_cleanly
        with_vms = self.options.disk is not None or self.layout.has_vms
        return doctor.examine(facts.observe(self.layout.state, started_before, with_vms=with_vms))

    def restart(self, name: str) -> None:
        """Stop and start one program; if it is a service, wait until it is ready again."""
        _require_root()
        self.supervisor.restart(name)
        waiting = [entry for entry in SERVICES if entry.name == name]
        self._wait_for_services(waiting, lambda text: None)

    def logs(self, name: str, follow: bool, lines: int) -> int:
        """Print the tail of one program's logs, with `follow` also new lines; returns tail's exit code."""
        _require_root()
        names = [program.name for program in self._programs()] + ["supervisor"]
        if name not in names:
            raise NotFound(f"no program {name!r}", f"one of {', '.join(names)}")
        files = [file for kind in ("out", "log") if (file := self.layout.log / f"{name}.{kind}").exists()]
        if not files:
            raise NotFound(f"{name} has written no log yet", "moorage cloud up")
        options = ["--quiet", f"--lines={lines}", *(["--follow=name", "--retry"] if follow else [])]
        return subprocess.call(["tail", *options, *map(str, files)])

    def env(self, admin: bool) -> dict[str, str]:
        """Return the variables of an openrc file for the tenant or the administrator."""
        _require_root()
        if not self.layout.secrets.exists():
            raise CloudUnreachable("the local cloud does not exist yet", "moorage cloud up")
        name = clouds.ADMIN_CLOUD if admin else clouds.TENANT_CLOUD
        auth = clouds.entries(secrets.ensure(self.layout.secrets))[name]["auth"]
        return {
            **{f"OS_{key.upper()}": value for key, value in auth.items()},
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
        }

    @contextmanager
    def _adding_vms(self) -> Iterator[bool]:
        """Whether the block adds virtual machines to the cloud: until it has succeeded once."""
        if not self.layout.has_vms:
            yield False
            return
        with _once(self.layout.libvirt / "added", VM_HOST) as needed:
            yield needed

    def _write_configuration(self) -> None:
        overrides = configuration.ConfigOverrides(ovn.datapath(), daemon.virt_type())
        configuration.write(self.layout, secrets.ensure(self.layout.secrets), overrides)
        (self.layout.etc / "registry.yaml").write_text(registry_configuration(self.layout))
        if self.layout.has_vms:
            daemon.write_configuration(self.layout)

    def _programs(self) -> list[Program]:
        return programs(self.layout, self.options.registry)

    def _lock(self, report: Report) -> AbstractContextManager[None]:
        _require_root()
        return exclusive(self.layout.run / "lock", report, BUSY)

    def _reject_unfit_machine(self) -> None:
        if self.running and (self.options.disk is None or self.layout.has_vms):
            return
        # A running cloud uses the memory, the disk and the ports that are examined.
        kinds = doctor.SOFTWARE if self.running else None
        fatal = [found for found in self.doctor() if found.fatal and (kinds is None or found.subject in kinds)]
        if fatal:
            lines = "".join(f"\n  {f.subject}: {f.problem}; {f.fix}" for f in fatal)
            raise BadInput(f"this machine cannot run the cloud; nothing was changed:{lines}", "moorage cloud doctor")

    @contextmanager
    def _explain_full_disk(self) -> Iterator[None]:
        """Report a full disk clearly, whichever program noticed it."""
        try:
            yield
        except Exception as error:
            if (
                getattr(error, "errno", None) == errno.ENOSPC
                or _is_full(self.layout.state)
                or _is_full(self.layout.cache)
            ):
                raise Failed(
                    f"the disk of {self.layout.state} or {self.layout.cache} is full",
                    "free some space and run the same command again; it continues where it stopped",
                ) from error
            raise

    def _start(self, report: Report) -> None:
        from moorage.local import bytecode

        layout = self.layout
        stop_leftovers(layout)
        self._wait_for_ports()
        layout.create_folders()
        bytecode.compile_once(report)
        prepare_databases(layout, report)
        report("starting the services")
        self._write_configuration()
        ovn.create_databases(layout)
        addresses.add()
        self.supervisor.start(self._programs())

    def _wait_for_ports(self) -> None:
        """Wait for the ports: a process that was just killed may still be closing its sockets."""
        deadline = time.monotonic() + PORTS_TIMEOUT
        while taken := facts.ports_taken():
            if time.monotonic() > deadline:
                ports = ", ".join(f"{port} ({name})" for port, name in taken.items())
                raise Conflict(f"other programs listen on ports that the cloud needs: {ports}", "moorage cloud doctor")
            time.sleep(PAUSE)

    def _wait_until_ready(self, report: Report) -> None:
        waiting = [entry for entry in SERVICES if not health.check(entry).ready]
        if waiting:
            ovn.configure(self.layout, ovn.datapath())
            self._wait_for_services(waiting, report)

    def _wait_for_services(self, waiting: Sequence[Service], report: Report) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while waiting := [entry for entry in waiting if not health.check(entry).ready]:
            if KEYSTONE not in waiting:
                self._seed_identity()
            report(f"waiting for {', '.join(entry.name for entry in waiting)}")
            self._raise_if_failed(deadline, waiting[0].name)
            time.sleep(PAUSE)
        self._seed_identity()

    def _raise_if_failed(self, deadline: float, name: str) -> None:
        program = self.supervisor.program_states().get(name)
        hint = f"moorage cloud logs {name}"
        if _is_full(self.layout.state):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if program is None:
            raise Failed("the supervisor has stopped", "moorage cloud up")
        if program.state == "FATAL":
            raise Failed(f"{name} does not start: {program.description}", hint)
        if time.monotonic() > deadline:
            raise TimedOut(f"{name} was not ready within {READY_TIMEOUT:.0f} s", hint)

    def _seed_identity(self) -> None:
        service_names = " ".join(entry.name for entry in SERVICES)
        passwords = secrets.ensure(self.layout.secrets)
        with _once(self.layout.data(KEYSTONE.name) / "seeded", service_names) as needed:
            if needed:
                seed.Identity(seed.administrator(passwords), passwords).seed()

    def _seed(self, report: Report) -> None:
        with _once(self.layout.state / "seeded", self.options.fingerprint) as needed:
            if needed:
                report("creating flavors and the external network")
                session = seed.administrator(secrets.ensure(self.layout.secrets))
                seed.seed_flavors(session, self.options.flavors)
                seed.seed_network(session)
                seed.seed_volume_type(session)
                for image in self.options.images:
                    report(f"uploading the image {image.name}")
                    seed.seed_image(session, image)

    def _stop(self, report: Report) -> None:
        # Nova first: if it saw its servers end, it would record them as stopped.
        report("stopping the servers")
        self.supervisor.stop(NOVA.name)
        stop_machines(self.layout.machines)
        daemon.stop_machines(self.layout, report)
        report("stopping the services")
        self.supervisor.stop(*(name for name in self.supervisor.program_states() if name not in STOPPED_LAST))
        ovn.remove_bridges(self.layout)
        self.supervisor.shutdown()
        stop_leftovers(self.layout)
        ovn.remove_devices()
        addresses.remove()


def _require_root() -> None:
    """Raise BadInput for other users: only root can access the cloud's folders and sockets."""
    if os.geteuid() != 0:
        raise BadInput("the local cloud needs root", "run it as root: sudo -E …")


def stop_machines(state: Path) -> None:
    """Stop every machine container below `state`, and release its mounts and loop devices; disks are kept."""
    from moorage.local.machine import stop_all

    stop_all(state)


def _remove_control_groups(parent: str) -> None:
    """Delete the machines' parent cgroup in every hierarchy, unless it has a process."""
    for root in (CONTROL_GROUPS / parent, *CONTROL_GROUPS.glob(f"*/{parent}")):
        for folder, _, _ in os.walk(root, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)


@contextmanager
def _once(stamp: Path, value: str) -> Iterator[bool]:
    """Yield whether the block must run for `value`; write `value` to `stamp` when the block has succeeded."""
    needed = not stamp.exists() or stamp.read_text() != value
    yield needed
    if needed:
        stamp.write_text(value)


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < 16 * 1024**2
    return False


__all__ = ["GATEWAY", "LocalCloud", "Options", "Report"]
