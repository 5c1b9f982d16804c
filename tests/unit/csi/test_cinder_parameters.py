"""Parsing of StorageClass, VolumeAttributesClass and VolumeSnapshotClass parameters."""

import pytest

from moorage.csi.cinder.parameters import (
    VolumeParameters,
    parse_attributes_class,
    parse_snapshot_class,
    parse_storage_class,
)
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit


def test_storage_class_parameters_are_optional():
    assert parse_storage_class({}) == VolumeParameters()
    assert parse_storage_class({"type": "fast", "availability": "nova"}) == VolumeParameters("fast", "nova")
    assert parse_attributes_class({"type": "slow"}) == "slow"
    assert parse_attributes_class({}) == ""


def test_sidecar_parameters_are_ignored():
    assert parse_storage_class({"csi.storage.k8s.io/pvc/name": "data", "type": "fast"}) == VolumeParameters("fast")


@pytest.mark.parametrize("parse", [parse_storage_class, parse_attributes_class, parse_snapshot_class])
def test_parse_unknown_parameter_reports_it_and_known_ones(parse):
    with pytest.raises(BadInput, match=r"'typo' \(value 'fast'\); known are .*"):
        parse({"typo": "fast"})


def test_attributes_class_rejects_zone():
    with pytest.raises(BadInput, match="'availability'"):
        parse_attributes_class({"availability": "nova"})


def test_snapshot_class_force_create():
    assert not parse_snapshot_class({})
    assert not parse_snapshot_class({"force-create": "false"})
    assert parse_snapshot_class({"force-create": "true"})
    assert parse_snapshot_class({"type": "snapshot", "force-create": "true"})
    with pytest.raises(BadInput, match="'backup': backups"):
        parse_snapshot_class({"type": "backup"})
    with pytest.raises(BadInput, match="'yes'"):
        parse_snapshot_class({"force-create": "yes"})
