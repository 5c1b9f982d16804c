"""The driver registers with the kubelet."""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from click.testing import CliRunner

from moorage.csi.node.main import Run, command
from moorage.csi.node.registration import Sockets
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc, pluginregistration_pb2_grpc
from moorage.csi.spec import pluginregistration_pb2 as kubelet
from moorage.host.memory_filesystems import MemoryFilesystems
from node_service import node_service

pytestmark = pytest.mark.unit

NAME = "x.example"


class RunningDriver:
    """The program in its own thread, on a host in memory."""

    def __init__(self, folder):
        self.sockets = Sockets.below(folder, NAME)
        self.reported = []
        self.serving = threading.Event()
        self.run = Run(self.report, threading.Event())
        self.exit_code = None
        self.thread = threading.Thread(target=self.serve, args=(folder,))
        self.thread.start()
        assert self.serving.wait(10)

    def report(self, line):
        self.reported.append(line)
        self.serving.set()

    def serve(self, folder):
        node = node_service(MemoryFilesystems(), folder)
        self.exit_code = self.run.serve_until_stopped(node, NAME, self.sockets)

    def stop(self):
        self.run.stop.set()
        self.thread.join(10)
        return self.exit_code


@pytest.fixture
def folder():
    with TemporaryDirectory(prefix="csi-") as folder:  # a socket's path has 107 characters at most
        yield Path(folder)


@pytest.fixture
def running(folder):
    started = RunningDriver(folder)
    yield started
    started.stop()


def notify(running, **status):
    with grpc.insecure_channel(f"unix:{running.sockets.registration}") as channel:
        stub = pluginregistration_pb2_grpc.RegistrationStub(channel)
        stub.NotifyRegistrationStatus(kubelet.RegistrationStatus(**status), timeout=5)


def test_kubelet_finds_driver_by_registration(running, folder):
    assert running.sockets.registration == folder / "plugins_registry" / "x.example-reg.sock"
    with grpc.insecure_channel(f"unix:{running.sockets.registration}") as channel:
        info = pluginregistration_pb2_grpc.RegistrationStub(channel).GetInfo(kubelet.InfoRequest(), timeout=5)
    assert (info.type, info.name, list(info.supported_versions)) == ("CSIPlugin", NAME, ["1.0.0"])
    with grpc.insecure_channel(f"unix:{info.endpoint}") as channel:
        node = csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi.NodeGetInfoRequest(), timeout=5)
        plugin = csi_pb2_grpc.IdentityStub(channel).GetPluginInfo(csi.GetPluginInfoRequest(), timeout=5)
    assert (node.node_id, plugin.name) == ("server-1", NAME)


def test_registered_driver_runs_until_stopped(running):
    notify(running, plugin_registered=True)
    assert running.thread.is_alive()
    assert running.reported[-1] == "registered with the kubelet"
    assert running.stop() == 0


def test_rejected_registration_exits_for_restart(running):
    notify(running, plugin_registered=False, error="no such version")
    running.thread.join(10)
    assert running.exit_code != 0
    assert "no such version" in running.reported[-1]


def test_start_without_node_id_is_rejected():
    result = CliRunner().invoke(command, [], env={"SERVER_ID": ""})
    assert result.exit_code == 2
    assert "--node-id" in result.output
