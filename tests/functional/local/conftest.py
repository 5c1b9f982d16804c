"""The LocalCloud object of the test run's cloud."""

from __future__ import annotations

import pytest

from moorage.cli.cloud import local_cloud
from moorage.config import Paths


@pytest.fixture(scope="module")
def cloud(cloud):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds))
        return local_cloud(Paths.from_environment(cloud.environment))
