"""A class says what we know, or is refused by name."""

import pytest

from moorage.csi.cinder.parameters import VolumeParameters, changes, snapshot, volume
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit


def test_a_class_may_say_nothing_or_everything():
    assert volume({}) == VolumeParameters()
    assert volume({"type": "fast", "availability": "nova"}) == VolumeParameters("fast", "nova")
    assert changes({"type": "slow"}) == "slow"
    assert changes({}) == ""


def test_what_the_sidecars_add_is_passed_over():
    assert volume({"csi.storage.k8s.io/pvc/name": "data", "type": "fast"}) == VolumeParameters("fast")


@pytest.mark.parametrize("read", [volume, changes, snapshot])
def test_an_unknown_parameter_is_named_with_its_value_and_what_is_known(read):
    with pytest.raises(BadInput, match=r"'typo' \(value 'fast'\); known are .*"):
        read({"typo": "fast"})


def test_a_living_volume_does_not_move_to_another_zone():
    with pytest.raises(BadInput, match="'availability'"):
        changes({"availability": "nova"})


def test_a_snapshot_of_a_volume_in_use_is_taken_on_request_only():
    assert not snapshot({})
    assert not snapshot({"force-create": "false"})
    assert snapshot({"force-create": "true"})
    assert snapshot({"type": "snapshot", "force-create": "true"})
    with pytest.raises(BadInput, match="'backup': backups"):
        snapshot({"type": "backup"})
    with pytest.raises(BadInput, match="'yes'"):
        snapshot({"force-create": "yes"})
