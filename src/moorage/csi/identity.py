"""CSI's identity service: the driver's name and capabilities, and whether it can serve."""

from __future__ import annotations

import logging
from collections.abc import Callable

from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from moorage.model.errors import MoorageError

log = logging.getLogger(__name__)


PLUGIN = csi.PluginCapability
CAPABILITIES = (
    PLUGIN(service=PLUGIN.Service(type=PLUGIN.Service.CONTROLLER_SERVICE)),
    PLUGIN(service=PLUGIN.Service(type=PLUGIN.Service.VOLUME_ACCESSIBILITY_CONSTRAINTS)),
    PLUGIN(volume_expansion=PLUGIN.VolumeExpansion(type=PLUGIN.VolumeExpansion.ONLINE)),
)


class Ready:
    """False until a first `read` of the cloud succeeds; True from then on, without more requests.

    Each call that needs the cloud reports when it is unreachable; restarting the driver would not help.
    """

    def __init__(self, read: Callable[[], object]) -> None:
        self._read = read
        self._is_ready = False

    def __call__(self) -> bool:
        if not self._is_ready:
            self._is_ready = self._check()
        return self._is_ready

    def _check(self) -> bool:
        try:
            self._read()
        except MoorageError as error:
            log.warning("not ready: %s", error.message)
            return False
        return True


class Identity(csi_pb2_grpc.IdentityServicer):  # type: ignore[misc,unused-ignore]
    """The service for a driver of this name; `ready` says whether it can serve, fast and without raising."""

    def __init__(self, name: str, version: str, ready: Callable[[], bool]) -> None:
        self.name = name
        self.version = version
        self.ready = ready

    def GetPluginInfo(self, request: csi.GetPluginInfoRequest, context: object) -> csi.GetPluginInfoResponse:
        return csi.GetPluginInfoResponse(name=self.name, vendor_version=self.version)

    def GetPluginCapabilities(
        self, request: csi.GetPluginCapabilitiesRequest, context: object
    ) -> csi.GetPluginCapabilitiesResponse:
        return csi.GetPluginCapabilitiesResponse(capabilities=CAPABILITIES)

    def Probe(self, request: csi.ProbeRequest, context: object) -> csi.ProbeResponse:
        response = csi.ProbeResponse()
        response.ready.value = self.ready()
        return response
