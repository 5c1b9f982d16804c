"""A cluster that takes from its cloud, for tests: made, looked at by kubectl and by the cloud's commands, deleted."""

from __future__ import annotations

import json
from contextlib import contextmanager

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
"""What there is to be reached in every cluster: its DNS, by UDP, and what that tells of itself, by TCP."""
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


class Cluster:
    """One cluster of the tests' cloud; its kubeconfig is the home's current one."""

    def __init__(self, cloud, name, image, folder):
        self.cloud, self.name, self.image, self.folder = cloud, name, image, folder

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

    def openstack(self, *words):
        return self.cloud.run("openstack", "--os-cloud", "moorage", *words, timeout=120).stdout

    def listed(self, *words):
        return json.loads(self.openstack(*words, "-f", "json"))

    def inside(self, server, *words):
        """Run a program in one of its servers, by that one's name."""
        machines = load_all(self.cloud.state / "machines")
        return Inside(next(machine for machine in machines if machine.hostname == server)).run(*words)

    def told(self):
        """What there is to read when a test has failed: the cluster is gone before anybody can ask it."""
        yield "events", self.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp", check=False)
        yield "load balancers", self.openstack("loadbalancer", "list")
        yield "volumes", self.openstack("volume", "list", "--long")
        units = ("-u", "moorage-controller", "-u", "moorage-csi-controller")
        journal = ("journalctl", "--no-pager", "--lines=150", "--output=cat", *units)
        yield "controllers", self.inside(f"{self.name}-control-plane-0", *journal)


NOT_YET = ({"ready": False},)


@contextmanager
def made(cloud, name, folder, workers=2):
    """The cluster, until the end of the block; then it is deleted, and nothing that it made is left."""
    image = push_busybox()
    words = ["--workers", str(workers), "--registry-mirror", MIRROR]
    cloud.moorage("--cloud", "moorage", "cluster", "create", name, *words, timeout=300)
    cloud.moorage("--cloud", "moorage", "cluster", "kubeconfig", name)
    cluster = Cluster(cloud, name, image, folder)
    try:
        yield cluster
    finally:
        cloud.moorage("--cloud", "moorage", "cluster", "delete", name, "--yes", timeout=240)
    for kind in (["volume"], ["volume", "snapshot"], ["loadbalancer"], ["floating", "ip"], ["server"]):
        assert cluster.listed(*kind, "list") == [], " ".join(kind)
