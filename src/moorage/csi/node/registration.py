"""Make the driver known to kubelet, which looks for sockets in its folder plugins_registry and asks each who it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.csi.spec import pluginregistration_pb2 as kubelet
from moorage.csi.spec import pluginregistration_pb2_grpc

TYPE = "CSIPlugin"
CSI_VERSION = "1.0.0"  # kubelet compares the first number only


@dataclass(frozen=True)
class Sockets:
    """Where a driver listens below kubelet's folder: `driver` for CSI itself, `registration` for being found."""

    driver: Path
    registration: Path

    @classmethod
    def below(cls, root: Path, name: str) -> Sockets:
        return cls(root / "plugins" / name / "csi.sock", root / "plugins_registry" / f"{name}-reg.sock")


class Registration(pluginregistration_pb2_grpc.RegistrationServicer):  # type: ignore[misc,unused-ignore]
    """Answers kubelet for a driver of this name; `told` hears how it ended: "" when it was registered, or why not."""

    def __init__(self, name: str, endpoint: Path, told: Callable[[str], None]) -> None:
        self.name = name
        self.endpoint = endpoint
        self.told = told

    def GetInfo(self, request: Any, context: Any) -> Any:
        return kubelet.PluginInfo(
            type=TYPE, name=self.name, endpoint=str(self.endpoint), supported_versions=[CSI_VERSION]
        )

    def NotifyRegistrationStatus(self, request: Any, context: Any) -> Any:
        self.told("" if request.plugin_registered else request.error or "kubelet gave no reason")
        return kubelet.RegistrationStatusResponse()
