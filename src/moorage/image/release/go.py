"""Go as we use it: which one, whether it will do, and one program built by it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moorage.image.release.programs import GO_NEEDED, Program
from moorage.model.errors import Failed

C_PROBE = "#include <stdio.h>\n#include <seccomp.h>\n"


@dataclass(frozen=True)
class Go:
    """A Go tool chain with caches of our own under `folder`, which can be dropped after a build."""

    program: str
    folder: Path
    environment: Mapping[str, str]

    def build(self, program: Program, sources: Path, into: Path) -> None:
        """Build `program` as the file `into`; `sources` is the folder kubernetes/. Raises Failed in Go's words."""
        for folder in (self.folder / "out", self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        # A folder for this run alone: a Go whose starter was killed may still be at work.
        target = Path(tempfile.mkdtemp(dir=self.folder / "out"))
        words = [self.program, "install", "-ldflags", program.ldflags, "-tags", program.tags]
        if program.folder:
            self._run([*words, "."], sources / program.folder, target, program)
        else:
            self._run([*words, f"{program.package}@{program.version}"], target, target, program)
        _installed(program, target).replace(into)

    def _run(self, words: list[str], where: Path, target: Path, program: Program) -> None:
        settings = self._settings(program, target)
        done = subprocess.run(words, cwd=where, env=settings, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = "\n".join(line for line in done.stderr.splitlines()[-15:] if line.strip())
            raise Failed(f"Go could not build {program.name} {program.version}:\n{last}", _advice(done.stderr))

    def _settings(self, program: Program, target: Path) -> dict[str, str]:
        return dict(self.environment) | {
            "CGO_ENABLED": "1" if program.static_c else "0",
            "GOBIN": str(target),
            "GOCACHE": str(self.folder / "build"),
            "GOFLAGS": "-trimpath -buildvcs=false -modcacherw",
            "GOMODCACHE": str(self.folder / "mod"),
            "GOTMPDIR": str(self.folder / "tmp"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }


def _installed(program: Program, target: Path) -> Path:
    """Where `go install` left the program: it names the file by the last part of the package's path."""
    return target / (program.folder or program.package.rsplit("/", 1)[-1])


def _advice(output: str) -> str:
    again = "run it again: programs that are built are kept"
    if "no space left on device" in output:
        return f"free some disk and {again}"
    if re.search(r"dial tcp|i/o timeout|Forbidden|Bad Gateway|connection re|TLS handshake", output):
        return f"check that Go's module proxy (go env GOPROXY) can be reached and {again}"
    return again


def find_go(folder: Path, environment: Mapping[str, str]) -> Go:
    """Return the Go that MOORAGE_GO names, or else the one on PATH; raises Failed for none, or an old one."""
    program = environment.get("MOORAGE_GO") or shutil.which("go", path=environment.get("PATH"))
    wanted = f"install Go {GO_NEEDED} or newer (https://go.dev/dl) and name it by MOORAGE_GO or PATH"
    if not program or not shutil.which(program):
        raise Failed(f"no Go to build with{f' at {program} (MOORAGE_GO)' if program else ''}", wanted)
    local = dict(environment) | {"GOTOOLCHAIN": "local"}
    asked = subprocess.run([program, "env", "GOVERSION"], env=local, capture_output=True, text=True, check=False)
    version = asked.stdout.strip().removeprefix("go")
    if _numbers(version) < _numbers(GO_NEEDED):
        raise Failed(f"{program} is Go {version or 'of no known version'}, and {GO_NEEDED} is needed", wanted)
    return Go(program, folder, environment)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split(" ")[0])[:3])


def check_c(environment: Mapping[str, str]) -> None:
    """Raise Failed when what runc's C code needs is missing, before minutes go into the other programs."""
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
