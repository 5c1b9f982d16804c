"""`moorage-csi-controller`: its options, its socket and its exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.csi.cinder.reader import Settings
from moorage.csi.identity import Ready
from moorage.csi.main import Adapters, command, start
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from moorage.model.errors import CloudUnreachable
from waiting import until

pytestmark = pytest.mark.unit

CLOUDS = """
clouds:
  moorage:
    auth: {auth_url: "http://127.0.0.1:9/v3", username: u, password: p, project_name: p,
           user_domain_id: default, project_domain_id: default}
"""


def test_ready_once_the_cloud_answered(tmp_path):
    cinder = MemoryVolumes(unreachable="Cinder of the cloud 'mine' does not answer")
    server = start(cinder, Settings("demo"), tmp_path / "csi.sock")
    with grpc.insecure_channel(f"unix:{tmp_path / 'csi.sock'}") as channel:
        identity = csi_pb2_grpc.IdentityStub(channel)
        assert identity.GetPluginInfo(csi.GetPluginInfoRequest(), timeout=5).name == "cinder.csi.openstack.org"
        assert identity.Probe(csi.ProbeRequest(), timeout=5).ready.value is False
        cinder.unreachable = ""
        assert identity.Probe(csi.ProbeRequest(), timeout=5).ready.value is True
        assert csi_pb2_grpc.ControllerStub(channel).ListVolumes(csi.ListVolumesRequest(), timeout=5).next_token == ""
    server.stop(0).wait(5)


def test_ready_stays_ready_without_calls():
    calls = []

    def read():
        calls.append(1)
        if len(calls) == 1:
            raise CloudUnreachable("unreachable")

    ready = Ready(read)
    assert [ready(), ready(), ready()] == [False, True, True]
    assert len(calls) == 2


@pytest.mark.parametrize("missing", ["--socket", "--clouds", "--cluster"])
def test_missing_required_option_is_reported(tmp_path, missing):
    clouds = tmp_path / "clouds.yaml"
    clouds.touch()
    options = {"--socket": "csi.sock", "--clouds": str(clouds), "--cluster": "demo"}
    del options[missing]
    arguments = [argument for pair in options.items() for argument in pair]
    adapters = Adapters(lambda *_: pytest.fail("connected"), lambda _: pytest.fail("logged"))
    result = CliRunner().invoke(command, arguments, obj=adapters)
    assert (result.exit_code, missing in result.output) == (2, True)


def test_serves_with_unreachable_cloud_and_stops_on_sigterm(tmp_path):
    clouds, socket = tmp_path / "clouds.yaml", tmp_path / "run" / "csi.sock"
    clouds.write_text(CLOUDS)
    program = Path(sys.executable).with_name("moorage-csi-controller")
    arguments = [str(program), "--socket", str(socket), "--clouds", str(clouds), "--cluster", "demo"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            until(socket.exists, seconds=30)
            with grpc.insecure_channel(f"unix:{socket}") as channel, pytest.raises(grpc.RpcError) as caught:
                csi_pb2_grpc.ControllerStub(channel).ListVolumes(csi.ListVolumesRequest(), timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert (
                "of the cloud 'moorage' does not answer at http://127.0.0.1:9: connection refused"
                in caught.value.details()
            )
        finally:
            process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=20)[1]
        assert process.returncode == 0, output
        assert '"message": "ListVolumes: UNAVAILABLE: ' in output
