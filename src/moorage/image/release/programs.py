"""The files of a release, each with its version and how it is built.

A program comes from its project's own main package, installed by version with the project's own dependencies. Where Go
refuses that (a module with replace directives), a folder of ours under kubernetes/ pins the dependencies. Where a
smaller program is enough, it comes from a main of ours there.
"""

from moorage.image.release.recipes import Data, Pinned, Program, Recipe

GO_NEEDED = "1.26.6"
"""The oldest Go that all of the modules below accept (containerd's go.mod requires the newest)."""

KUBERNETES = "v1.37.2"
CONTAINERD = "v2.4.2"
CNI_PLUGINS = "v1.9.1"
SNAPSHOTTER = "v8.7.0"


def _kubernetes() -> Program:
    major, minor = KUBERNETES.removeprefix("v").split(".")[:2]
    values = {
        "gitVersion": KUBERNETES,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "",
        "gitTreeState": "clean",
    }
    modules = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return Program(
        "kubernetes",
        KUBERNETES,
        package="k8s.io/kubernetes",
        folder="kubernetes",
        variables=tuple((f"{module}.{key}", value) for module in modules for key, value in values.items()),
        links=(
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        ),
    )


def _containerd(name: str) -> Program:
    module = "github.com/containerd/containerd/v2"
    version = (f"{module}/version.Version", CONTAINERD)
    return Program(name, CONTAINERD, package=f"{module}/cmd/{name}", variables=(version,))


def _cni(kind: str, name: str) -> Program:
    module = "github.com/containernetworking/plugins"
    version = (f"{module}/pkg/utils/buildversion.BuildVersion", CNI_PLUGINS)
    return Program(name, CNI_PLUGINS, package=f"{module}/plugins/{kind}/{name}", variables=(version,))


def _sidecar(module: str, name: str, version: str) -> Pinned:
    return Pinned(
        name,
        version,
        package=f"github.com/kubernetes-csi/{module}/cmd/{name}",
        folder="csi",
        variables=(("main.version", version),),
        tags="grpcnotrace",  # makes it smaller by two fifths, without gRPC's own page of traces
    )


PROGRAMS: tuple[Program, ...] = (
    _kubernetes(),
    Program("etcd", "v3.7.3", package="go.etcd.io/etcd/server/v3", folder="etcd", links=("etcdctl",)),
    _containerd("containerd"),
    _containerd("containerd-shim-runc-v2"),
    _containerd("ctr"),
    Program(
        "runc",
        "v1.5.2",
        package="github.com/opencontainers/runc",
        static_c=True,
        tags="seccomp,netgo,osusergo",
    ),
    _cni("main", "bridge"),
    _cni("ipam", "host-local"),
    _cni("main", "loopback"),
    _cni("meta", "portmap"),
    _cni("meta", "bandwidth"),
    _cni("meta", "firewall"),
    Program("coredns", "v1.15.0", package="github.com/coredns/coredns", folder="coredns"),
    Program(
        "flanneld",
        "v0.28.10",
        package="github.com/flannel-io/flannel",
        folder="flanneld",
        variables=(("github.com/flannel-io/flannel/pkg/version.Version", "v0.28.10"),),
    ),
    Program(
        "registry",
        "v3.1.2",
        package="github.com/distribution/distribution/v3/cmd/registry",
        variables=(("github.com/distribution/distribution/v3/version.version", "v3.1.2"),),
    ),
    Program("pause", "v1.0.0", folder="pause"),
    _sidecar("external-provisioner/v6", "csi-provisioner", "v6.4.0"),
    _sidecar("external-attacher/v4", "csi-attacher", "v4.13.0"),
    _sidecar("external-resizer/v2", "csi-resizer", "v2.3.0"),
    _sidecar("external-snapshotter/v8", "csi-snapshotter", SNAPSHOTTER),
    _sidecar("external-snapshotter/v8", "snapshot-controller", SNAPSHOTTER),
)
SNAPSHOT_DEFINITIONS = Data(
    "snapshot-crds.yaml",
    SNAPSHOTTER,
    package="github.com/kubernetes-csi/external-snapshotter/client/v8",
    folder="csi",
    files=tuple(
        f"config/crd/snapshot.storage.k8s.io_{kind}.yaml"
        for kind in ("volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots")
    ),
)
"""The custom resource definitions of snapshots."""
CONTENTS: tuple[Recipe, ...] = (*PROGRAMS, SNAPSHOT_DEFINITIONS)
