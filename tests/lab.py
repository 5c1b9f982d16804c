"""A small network of machines from the node image, without OpenStack: bridge, DHCP, and a place for signals."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socketserver
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from moorage.local.machine import disks, life
from moorage.local.machine.host.linux import LinuxHost
from moorage.local.machine.host.port import Port
from moorage.local.machine.spec import Machine, Nic
from moorage.node.pki import Subject, new_request
from waiting import until

BRIDGE = "nodes0"
HOST = "10.66.0.1"
PORT = 8004
API = "10.66.0.10"
SECONDS_1900_TO_1970 = 2208988800
TOKEN = "abcdef.0123456789abcdef"


class Bridge(LinuxHost):
    """A Linux bridge for the ports, instead of Open vSwitch."""

    def __init__(self) -> None:
        super().__init__(datapath="system")

    def plug(self, port: Port) -> None:
        run("ip", "link", "set", port.name, "master", BRIDGE, "up")

    def unplug(self, name: str) -> None:
        """Removing the pair is enough."""


class Leases:
    """A DHCP server with one address for each MAC, as Neutron has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.process = subprocess.Popen(
            [
                *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file", "--port=0"),
                *(f"--interface={BRIDGE}", "--bind-interfaces", "--except-interface=lo"),
                *("--dhcp-range=10.66.0.0,static,255.255.255.0,1h", f"--dhcp-hostsdir={folder}", "--leasefile-ro"),
                *(f"--dhcp-option=option:router,{HOST}", f"--dhcp-option=option:dns-server,{HOST}", "--no-ping"),
                *(f"--dhcp-option=option:ntp-server,{HOST}", "--dhcp-authoritative", "--quiet-dhcp"),
            ]
        )

    def add(self, mac: str, address: str) -> None:
        (self.folder / mac.replace(":", "-")).write_text(f"{mac},{address}\n")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Signals(http.server.ThreadingHTTPServer):
    """Where nodes signal: what each one said, by its name."""

    def __init__(self) -> None:
        self.reported: dict[str, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        super().__init__((HOST, PORT), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Signals

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.add(self.headers["X-Auth-Token"])
        self.server.reported[document["id"]] = document | {"at": time.monotonic()}
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class Time(socketserver.ThreadingUDPServer):
    """A time server (SNTP, RFC 4330), for servers that do not know the time."""

    def __init__(self) -> None:
        super().__init__((HOST, 123), _Time)


class _Time(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        request, socket = self.request
        now = struct.pack(">II", int(time.time()) + SECONDS_1900_TO_1970, 0)
        header = struct.pack(">BBbbIII", 0x24, 1, 0, -20, 0, 0, 0)
        socket.sendto(header + now + request[40:48] + now + now, self.client_address)


def run(*words: str, **options: Any) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def new_mac() -> str:
    return "fa:16:3e:" + os.urandom(3).hex(":")


class Lab:
    """Machines on one bridge. `close` deletes all of it."""

    def __init__(self, image: Any) -> None:
        self.image = image
        self.folder = Path(tempfile.mkdtemp(prefix="moorage-lab-", dir="/var/tmp"))
        self.machines: dict[str, Machine] = {}
        self.host = Bridge()
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{HOST}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        self.leases = Leases(self.folder / "leases")
        self.signals = Signals()
        self.time = Time()
        for server in (self.signals, self.time):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.client = new_request(Subject("tester"))

    def user_data(self, role: str, **changed: Any) -> str:
        document: dict[str, Any] = {
            "role": role,
            "cluster": {
                "name": "lab",
                "api_address": API,
                "api_public_address": "",
                "pod_cidr": "10.244.0.0/16",
                "service_cidr": "10.96.0.0/16",
                "node_cidr": "10.66.0.0/24",
                "network_driver": "flannel",
                "flannel_backend": "vxlan",
                "bootstrap_token": TOKEN,
                "registry_mirrors": {"*": f"http://{HOST}:5080"},
                **changed.pop("cluster", {}),
            },
            "node": {"group": "workers" if role == "worker" else "control-plane", **changed.pop("node", {})},
            "signal": {"endpoint": f"http://{HOST}:{PORT}/signal", "token": f"token-of-{role}"},
            **changed,
        }
        if role == "control-plane":
            document["control_plane"] = {"client_csr": self.client.certificate, "ready_timeout": 120}
        return f"#moorage-node/v1\n{json.dumps(document, indent=1)}\n"

    def boot(self, name: str, address: str, user_data: str, memory: int = 2048) -> Machine:
        mac = self.lease(address)
        nic = Nic(str(uuid.uuid4()), mac, 1450, "eth0")
        folder = str(self.folder / name)
        machine = Machine(f"lab-{name}", name, folder, self.image.version, 2, memory, 10, self.folder.name, nics=(nic,))
        meta = json.dumps({"name": name, "hostname": f"{name}.novalocal", "uuid": str(uuid.uuid4())})
        drive = {
            "openstack/latest/user_data": user_data.encode(),
            "openstack/latest/meta_data.json": meta.encode(),
        }
        life.create(machine, self.image.squashfs, drive)
        self.machines[name] = machine
        self.start(name)
        return machine

    def lease(self, address: str) -> str:
        """A new MAC, which gets this address by DHCP."""
        mac = new_mac()
        self.leases.add(mac, address)
        return mac

    def nic(self, mac: str) -> tuple[str, ...]:
        """QEMU's options for an interface on the bridge, deleted together with the network."""
        name = f"tap{mac[-5:].replace(':', '')}"
        run("ip", "tuntap", "add", name, "mode", "tap")
        run("ip", "link", "set", name, "master", BRIDGE, "up")
        backend = f"tap,id={name},ifname={name},script=no,downscript=no"
        return ("-netdev", backend, "-device", f"virtio-net-pci,netdev={name},mac={mac}")

    def start(self, name: str) -> None:
        life.start(self.machines[name], self.host)

    def inside(self, name: str, *words: str, check: bool = True, given: str = "") -> str:
        """Run a program in a machine, with this standard input."""
        pid = life.pid(self.machines[name])
        assert pid, f"{name} does not run: {self.console(name)}"
        command = ["nsenter", "-t", str(pid), "-a", *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def console(self, name: str) -> str:
        return self.machines[name].console.read_text(errors="replace")

    def kubectl(self, *words: str, check: bool = True, given: str = "") -> str:
        """kubectl as the control plane's own administrator."""
        command = ("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *words)
        return self.inside("lab-control-plane-0", *command, check=check, given=given)

    def apply(self, manifest: str) -> None:
        self.kubectl("apply", "-f", "-", given=manifest)

    def signal_of(self, name: str, seconds: float = 120) -> dict[str, Any]:
        """What a node signalled."""
        reported: dict[str, Any] = until(
            lambda: self.signals.reported.get(name), seconds=seconds, why=lambda: self.console(name)[-3000:]
        )
        return reported

    def close(self) -> None:
        for machine in self.machines.values():
            life.remove(machine, self.host)
        disks.unmount_slots(self.folder)
        self.leases.close()
        shutil.rmtree(self.folder)
        for server in (self.signals, self.time):
            server.shutdown()
            server.server_close()
        run("ip", "link", "del", BRIDGE)
