"""The node that boots, as every step gets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from moorage.node.api import Api, Credential
from moorage.node.layout import Layout
from moorage.node.machine import Machine
from moorage.node.source import UNKNOWN, Server
from moorage.node.userdata import UserData
from moorage.node.waiting import Deadline


@dataclass(frozen=True)
class Node:
    """The node's name, user data and server, and its ports. `report` writes to the console for operators."""

    name: str
    data: UserData
    layout: Layout
    machine: Machine
    deadline: Deadline
    report: Callable[[str], None]
    server: Server = UNKNOWN

    def api(self) -> Api:
        """A client of the API server as this node: with the kubelet's certificate."""
        certificate = self.layout.kubelet_certificate
        return Api(self.data.cluster.api_address, self.layout.ca.read_text(), Credential(certificate, certificate))

    def admin_api(self) -> Api:
        """A client of the API server as its control plane, over loopback."""
        pki = self.layout.pki
        return Api("127.0.0.1", self.layout.ca.read_text(), Credential(pki / "admin.crt", pki / "admin.key"))


@dataclass(frozen=True)
class Step:
    """One step of a node's boot. `act` may be repeated at any time and returns once the step is done.

    It never raises NotYet, but TimedOut or Failed when the step cannot be done.
    """

    doing: str
    act: Callable[[Node], None]
    units: tuple[str, ...] = ()
    """Units that the step needs: the last lines of their journals explain a failure."""
