"""What we tell Kubernetes' storage suite about the driver is what the driver says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from moorage.csi.cinder.backend import NAME, TOPOLOGY
from moorage.csi.cinder.parameters import snapshot
from moorage.csi.controller import CAPABILITIES, RPC
from moorage.csi.uses import FILE_SYSTEMS, MODE, ONE_NODE

pytestmark = pytest.mark.unit

STORAGE = Path(__file__).parents[2] / "storage"
DRIVER = yaml.safe_load((STORAGE / "driver.yaml").read_text())["DriverInfo"]


def test_manifest_has_name_zone_and_file_systems():
    assert DRIVER["Name"] == NAME
    assert DRIVER["TopologyKeys"] == [TOPOLOGY]
    assert set(DRIVER["SupportedFsType"]) == {"", *FILE_SYSTEMS}


@pytest.mark.parametrize(
    ("told", "promised"),
    [
        ("snapshotDataSource", RPC.CREATE_DELETE_SNAPSHOT),
        ("pvcDataSource", RPC.CLONE_VOLUME),
        ("controllerExpansion", RPC.EXPAND_VOLUME),
        ("readWriteOncePod", RPC.SINGLE_NODE_MULTI_WRITER),
    ],
)
def test_manifest_matches_capabilities(told, promised):
    assert DRIVER["Capabilities"][told] == (promised in CAPABILITIES)


def test_manifest_has_no_multi_node_access():
    assert not DRIVER["Capabilities"]["RWX"]
    assert MODE.MULTI_NODE_MULTI_WRITER not in ONE_NODE
    assert not DRIVER["Capabilities"]["capReadOnlyMany"]
    assert MODE.MULTI_NODE_READER_ONLY not in ONE_NODE


def test_snapshot_class_is_valid():
    told = yaml.safe_load((STORAGE / "snapshot-class.yaml").read_text())
    assert told["driver"] == NAME
    assert snapshot(told["parameters"])
