"""Names of the demo, and the path of the applications."""

from __future__ import annotations

from pathlib import Path

CLOUD = "moorage"
CLUSTER = "demo"
WORKERS = 2
GATEWAY_CIDR = "172.24.4.0/24"
REGISTRY_HOST = "registry.local"
"""The registry's name in image references; the nodes have `REGISTRY` as its mirror."""
REGISTRY = "172.24.4.1:5080"
EXAMPLES = (Path(__file__).parent / "examples").resolve()
"""The applications; in a checkout a symbolic link to examples/ at its top."""
