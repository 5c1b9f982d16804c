"""The Go tool chain: find it, check it, and build one file of a release with it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moorage.image.release.programs import GO_NEEDED
from moorage.image.release.recipes import Data, Program, Recipe
from moorage.model.errors import Failed

C_PROBE = "#include <stdio.h>\n#include <seccomp.h>\n"


@dataclass(frozen=True)
class Go:
    """A Go tool chain with its own caches under `folder`, which can be deleted after a build."""

    program: str
    folder: Path
    environment: Mapping[str, str]

    def make(self, recipe: Recipe, sources: Path) -> Path:
        """Build a file below `folder`; `sources` is the folder kubernetes/. Failed with Go's output."""
        for folder in (self.folder / "out", self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        # A folder for this run only: a Go with a killed parent may still be running.
        target = Path(tempfile.mkdtemp(dir=self.folder / "out"))
        where = sources / recipe.folder if recipe.folder else target
        if isinstance(recipe, Program):
            return self._build(recipe, where, target)
        return self._take(recipe, where, target)

    def _build(self, program: Program, where: Path, target: Path) -> Path:
        words = ["install", "-ldflags", program.ldflags, "-tags", program.tags, program.installs]
        self._run(words, program, where, {"GOBIN": str(target), "CGO_ENABLED": "1" if program.static_c else "0"})
        return target / program.installed

    def _take(self, data: Data, where: Path, target: Path) -> Path:
        self._run(["mod", "download", data.package], data, where, {})
        module = Path(self._run(["list", "-m", "-f", "{{.Dir}}", data.package], data, where, {}).strip())
        made = target / data.name
        made.write_bytes(b"".join((module / file).read_bytes() for file in data.files))
        return made

    def _run(self, words: list[str], recipe: Recipe, where: Path, more: dict[str, str]) -> str:
        words, settings = [self.program, *words], self._settings() | more
        done = subprocess.run(words, cwd=where, env=settings, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = "\n".join(line for line in done.stderr.splitlines()[-15:] if line.strip())
            raise Failed(f"Go could not build {recipe.name} {recipe.version}:\n{last}", _advice(done.stderr))
        return done.stdout

    def _settings(self) -> dict[str, str]:
        return dict(self.environment) | {
            "GOCACHE": str(self.folder / "build"),
            "GOFLAGS": "-trimpath -buildvcs=false -modcacherw",
            "GOMODCACHE": str(self.folder / "mod"),
            "GOTMPDIR": str(self.folder / "tmp"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }


def _advice(output: str) -> str:
    again = "run it again: programs that are built are kept"
    if "no space left on device" in output:
        return f"free some disk space and {again}"
    if re.search(r"dial tcp|i/o timeout|Forbidden|Bad Gateway|connection re|TLS handshake", output):
        return f"check that Go's module proxy (go env GOPROXY) is reachable and {again}"
    return again


def find_go(folder: Path, environment: Mapping[str, str]) -> Go:
    """The Go in MOORAGE_GO, or else on PATH; Failed without one or with an old one."""
    program = environment.get("MOORAGE_GO") or shutil.which("go", path=environment.get("PATH"))
    wanted = f"install Go {GO_NEEDED} or newer (https://go.dev/dl) and set MOORAGE_GO or PATH"
    if not program or not shutil.which(program):
        raise Failed(f"no Go to build with{f' at {program} (MOORAGE_GO)' if program else ''}", wanted)
    local = dict(environment) | {"GOTOOLCHAIN": "local"}
    asked = subprocess.run([program, "env", "GOVERSION"], env=local, capture_output=True, text=True, check=False)
    version = asked.stdout.strip().removeprefix("go")
    if _numbers(version) < _numbers(GO_NEEDED):
        raise Failed(f"{program} is Go {version or 'of unknown version'}, and {GO_NEEDED} is needed", wanted)
    return Go(program, folder, environment)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split(" ")[0])[:3])


def check_c(environment: Mapping[str, str]) -> None:
    """Failed when runc's C dependencies are missing, before minutes are spent on the other programs."""
    compiler = environment.get("CC", "gcc")
    absent = [name for name in (compiler, "pkg-config") if not shutil.which(name, path=environment.get("PATH"))]
    if not absent:
        probe = subprocess.run(
            [compiler, "-fsyntax-only", "-x", "c", "-"],
            input=C_PROBE,
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
        )
        absent = re.findall(r"fatal error: (\S+):", probe.stderr) if probe.returncode else []
    if absent:
        packages = "apt-get install gcc libc6-dev libseccomp-dev pkg-config"
        raise Failed(f"runc cannot be built: {', '.join(absent)} is missing on this machine", packages)
