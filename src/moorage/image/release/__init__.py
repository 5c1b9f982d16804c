"""The release directory: every program that a node runs, of versions that were tried together.

It is built from published Go modules or fetched from a mirror, once a machine, and lies in
`<cache>/release/<hash>/`: `bin/` with the programs, `share/` with data that belongs to them, and `manifest.json` with
version, source, SHA-256 and size of each. `<hash>` names the inputs, so that a change of a version or of a source
of ours makes another directory.
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
