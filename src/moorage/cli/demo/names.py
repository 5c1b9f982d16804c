"""What the demo's things are called, and where its examples lie."""

from __future__ import annotations

from pathlib import Path

CLOUD = "moorage"
CLUSTER = "demo"
WORKERS = 2
GATEWAY_CIDR = "172.24.4.0/24"
REGISTRY_HOST = "registry.local"
"""The registry's name in images; the nodes know it as a mirror of `REGISTRY`."""
REGISTRY = "172.24.4.1:5080"
EXAMPLES = Path(__file__).parents[4] / "examples"
