"""`python -m benchmarks [RUNS]`: the durations of clusters on the running local cloud, and of their phases.

Needs a running local cloud (`make up`). Creates and deletes clusters named bench-…; prints medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.floor import measured

RUNS = 5


def moorage(*words: str) -> str:
    command = [sys.executable, "-m", "moorage.bootstrap", "--cloud", "moorage", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def create(name: str, workers: int) -> tuple[float, list[dict[str, object]]]:
    """Seconds until every node is Ready and CoreDNS runs, and the events until then."""
    began = time.monotonic()
    made = json.loads(moorage("cluster", "create", name, "--workers", str(workers), "--output", "json"))
    return time.monotonic() - began, made["progress"]


def delete(name: str) -> float:
    """Seconds until the deletion is verified."""
    began = time.monotonic()
    moorage("cluster", "delete", name, "--yes")
    return time.monotonic() - began


def memory() -> int:
    """The memory of the cloud's services, in MiB (PSS)."""
    return sum(row["memory"] for row in json.loads(moorage("cloud", "status", "--output", "json")))


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    created, deleted, floors = [], [], []
    for number in range(runs):
        seconds, events = create(f"bench-{number}", 2)
        created.append(seconds)
        deleted.append(delete(f"bench-{number}"))
        floors.append(measured(2))
        print(f"create 1+2: {seconds:.1f} s, delete: {deleted[-1]:.1f} s, floor: {floors[-1]:.1f} s")
        for event in events:
            print(f"    {event['seconds']:6.1f} s  {event['text']}")
    middle, least = statistics.median(created), statistics.median(floors)
    print(f"create 1+2, median of {runs}: {middle:.1f} s, {middle / least:.1f} times its floor of {least:.1f} s")
    print(f"delete, median of {runs}: {statistics.median(deleted):.1f} s")
    names = [f"bench-many-{number}" for number in range(4)]
    began = time.monotonic()
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: create(name, 1), names))
    print(f"four clusters of 1+1 in parallel: {time.monotonic() - began:.1f} s")
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(delete, names))
    print(f"the cloud's memory: {memory()} MiB")


if __name__ == "__main__":
    main()
