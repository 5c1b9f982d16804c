"""CSI's identity service: the driver's name and capabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc

PLUGIN = csi.PluginCapability
CAPABILITIES = (
    PLUGIN(service=PLUGIN.Service(type=PLUGIN.Service.CONTROLLER_SERVICE)),
    PLUGIN(service=PLUGIN.Service(type=PLUGIN.Service.VOLUME_ACCESSIBILITY_CONSTRAINTS)),
    PLUGIN(volume_expansion=PLUGIN.VolumeExpansion(type=PLUGIN.VolumeExpansion.ONLINE)),
)


class Identity(csi_pb2_grpc.IdentityServicer):  # type: ignore[misc,unused-ignore]
    """The service for a driver of this name; `ready` says whether it can serve, fast and without raising."""

    def __init__(self, name: str, version: str, ready: Callable[[], bool]) -> None:
        self.name = name
        self.version = version
        self.ready = ready

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return csi.GetPluginInfoResponse(name=self.name, vendor_version=self.version)

    def GetPluginCapabilities(self, request: Any, context: Any) -> Any:
        return csi.GetPluginCapabilitiesResponse(capabilities=CAPABILITIES)

    def Probe(self, request: Any, context: Any) -> Any:
        response = csi.ProbeResponse()
        response.ready.value = self.ready()
        return response
