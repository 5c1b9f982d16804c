"""A lab of machines from the node image, without OpenStack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from lab import Lab
from moorage.config import Paths
from moorage.image.node_image import build_image
from moorage.image.release import find_release


@pytest.fixture(scope="session")
def node_image() -> Any:
    cache = Paths.from_environment(os.environ).cache
    return build_image(cache, find_release(cache), print)


@pytest.fixture(scope="module")
def lab(own_network: None, node_image: Any) -> Iterator[Lab]:
    with closing(Lab(node_image)) as made:
        yield made
