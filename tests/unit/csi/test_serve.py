"""The driver's socket, called as the kubelet and the sidecars call it."""

import grpc
import pytest

from moorage.csi.identity import Identity
from moorage.csi.serve import serve
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit


class RejectingController(csi_pb2_grpc.ControllerServicer):
    def CreateVolume(self, request, context):
        raise BadInput("no such type", "choose another")


@pytest.fixture
def state():
    return {"ready": True}


@pytest.fixture
def channel(tmp_path, state):
    socket = tmp_path / "csi" / "csi.sock"
    socket.parent.mkdir()
    socket.touch()  # as a killed server leaves it

    def add(server):
        csi_pb2_grpc.add_IdentityServicer_to_server(Identity("x.example", "1", lambda: state["ready"]), server)
        csi_pb2_grpc.add_ControllerServicer_to_server(RejectingController(), server)

    server = serve(socket, add)
    with grpc.insecure_channel(f"unix:{socket}") as opened:
        yield opened
    server.stop(0).wait(5)


def test_identity_has_name_and_capabilities(channel):
    identity = csi_pb2_grpc.IdentityStub(channel)
    info = identity.GetPluginInfo(csi.GetPluginInfoRequest(), timeout=5)
    assert (info.name, info.vendor_version) == ("x.example", "1")
    capabilities = identity.GetPluginCapabilities(csi.GetPluginCapabilitiesRequest(), timeout=5).capabilities
    assert {c.service.type for c in capabilities if c.HasField("service")} == {
        csi.PluginCapability.Service.CONTROLLER_SERVICE,
        csi.PluginCapability.Service.VOLUME_ACCESSIBILITY_CONSTRAINTS,
    }
    assert [c.volume_expansion.type for c in capabilities if c.HasField("volume_expansion")] == [
        csi.PluginCapability.VolumeExpansion.ONLINE
    ]


def test_probe_returns_readiness(channel, state):
    probe = csi_pb2_grpc.IdentityStub(channel).Probe
    assert probe(csi.ProbeRequest(), timeout=5).ready.value is True
    state["ready"] = False
    response = probe(csi.ProbeRequest(), timeout=5)
    assert response.HasField("ready")
    assert response.ready.value is False


def test_error_has_code_and_message(channel):
    with pytest.raises(grpc.RpcError) as caught:
        csi_pb2_grpc.ControllerStub(channel).CreateVolume(csi.CreateVolumeRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "no such type: choose another"


def test_unserved_call_is_unimplemented(channel):
    with pytest.raises(grpc.RpcError) as caught:
        csi_pb2_grpc.ControllerStub(channel).DeleteVolume(csi.DeleteVolumeRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
