"""A cluster that takes from its cloud, for tests: made, looked at by kubectl and by the cloud's commands, deleted."""

from __future__ import annotations

import json
import signal
from functools import cached_property

import openstack

from images import MIRROR, push_busybox
from inside import Inside
from moorage.local.machine.spec import load_all
from waiting import until

OUTSIDE = """
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: kube-system}
spec:
  type: LoadBalancer
  selector: {k8s-app: kube-dns}
  ports:
    - {name: metrics, port: 80, targetPort: 9153, protocol: TCP}
    - {name: dns, port: 53, targetPort: 53, protocol: UDP}
"""
"""Services in every cluster that tests can reach: its DNS over UDP, and the DNS server's metrics over TCP."""
WRITER = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %(claim)s}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
  %(source)s
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(claim)s}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: %(claim)s}}
  template:
    metadata: {labels: {app: %(claim)s}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      containers:
        - name: writer
          image: %(image)s
          command: [sh, -c, "touch /data/log && while true; do echo $HOSTNAME >> /data/log; sync; sleep 1; done"]
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: %(claim)s}}]
"""


def shown(cloud, name):
    """What `moorage cluster show` says of a cluster."""
    return json.loads(cloud.moorage("--cloud", "moorage", "cluster", "show", name, "-o", "json").stdout)


def kill_at_line(cloud, number, *words):
    """Run `moorage` and kill -9 it when it has printed `number` lines of progress; returns what it had said."""
    reported = []

    def count(process, line):
        reported.append(line)
        if len(reported) == number:
            process.send_signal(signal.SIGKILL)

    cloud.progress(count, *words)
    return reported


class Cluster:
    """One cluster of the tests' cloud; its kubeconfig is the home's current one."""

    def __init__(self, cloud, name, image, folder, sdk):
        self.cloud, self.name, self.image, self.folder, self.sdk = cloud, name, image, folder, sdk

    def kubectl(self, *words, check=True, timeout=90):
        return self.cloud.run("kubectl", *words, check=check, timeout=timeout).stdout

    def apply(self, manifest):
        file = self.folder / "manifest.yaml"
        file.write_text(manifest)
        self.kubectl("apply", "-f", str(file))

    def write(self, claim, source=""):
        """A claim, and a pod that writes its own name into it each second."""
        self.apply(WRITER % {"claim": claim, "image": self.image, "source": source})

    def object(self, *words):
        shown = self.kubectl("get", *words, "-o", "json", check=False)
        return json.loads(shown) if shown else None

    def pod(self, app):
        """The one pod of a Deployment, when it is ready; None meanwhile."""
        found = self.object("pods", "-l", f"app={app}")
        pods = [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]] if found else []
        ready = [pod for pod in pods if all(one["ready"] for one in pod["status"].get("containerStatuses", NOT_YET))]
        return ready[0] if len(pods) == len(ready) == 1 else None

    def log(self, app):
        """Which pods wrote into the volume, a line a second."""
        pod = until(lambda: self.pod(app), seconds=30)
        return self.kubectl("exec", pod["metadata"]["name"], "--", "cat", "/data/log", check=False).split()

    def address(self, service, namespace):
        """The load balancer's address, once the Service has one."""
        found = self.object("service", "-n", namespace, service)
        return found["status"]["loadBalancer"].get("ingress", [{}])[0].get("ip") if found else None

    def events(self, namespace="default"):
        items = self.object("events", "-n", namespace)["items"]
        return [f"{one['involvedObject']['name']}: {one.get('reason')}: {one.get('message')}" for one in items]

    def show(self):
        return shown(self.cloud, self.name)

    def volumes(self):
        return list(self.sdk.block_storage.volumes())

    def load_balancers(self):
        return list(self.sdk.load_balancer.load_balancers())

    def floating_ips(self):
        return [found.floating_ip_address for found in self.sdk.network.ips()]

    def server(self, name):
        return self.sdk.compute.find_server(name, ignore_missing=False)

    def inside(self, server, *words, check=True):
        """Run a program in one of its servers, by that one's name."""
        machines = load_all(self.cloud.state / "machines")
        return Inside(next(machine for machine in machines if machine.hostname == server)).run(*words, check=check)

    def empty(self):
        """Delete what tests made in it."""
        self.kubectl("delete", "service", "outside", "-n", "kube-system", "--ignore-not-found")
        self.kubectl("delete", "deployment,pod,volumesnapshot,pvc,configmap", "--all", timeout=180)

    def message(self):
        """What to read when a test has failed, before the cluster is deleted."""
        yield "events", self.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp", check=False)
        yield "load balancers", "\n".join(str(found.to_dict()) for found in self.load_balancers())
        yield "volumes", "\n".join(str(found.to_dict()) for found in self.volumes())
        units = ("-u", "moorage-controller", "-u", "moorage-csi-controller")
        journal = ("journalctl", "--no-pager", "--lines=150", "--output=cat", *units)
        yield "controllers", self.inside(f"{self.name}-control-plane-0", *journal)


NOT_YET = ({"ready": False},)


class RunCluster:
    """The one cluster of a run of the tests: created when it is first asked for, repaired when a test broke it."""

    NAME = "e2e"
    WORKERS = 2

    def __init__(self, cloud, folder):
        self.cloud, self.folder = cloud, folder
        self.cluster = None

    @cached_property
    def sdk(self):
        """The tenant's connection to the cloud: an `openstack` program takes seconds for each call."""
        config = openstack.config.OpenStackConfig(config_files=[str(self.cloud.clouds)], load_envvars=False)
        return openstack.connection.Connection(config=config.get_one("moorage"))

    def get(self):
        if self.cluster is None:
            image = push_busybox()
            self.create()
            self.cloud.moorage("--cloud", "moorage", "cluster", "kubeconfig", self.NAME)
            self.cluster = Cluster(self.cloud, self.NAME, image, self.folder, self.sdk)
        elif not self._is_whole():
            self.create()
            until(self._is_whole, seconds=120)
        return self.cluster

    def create(self):
        """The command for a new cluster, and again for a cluster that lacks nodes."""
        words = ["--workers", str(self.WORKERS), "--registry-mirror", MIRROR]
        return self.cloud.moorage("--cloud", "moorage", "cluster", "create", self.NAME, *words, timeout=600)

    def _is_whole(self):
        found = self.cluster.object("nodes")
        return bool(found) and len([node for node in found["items"] if _is_ready(node)]) == 1 + self.WORKERS

    def delete(self):
        """Nothing that it made is left."""
        if self.cluster is None:
            return
        cluster, self.cluster = self.cluster, None
        self.cloud.moorage("--cloud", "moorage", "cluster", "delete", self.NAME, "--yes", timeout=480)
        assert cluster.volumes() == []
        assert list(self.sdk.block_storage.snapshots()) == []
        assert cluster.load_balancers() == []
        assert cluster.floating_ips() == []
        assert list(self.sdk.compute.servers()) == []


def _is_ready(node):
    conditions = {one["type"]: one["status"] for one in node["status"]["conditions"]}
    return conditions["Ready"] == "True" and not node["spec"].get("unschedulable")
