"""A class says what we know, or is refused by name."""

import pytest

from moorage.csi.cinder.parameters import VolumeParameters, changes, snapshot, volume
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit


def test_storage_class_parameters_are_optional():
    assert volume({}) == VolumeParameters()
    assert volume({"type": "fast", "availability": "nova"}) == VolumeParameters("fast", "nova")
    assert changes({"type": "slow"}) == "slow"
    assert changes({}) == ""


def test_sidecar_parameters_are_ignored():
    assert volume({"csi.storage.k8s.io/pvc/name": "data", "type": "fast"}) == VolumeParameters("fast")


@pytest.mark.parametrize("read", [volume, changes, snapshot])
def test_unknown_parameter_is_named_with_known_ones(read):
    with pytest.raises(BadInput, match=r"'typo' \(value 'fast'\); known are .*"):
        read({"typo": "fast"})


def test_attributes_class_rejects_zone():
    with pytest.raises(BadInput, match="'availability'"):
        changes({"availability": "nova"})


def test_snapshot_class_force_create():
    assert not snapshot({})
    assert not snapshot({"force-create": "false"})
    assert snapshot({"force-create": "true"})
    assert snapshot({"type": "snapshot", "force-create": "true"})
    with pytest.raises(BadInput, match="'backup': backups"):
        snapshot({"type": "backup"})
    with pytest.raises(BadInput, match="'yes'"):
        snapshot({"force-create": "yes"})
