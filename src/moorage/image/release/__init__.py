"""The release: every program that a node runs, in versions that were tested together.

It is built from published Go modules or downloaded from a mirror, once on a machine, into `<cache>/release/<hash>/`:
`bin/` with the programs, `share/` with their data, and `manifest.json` with version, source, SHA-256 and size of each.
`<hash>` covers the inputs, so that another version or source creates another directory.
"""

from moorage.image.release.builder import build
from moorage.image.release.directory import Entry, Finding, Manifest, Release, find_release, verify
from moorage.image.release.mirror import fetch
from moorage.image.release.programs import CONTENTS, PROGRAMS
from moorage.image.release.recipes import Data, Pinned, Program

__all__ = [
    "CONTENTS",
    "PROGRAMS",
    "Data",
    "Entry",
    "Finding",
    "Manifest",
    "Pinned",
    "Program",
    "Release",
    "build",
    "fetch",
    "find_release",
    "verify",
]
