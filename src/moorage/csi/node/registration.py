"""Register the driver with the kubelet, which looks for sockets in plugins_registry and calls each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moorage.csi.spec import pluginregistration_pb2 as kubelet
from moorage.csi.spec import pluginregistration_pb2_grpc

TYPE = "CSIPlugin"
CSI_VERSION = "1.0.0"  # the kubelet compares the first number only


@dataclass(frozen=True)
class Sockets:
    """The driver's sockets below the kubelet's folder: `driver` for CSI, `registration` for the kubelet to find it."""

    driver: Path
    registration: Path

    @classmethod
    def below(cls, root: Path, name: str) -> Sockets:
        return cls(root / "plugins" / name / "csi.sock", root / "plugins_registry" / f"{name}-reg.sock")


class Registration(pluginregistration_pb2_grpc.RegistrationServicer):  # type: ignore[misc,unused-ignore]
    """The registration service; calls `report_result` with the kubelet's result: "" when registered, or the error."""

    def __init__(self, name: str, endpoint: Path, report_result: Callable[[str], None]) -> None:
        self.name = name
        self.endpoint = endpoint
        self.report_result = report_result

    def GetInfo(self, request: kubelet.InfoRequest, context: object) -> kubelet.PluginInfo:
        return kubelet.PluginInfo(
            type=TYPE, name=self.name, endpoint=str(self.endpoint), supported_versions=[CSI_VERSION]
        )

    def NotifyRegistrationStatus(
        self, request: kubelet.RegistrationStatus, context: object
    ) -> kubelet.RegistrationStatusResponse:
        self.report_result("" if request.plugin_registered else request.error or "the kubelet gave no reason")
        return kubelet.RegistrationStatusResponse()
