"""`python -m benchmarks.cloud_provider [RUNS]`: load balancers and volumes of the cluster `demo`, over their floors.

Needs `make up`. A floor is the time to create the same objects directly in Octavia, or in Cinder and Nova. Everything
is created in the namespace `bench` and deleted afterwards.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from moorage.cloud.openstack.load_balancers import OpenStackLoadBalancers
from moorage.cloud.openstack.network import OpenStackNetwork
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.openstack.servers import OpenStackServers
from moorage.cloud.openstack.volumes import OpenStackVolumes
from moorage.cloud.port.load_balancers import Listener, LoadBalancer, Member, Pool
from moorage.cloud.port.volumes import NewVolume

CLUSTER, RUNS, PODS = "demo", 5, 20
IMAGE, SPACE = "registry.local/hello:1", "bench"
WORKER = f"{CLUSTER}-workers-1-0"
NODE_PORT = 30180


def kubectl(*words: str, given: str | None = None) -> str:
    done = subprocess.run(["kubectl", *words], input=given, check=True, capture_output=True, text=True)
    return done.stdout


def until(true: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.1)
    return found


def timed(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


def answers(address: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"http://{address}/cgi-bin/hello", timeout=0.5) as answer:
            return bool(answer.read())
    except OSError:
        return False


def object_of(*words: str) -> Any:
    return json.loads(kubectl("get", "-n", SPACE, *words, "-o", "json"))


@dataclass
class Project:
    """The demo's project, called directly."""

    rest: Rest

    def __post_init__(self) -> None:
        self.load_balancers, self.network = OpenStackLoadBalancers(self.rest), OpenStackNetwork(self.rest)
        self.volumes = OpenStackVolumes(self.rest)
        self.servers = OpenStackServers(self.rest).list(CLUSTER)

    def balance(self, port: int) -> None:
        """A load balancer with a floating IP before the workers' node port; deleted afterwards."""
        home = self.network.cluster_network(CLUSTER)
        assert home is not None
        inside = [a.ip for s in self.servers for a in s.addresses if a.kind == "fixed" and "worker" in s.name]
        members = tuple(Member(address, port, home.subnet.id) for address in inside)
        pool = Pool("bench", "TCP", "SOURCE_IP_PORT", members)
        wanted = LoadBalancer("bench", "ovn", subnet=home.subnet.id, listeners=(Listener("bench", "TCP", 80, pool),))
        made = self.load_balancers.create(wanted)
        until(lambda: self.load_balancers.status(made.id) == "ACTIVE")
        floating_ip = self.network.create_floating_ip(home.external_network, "", made.port, "bench")
        until(lambda: answers(floating_ip.address))
        self.end = lambda: (self.network.delete_floating_ip(floating_ip.id), self.load_balancers.delete(made.id))

    def volume(self) -> None:
        """A volume at a worker; deleted afterwards."""
        server = next(server.id for server in self.servers if server.name == WORKER)
        made = self.volumes.create(NewVolume("bench", 1))
        until(lambda: self._status(made.id) == "available")
        self.volumes.attach(server, made.id)
        until(lambda: self._status(made.id) == "in-use")
        self.end = lambda: self._remove(server, made.id)

    def _remove(self, server: str, volume: str) -> None:
        self.volumes.detach(server, volume)
        until(lambda: self._status(volume) == "available")
        self.volumes.delete(volume)

    def _status(self, volume: str) -> str:
        found = self.volumes.get(volume)
        return found.status if found else ""


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: front, namespace: %s}
spec: {type: LoadBalancer, selector: {app: hello}, ports: [{port: 80, targetPort: 8080}]}
"""
POD = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %(name)s, namespace: %(space)s}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, namespace: %(space)s}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, fsGroup: 1000}
  containers:
    - name: writer
      image: %(image)s
      command: [sh, -c, "printf written > /data/file && exec httpd -f -p 8080 -h /data"]
      readinessProbe: {httpGet: {path: /file, port: 8080}, periodSeconds: 1}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: %(name)s}}]
"""


def service() -> None:
    kubectl("apply", "-f", "-", given=SERVICE % SPACE)

    def address() -> str:
        ingress = object_of("service", "front")["status"]["loadBalancer"].get("ingress", [{}])
        return str(ingress[0].get("ip", ""))

    where = until(address)
    until(lambda: answers(where))


def pods(names: list[str]) -> None:
    words = {"space": SPACE, "image": IMAGE}
    kubectl("apply", "-f", "-", given="---".join(POD % {**words, "name": name} for name in names))
    kubectl("wait", "-n", SPACE, "--for=condition=Ready", "pod", *names, "--timeout=180s")


def delete(*names: str) -> None:
    kubectl("delete", "-n", SPACE, *names, "--wait=true")


@dataclass(frozen=True)
class Way:
    """How to create something, which is timed, and how to delete it, which is not."""

    make: Callable[[], object]
    undo: Callable[[], object]

    def once(self) -> float:
        seconds = timed(self.make)
        self.undo()
        return seconds


def compare(what: str, ours: Way, floor: Way, runs: int) -> None:
    pairs = [(ours.once(), floor.once()) for _ in range(runs)]
    middle, least = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{what}: {middle:.1f} s, its floor {least:.1f} s, +{middle - least:.1f} s (median of {runs})", flush=True)


def many() -> None:
    names = [f"many-{number}" for number in range(PODS)]
    print(f"{PODS} pods with a volume each, all ready: {timed(lambda: pods(names)):.1f} s", flush=True)
    made = [f"{kind}/{name}" for name in names for kind in ("pod", "pvc")]
    print(f"and deleted: {timed(lambda: delete(*made)):.1f} s", flush=True)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    project = Project(Rest.connect("moorage"))
    hello = (Path(__file__).parents[1] / "examples" / "hello" / "hello.yaml").read_text()
    hello = hello.replace("namespace: default", f"namespace: {SPACE}").replace("30080", str(NODE_PORT))
    kubectl("create", "namespace", SPACE)
    try:
        kubectl("apply", "-f", "-", given=hello)
        kubectl("rollout", "status", "-n", SPACE, "deployment/hello")
        direct = Way(lambda: project.balance(NODE_PORT), lambda: project.end())
        compare(
            "Service of type LoadBalancer until it answers", Way(service, lambda: delete("service/front")), direct, runs
        )
        claimed = Way(lambda: pods(["one"]), lambda: delete("pod/one", "pvc/one"))
        compare("claim and pod until it has written", claimed, Way(project.volume, lambda: project.end()), runs)
        many()
    finally:
        kubectl("delete", "namespace", SPACE)


if __name__ == "__main__":
    main()
