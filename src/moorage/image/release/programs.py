"""What a release holds: one entry a program, with its version and how it is built.

A program comes from its project's own main package, installed by version with the project's own set of
dependencies; or, where Go refuses that (a module that replaces others) or where a smaller program will do, from
a main of ours in `kubernetes/<folder>`, whose go.mod pins the same version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

GO_NEEDED = "1.26.6"
"""The oldest Go that all of the modules below accept (containerd's go.mod asks for the most)."""


@dataclass(frozen=True)
class Program:
    """One program of a release and its recipe.

    `package` is the Go package to install at `version`; for a main of ours it is the module that the main is
    about, and `folder` the main's folder under kubernetes/. `variables` are set by the linker (`-X`).
    `links` are further names by which the same program is called.
    """

    name: str
    version: str
    package: str = ""
    folder: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    static_c: bool = False
    tags: str = ""

    @property
    def source(self) -> str:
        """Where the code comes from, as the manifest says it."""
        upstream = f"{self.package}@{self.version}" if self.package else ""
        return " ".join(part for part in (upstream, f"kubernetes/{self.folder}" if self.folder else "") if part)

    @property
    def ldflags(self) -> str:
        words = ["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables)]
        return " ".join([*words, "-extldflags -static"] if self.static_c else words)

    def input_hash(self, sources: Path) -> str:
        """Name everything that decides what the program's file holds; `sources` is the folder kubernetes/."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for path in source_files(sources / self.folder) if self.folder else []:
            digest.update(f"\0{path.relative_to(sources)}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def source_files(folder: Path) -> list[Path]:
    """List the files that a build of `folder` reads, tests left out, in a fixed order."""
    wanted = [*folder.rglob("*.go"), *folder.glob("go.mod"), *folder.glob("go.sum")]
    return sorted(path for path in wanted if not path.name.endswith("_test.go"))


def release_hash(programs: Sequence[Program], sources: Path) -> str:
    """Name a release by its inputs: 16 hexadecimal digits."""
    inputs = sorted(f"{program.name} {program.input_hash(sources)}" for program in programs)
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]


def go_sources() -> Path:
    """Find our Go mains: a folder beside this file, in a checkout by a symbolic link to kubernetes/ at its top."""
    return (Path(__file__).parent / "kubernetes").resolve()


KUBERNETES = "v1.37.2"
CONTAINERD = "v2.4.2"
CNI_PLUGINS = "v1.9.1"


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
)
