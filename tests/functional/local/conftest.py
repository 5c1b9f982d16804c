"""The run's cloud, as an object of this process."""

from __future__ import annotations

import pytest

from moorage.cli.cloud import extras
from moorage.config import Paths
from moorage.local.cloud import LocalCloud


@pytest.fixture(scope="module")
def cloud(cloud):
    paths = Paths.from_environment(cloud.environment)
    return LocalCloud(paths.state, paths.run, paths.cache, cloud.clouds, extras(paths.cache))
