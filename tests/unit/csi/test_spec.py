"""The generated code matches the .proto files and the version of the specification."""

import pytest

from moorage.csi.spec import csi_pb2, csi_pb2_grpc, pluginregistration_pb2
from moorage.csi.spec.generate import HERE, generate

pytestmark = pytest.mark.unit


def test_generate_again_gives_same_files(tmp_path):
    generate(tmp_path)
    generated = sorted(path.name for path in tmp_path.iterdir())
    assert generated == [
        "csi_pb2.py",
        "csi_pb2.pyi",
        "csi_pb2_grpc.py",
        "pluginregistration_pb2.py",
        "pluginregistration_pb2.pyi",
        "pluginregistration_pb2_grpc.py",
    ]
    for name in generated:
        assert (tmp_path / name).read_text() == (HERE / name).read_text()


def test_spec_is_version_1_12():
    methods = {method.name for method in csi_pb2.DESCRIPTOR.services_by_name["Controller"].methods}
    assert {"ControllerModifyVolume", "ControllerGetVolume", "GetSnapshot", "ListSnapshots"} <= methods
    assert csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_MULTI_WRITER == 7
    assert csi_pb2_grpc.NodeServicer.NodeStageVolume


def test_message_is_serialized_and_parsed():
    request = csi_pb2.CreateVolumeRequest(name="pvc-1", parameters={"type": "fast"})
    request.capacity_range.required_bytes = 2**30
    assert csi_pb2.CreateVolumeRequest.FromString(request.SerializeToString()) == request


def test_registration_has_kubelets_names_and_numbers():
    descriptor = pluginregistration_pb2.DESCRIPTOR
    assert descriptor.services_by_name["Registration"].full_name == "pluginregistration.Registration"
    fields = {field.name: field.number for field in descriptor.message_types_by_name["PluginInfo"].fields}
    assert fields == {"type": 1, "name": 2, "endpoint": 3, "supported_versions": 4}
    status = {field.name: field.number for field in descriptor.message_types_by_name["RegistrationStatus"].fields}
    assert status == {"plugin_registered": 1, "error": 2}
