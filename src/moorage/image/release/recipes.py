"""How a file of a release is made: a program built by Go, or data taken out of a module."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

Kind = Literal["program", "data"]


@dataclass(frozen=True)
class _Recipe:
    """One file of a release.

    `package` is what of upstream's it is made of, at `version`. `folder` is the one under kubernetes/ that has a
    part in it, `links` are further names of the file.
    """

    kind: ClassVar[Kind]

    name: str
    version: str
    package: str = ""
    folder: str = ""
    links: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where the code comes from, as the manifest says it."""
        upstream = f"{self.package}@{self.version}" if self.package else ""
        return " ".join(part for part in (upstream, f"kubernetes/{self.folder}" if self.folder else "") if part)

    def input_hash(self, sources: Path) -> str:
        """Name everything that decides what the file holds; `sources` is the folder kubernetes/."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for path in source_files(sources / self.folder) if self.folder else []:
            digest.update(f"\0{path.relative_to(sources)}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Program(_Recipe):
    """A program, from its project's main package at its version; or, with a `folder`, from the main of ours there.

    `package` is then the module that the main is about. `variables` are set by the linker (`-X`).
    """

    kind = "program"

    variables: tuple[tuple[str, str], ...] = ()
    static_c: bool = False
    tags: str = ""

    @property
    def installs(self) -> str:
        """What `go install` is told, in the folder if there is one."""
        return "." if self.folder else f"{self.package}@{self.version}"

    @property
    def installed(self) -> str:
        """What `go install` calls the file: the last part of the package's path."""
        return self.folder or self.package.rsplit("/", 1)[-1]

    @property
    def ldflags(self) -> str:
        words = ["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables)]
        return " ".join([*words, "-extldflags -static"] if self.static_c else words)


@dataclass(frozen=True)
class Pinned(Program):
    """A program from its project's main package, with the dependencies that go.mod in the `folder` pins."""

    @property
    def installs(self) -> str:
        return self.package

    @property
    def installed(self) -> str:
        return self.package.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Data(_Recipe):
    """The `files` of the module `package`, which go.mod in the `folder` pins, one after another in one file."""

    kind = "data"

    files: tuple[str, ...] = ()


Recipe = Program | Data


def source_files(folder: Path) -> list[Path]:
    """List the files that a build of `folder` reads, tests left out, in a fixed order."""
    wanted = [*folder.rglob("*.go"), *folder.glob("go.mod"), *folder.glob("go.sum")]
    return sorted(path for path in wanted if not path.name.endswith("_test.go"))


def release_hash(contents: Sequence[Recipe], sources: Path) -> str:
    """Name a release by its inputs: 16 hexadecimal digits."""
    inputs = sorted(f"{recipe.name} {recipe.input_hash(sources)}" for recipe in contents)
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]


def go_sources() -> Path:
    """Find our Go modules: a folder beside this file, in a checkout by a symbolic link to kubernetes/ at its top."""
    return (Path(__file__).parent / "kubernetes").resolve()
