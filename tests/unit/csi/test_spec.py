"""The generated code is what the .proto files give, and it is the specification that we mean."""

import pytest

from moorage.csi.spec import csi_pb2, csi_pb2_grpc, pluginregistration_pb2
from moorage.csi.spec.generate import HERE, generate

pytestmark = pytest.mark.unit


def test_generate_again_gives_same_files(tmp_path):
    generate(tmp_path)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == [
        "csi_pb2.py",
        "csi_pb2_grpc.py",
        "pluginregistration_pb2.py",
        "pluginregistration_pb2_grpc.py",
    ]
    for name in made:
        assert (tmp_path / name).read_text() == (HERE / name).read_text()


def test_spec_is_version_1_12():
    methods = {method.name for method in csi_pb2.DESCRIPTOR.services_by_name["Controller"].methods}
    assert {"ControllerModifyVolume", "ControllerGetVolume", "GetSnapshot", "ListSnapshots"} <= methods
    assert csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_MULTI_WRITER == 7
    assert csi_pb2_grpc.NodeServicer.NodeStageVolume


def test_message_is_serialized_and_parsed():
    asked = csi_pb2.CreateVolumeRequest(name="pvc-1", parameters={"type": "fast"})
    asked.capacity_range.required_bytes = 2**30
    assert csi_pb2.CreateVolumeRequest.FromString(asked.SerializeToString()) == asked


def test_registration_has_kubelets_names_and_numbers():
    described = pluginregistration_pb2.DESCRIPTOR
    assert described.services_by_name["Registration"].full_name == "pluginregistration.Registration"
    message = {field.name: field.number for field in described.message_types_by_name["PluginInfo"].fields}
    assert message == {"type": 1, "name": 2, "endpoint": 3, "supported_versions": 4}
    status = {field.name: field.number for field in described.message_types_by_name["RegistrationStatus"].fields}
    assert status == {"plugin_registered": 1, "error": 2}
