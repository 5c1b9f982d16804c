"""The slowest tests of the last run, and those that took twice as long as before.

`make test` keeps each test's duration as JUnit XML in the cache. SLOWEST_TESTS is the table of an earlier run. A
machine's speed is the median ratio of the two runs' durations; a test is listed when it takes twice what that speed
predicts. `python -m benchmarks.slowest_tests --keep` replaces the table by the last run's.
"""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from statistics import median

from moorage.config import Paths

SLOWEST_TESTS = Path(__file__).with_name("slowest_tests.md")
LANES = ("unit", "cloud", "machines")
HEAD = "| Seconds | Test |\n| ---: | --- |\n"


def times(folder: Path) -> dict[str, float]:
    """Seconds of each test by name, with its share of fixtures."""
    cases = [
        case for lane in LANES if (file := folder / f"{lane}.xml").exists() for case in xml.parse(file).iter("testcase")
    ]
    return {f"{case.get('classname', '')}::{case.get('name', '')}": float(case.get("time", 0)) for case in cases}


def slower(now: dict[str, float], then: dict[str, float]) -> dict[str, float]:
    """The factor for tests that take at least twice as long as on a machine of the same speed before."""
    ratios = {name: now[name] / seconds for name, seconds in then.items() if now.get(name)}
    speed = median(ratios.values()) if ratios else 1.0
    return {name: ratio / speed for name, ratio in ratios.items() if ratio >= 2 * speed}


def read(table: str) -> dict[str, float]:
    rows = [line.strip("|").split("|", 1) for line in table.splitlines() if line.startswith("|")][2:]
    return {name.strip(): float(seconds) for seconds, name in rows}


def written(now: dict[str, float], count: int = 20) -> str:
    longest = sorted(now.items(), key=lambda entry: -entry[1])[:count]
    return HEAD + "".join(f"| {seconds:.1f} | {name} |\n" for name, seconds in longest)


def main() -> None:
    now = times(Paths.from_environment(os.environ).cache / "tests")
    print(written(now), end="")
    for name, ratio in slower(now, read(SLOWEST_TESTS.read_text()) if SLOWEST_TESTS.exists() else {}).items():
        print(f"warning: {name} takes {ratio:.1f} times as long as before", file=sys.stderr)
    if "--keep" in sys.argv[1:]:
        SLOWEST_TESTS.write_text("# The slowest tests of `make test`\n\n" + written(now))


if __name__ == "__main__":
    main()
