"""The driver's manifest for Kubernetes' storage tests matches the driver."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from moorage.csi.cinder.backend import NAME, TOPOLOGY
from moorage.csi.cinder.parameters import parse_snapshot_class
from moorage.csi.controller import CAPABILITIES, RPC
from moorage.csi.messages import MODE, ONE_NODE
from moorage.host.filesystems import KINDS

pytestmark = pytest.mark.unit

STORAGE = Path(__file__).parents[2] / "storage"
DRIVER = yaml.safe_load((STORAGE / "driver.yaml").read_text())["DriverInfo"]


def test_manifest_has_name_zone_and_file_systems():
    assert DRIVER["Name"] == NAME
    assert DRIVER["TopologyKeys"] == [TOPOLOGY]
    assert set(DRIVER["SupportedFsType"]) == {"", *KINDS}


@pytest.mark.parametrize(
    ("capability", "rpc"),
    [
        ("snapshotDataSource", RPC.CREATE_DELETE_SNAPSHOT),
        ("pvcDataSource", RPC.CLONE_VOLUME),
        ("controllerExpansion", RPC.EXPAND_VOLUME),
        ("readWriteOncePod", RPC.SINGLE_NODE_MULTI_WRITER),
    ],
)
def test_manifest_matches_capabilities(capability, rpc):
    assert DRIVER["Capabilities"][capability] == (rpc in CAPABILITIES)


def test_manifest_has_no_multi_node_access():
    assert not DRIVER["Capabilities"]["RWX"]
    assert MODE.MULTI_NODE_MULTI_WRITER not in ONE_NODE
    assert not DRIVER["Capabilities"]["capReadOnlyMany"]
    assert MODE.MULTI_NODE_READER_ONLY not in ONE_NODE


def test_snapshot_class_is_valid():
    snapshot_class = yaml.safe_load((STORAGE / "snapshot-class.yaml").read_text())
    assert snapshot_class["driver"] == NAME
    assert parse_snapshot_class(snapshot_class["parameters"])
