"""Small virtual machines, emulated in software so that they run anywhere."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from waiting import until

META_DATA = {"name": "demo-workers-1-0", "uuid": "0f0e0d0c"}
FIRMWARE = Path("/usr/share/OVMF")


class Vm:
    """A virtual machine with its own changes of a disk image. It ends with the `with` statement, as without power."""

    def __init__(
        self, folder: Path, image: Path, *, uefi: bool = False, size: str = "4G", options: Sequence[str] = ()
    ) -> None:
        self.folder, self.disk, self.uefi, self.options = folder, folder / "disk.qcow2", uefi, options
        self.log, self.monitor = folder / "console.log", folder / "monitor"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(self.disk), size)

    def __enter__(self) -> Self:
        drives = [f"if=virtio,file={self.disk}"]
        if has_config := (self.folder / "config-drive").exists():
            drives.append(f"if=none,id=config,media=cdrom,format=raw,file={self.folder / 'config-drive'}")
        if self.uefi:
            variables = self.folder / "variables.fd"
            variables.write_bytes((FIRMWARE / "OVMF_VARS_4M.fd").read_bytes())
            code = FIRMWARE / "OVMF_CODE_4M.fd"
            drives.append(f"if=pflash,format=raw,unit=0,readonly=on,file={code}")
            drives.append(f"if=pflash,format=raw,unit=1,file={variables}")
        command = [
            *("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1536"),
            *("-nodefaults", "-display", "none", "-serial", f"file:{self.log}"),
            *(word for drive in drives for word in ("-drive", drive)),
            *("-device", "virtio-scsi-pci", *(("-device", "scsi-cd,drive=config") if has_config else ())),
            *("-monitor", f"unix:{self.monitor},server=on,wait=off"),
            *self.options,
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(30)

    def config_drive(self, user_data: str, **documents: Any) -> None:
        """Give it a config drive, as Nova does: a CD with the label config-2, on the bus that the image asks for."""
        folder = self.folder / "tree/openstack/latest"
        folder.mkdir(parents=True)
        (folder / "user_data").write_text(user_data)
        for name, document in {"meta_data": META_DATA, **documents}.items():
            (folder / f"{name}.json").write_text(json.dumps(document))
        options = ("-quiet", "-V", "config-2", "-J", "-r", "-o", str(self.folder / "config-drive"))
        run("xorriso", "-as", "mkisofs", *options, str(self.folder / "tree"))

    def shut_down(self) -> None:
        """Press the power button, as a cloud does to stop a server, until the machine is off."""

        def ended() -> bool:
            if self.process.poll() is not None:
                return True
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.connect(str(self.monitor))
                monitor.sendall(b"system_powerdown\n")
                monitor.recv(4096)
            return False

        until(ended, seconds=600, pause=5, yet=(ConnectionError, FileNotFoundError), why=lambda: self.console[-3000:])

    @property
    def console(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for(self, text: str, seconds: float = 600) -> None:
        """Wait until the console shows a text; the machine must not end before."""

        def shown(console: str) -> bool:
            assert self.process.poll() is None, f"qemu ended: {console[-3000:]}"
            return text in console

        until(lambda: self.console, shown, seconds=seconds)


def run(*words: str) -> str:
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(words)}: {result.stdout}{result.stderr}"
    return result.stdout


class Partition:
    """A partition of a stopped virtual machine's disk, copied to a file; `write_back` copies it into an image again."""

    def __init__(self, folder: Path, disk: Path, number: int) -> None:
        self.raw, self.file = folder / "disk.raw", folder / f"partition-{number}"
        run("qemu-img", "convert", "-O", "raw", str(disk), str(self.raw))
        table = json.loads(run("sfdisk", "--json", str(self.raw)))["partitiontable"]
        place = table["partitions"][number - 1]
        self.start, self.size = place["start"] * 512, place["size"] * 512
        self.end_of_disk = self.raw.stat().st_size
        self._copy(self.raw, self.file, f"skip={self.start}", f"count={self.size}")

    def _copy(self, source: Path, target: Path, *places: str) -> None:
        flags = ("iflag=skip_bytes,count_bytes", "oflag=seek_bytes", "conv=notrunc,sparse", "status=none")
        run("dd", f"if={source}", f"of={target}", "bs=1M", *places, *flags)

    def debugfs(self, *requests: str) -> str:
        """Run requests of debugfs(8), which change the copy; it reports failures only in words."""
        return "".join(run("debugfs", "-w", "-R", request, str(self.file)) for request in requests)

    @property
    def statistics(self) -> dict[str, str]:
        """What the file system says about itself."""
        lines = (line.partition(":") for line in run("dumpe2fs", "-h", str(self.file)).splitlines())
        return {name: value.strip() for name, _, value in lines}

    def read(self, path: str) -> bytes:
        target = self.file.with_suffix(".read")
        self.debugfs(f"dump {path} {target}")
        return target.read_bytes()

    def write(self, path: str, content: bytes) -> None:
        source = self.file.with_suffix(".write")
        source.write_bytes(content)
        run("debugfs", "-w", "-R", f"rm {path}", str(self.file))
        self.debugfs(f"write {source} {path}")

    def write_back(self, image: Path) -> Path:
        """The disk with the changed partition, as a new image."""
        run(
            "dd",
            f"if={self.file}",
            f"of={self.raw}",
            "bs=1M",
            f"seek={self.start}",
            "oflag=seek_bytes",
            "conv=notrunc",
            "status=none",
        )
        run("qemu-img", "convert", "-O", "qcow2", str(self.raw), str(image))
        return image
