"""The order of a boot, the reports of its failures, and what a second boot does not repeat."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from moorage.model.boot import RECORD, BootRecord, Slot
from moorage.model.errors import BadInput, NotFound, TimedOut
from moorage.node import blessing, control_plane, signalling, steps, userdata, worker
from moorage.node.boot import boot, run, trial_time
from moorage.node.configuration import Resources
from moorage.node.layout import Layout
from moorage.node.machine import clear_groups, clock_is_set, cpu_quota, memory_limit, memory_shown
from moorage.node.node import Node, Step
from moorage.node.signalling import Report
from moorage.node.source import Server
from moorage.node.userdata import Signal, parse
from moorage.node.waiting import Clock, Deadline, NotYet
from serving import serving
from tls import with_tls

pytestmark = pytest.mark.unit

LINK = {"id": "port", "type": "ovs", "ethernet_mac_address": "fa:16:3e:00:00:01"}
STATIC = {"networks": [{"type": "ipv4", "link": "port", "ip_address": "10.0.0.11", "netmask": "255.255.255.0"}]}


@dataclass
class PaperClock:
    """A clock that advances only by `sleep`."""

    at: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.at, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@dataclass
class PaperMachine:
    """A machine in memory, with given answers."""

    started: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    address: str | None = "10.0.0.11"
    hostname: str = ""
    clock_set_at: float = 0.0
    clock: PaperClock = field(default_factory=PaperClock)

    def clock_is_set(self) -> bool:
        return self.clock.at >= self.clock_set_at

    def restart(self, unit: str) -> None:
        self.started.append(f"{unit} again")

    def reboot(self) -> None:
        self.started.append("reboot")

    def start(self, *units: str) -> None:
        self.started += units

    def failing(self, units: Sequence[str]) -> list[str]:
        return [unit for unit in units if unit in self.broken]

    def clear_pod_groups(self) -> None:
        self.started.append("clearing")

    def since(self, unit: str) -> float:
        return 0.0

    def last_log_line(self, unit: str) -> str:
        return self.broken.get(unit, "")

    def own_address(self, towards: str) -> str | None:
        return self.address

    def has_address(self, address: str) -> bool:
        return self.address == address

    def resources(self) -> Resources:
        return Resources(2048, 2048, 2000, 2000)

    def set_hostname(self, name: str) -> None:
        self.hostname = name


class Heat(http.server.ThreadingHTTPServer):
    """Takes signals; answers with `statuses` first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reported: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.signal = Signal(f"http://127.0.0.1:{self.server_port}/signal", "token")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Heat

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.reported.append(body)
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def heat() -> Iterator[Heat]:
    with serving(Heat()) as server:
        yield server


def user_data(signal: Signal, **changed: Any) -> str:
    cluster = {
        "name": "demo",
        "api_address": "127.0.0.1",
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/16",
        "node_cidr": "10.0.0.0/24",
        "bootstrap_token": "abcdef.0123456789abcdef",
    }
    whole = {
        "role": "worker",
        "cluster": cluster | changed,
        "node": {"group": "workers", "ready_timeout": 2},
        "signal": {"endpoint": signal.endpoint, "token": signal.token},
    }
    return f"#moorage-node/v1\n{json.dumps(whole)}"


def drive(layout: Layout, text: str) -> None:
    folder = layout.config_drive / "openstack/latest"
    folder.mkdir(parents=True)
    (folder / "user_data").write_text(text)
    (folder / "meta_data.json").write_text(json.dumps({"name": "Demo-Worker-0", "hostname": "x.novalocal"}))


def node(tmp_path: Path, machine: PaperMachine, paper: PaperClock, seconds: float = 10) -> Node:
    data = parse(user_data(Signal("http://h/s", "t")))
    deadline = Deadline.after(seconds, paper.clock)
    return Node("demo-worker-0", data, Layout(tmp_path), machine, deadline, lambda line: None)


def test_failure_names_step_and_units(tmp_path: Path) -> None:
    machine = PaperMachine(broken={"kubelet": "no such cgroup"})
    step = Step("waiting for this node to be Ready", _never, ("containerd", "kubelet"))
    with pytest.raises(TimedOut) as failed:
        run([step], node(tmp_path, machine, PaperClock()))
    assert failed.value.message == (
        "waiting for this node to be Ready: this node is not Ready; kubelet is not running: no such cgroup"
    )


def _never(node: Node) -> None:
    def attempt() -> None:
        raise NotYet("this node is not Ready")

    node.deadline.until(attempt)


def test_until_times_out_with_reason_and_polls_less_often() -> None:
    paper, tries = PaperClock(), []

    def attempt() -> None:
        tries.append(paper.at)
        raise NotYet(f"try {len(tries)}")

    with pytest.raises(TimedOut, match="try "):
        Deadline.after(600, paper.clock).until(attempt)
    assert 600 <= paper.at < 602
    assert len(tries) < 900


def test_bad_user_data_is_signaled_and_reported(tmp_path: Path, heat: Heat) -> None:
    layout, reported = Layout(tmp_path), []
    drive(layout, user_data(heat.signal, pod_cidr="nonsense"))
    with pytest.raises(BadInput, match=r"cluster\.pod_cidr is 'nonsense'"):
        boot(layout, PaperMachine(), PaperClock().clock, reported.append)
    assert [one["status"] for one in heat.reported] == ["FAILURE"]
    assert heat.reported[0]["id"] == "demo-worker-0"
    assert "cluster.pod_cidr" in heat.reported[0]["reason"]


def test_unreachable_api_is_signaled_once(tmp_path: Path, heat: Heat) -> None:
    layout, machine = Layout(tmp_path), PaperMachine()
    drive(layout, user_data(heat.signal))
    for _ in range(2):
        with pytest.raises(TimedOut, match="finding the cluster: the API server cannot be reached"):
            boot(layout, machine, PaperClock().clock, lambda line: None)
    assert len(heat.reported) == 1
    assert machine.hostname == "demo-worker-0"
    assert machine.started == []


@dataclass
class PaperApi:
    """An API server that returns the given states of any object in turn, and then the last one."""

    message: list[Any]
    closed: bool = False

    def find(self, path: str) -> Any:
        assert path == "/api/v1/nodes/demo-worker-0"
        return self.message.pop(0) if len(self.message) > 1 else self.message[0]

    def close(self) -> None:
        self.closed = True


MINE = Server("mine")


def of(server: str) -> dict[str, Any]:
    return {"spec": {"providerID": server}}


@pytest.mark.parametrize(
    "message",
    [
        [None],
        [of("openstack:///mine")],
        [of("openstack://Region/mine")],
        [{"spec": {}}],
        [of("openstack:///old"), None],
    ],
    ids=["none", "its own", "its own, regional", "new", "a former one's, deleted"],
)
def test_worker_waits_for_deletion_of_old_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: list[Any]
) -> None:
    api = PaperApi(message)
    monkeypatch.setattr(Node, "api", lambda node: api)
    worker.wait_for_name(of_cloud(tmp_path, PaperClock()))
    assert len(api.message) == 1, "it did not wait for the former node to go"
    assert api.closed


def test_old_node_that_remains_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Node, "api", lambda node: PaperApi([of("openstack:///old")]))
    with pytest.raises(TimedOut, match="the Node of a former server of this name: openstack:///old"):
        worker.wait_for_name(of_cloud(tmp_path, PaperClock()))


@pytest.mark.parametrize(("joined", "server"), [("external", Server()), ("", MINE)])
def test_worker_without_server_id_or_controller_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: str, server: Server
) -> None:
    monkeypatch.setattr(Node, "api", lambda node: PaperApi([of("openstack:///old")]))
    worker.wait_for_name(of_cloud(tmp_path, PaperClock(), joined, server))


def of_cloud(tmp_path: Path, paper: PaperClock, joined: str = "external", server: Server = MINE) -> Node:
    """A worker of a cluster that is joined to its cloud."""
    made = node(tmp_path, PaperMachine(), paper)
    return replace(made, data=parse(user_data(made.data.signal, cloud_provider=joined)), server=server)


def test_static_network_is_configured_before_the_cluster_is_searched(tmp_path: Path, heat: Heat) -> None:
    layout, machine, reported = Layout(tmp_path), PaperMachine(), []
    drive(layout, user_data(heat.signal))
    folder = layout.config_drive / "openstack/latest"
    (folder / "network_data.json").write_text(
        json.dumps({"links": [LINK], "networks": [*STATIC["networks"], {"id": "n", "type": "ipv9"}]})
    )
    for _ in range(2):
        with pytest.raises(TimedOut):
            boot(layout, machine, PaperClock().clock, reported.append)
    assert machine.started == ["systemd-networkd again"]
    assert "Address=10.0.0.11/24" in (layout.networks / "08-port-0.network").read_text()
    assert reported[0] == "network n: ipv9 is not supported"


def test_damaged_network_data_is_reported_and_dhcp_is_used(tmp_path: Path, heat: Heat) -> None:
    layout, machine, reported = Layout(tmp_path), PaperMachine(), []
    drive(layout, user_data(heat.signal))
    (layout.config_drive / "openstack/latest/network_data.json").write_text('{"links": [{}, {}]}')
    with pytest.raises(TimedOut):
        boot(layout, machine, PaperClock().clock, reported.append)
    assert reported[0].startswith("the network is configured by DHCP only: the cloud's network data")
    assert machine.started == []


def test_wrong_clock_is_waited_for_and_then_the_reason(tmp_path: Path) -> None:
    paper = PaperClock()
    machine = PaperMachine(clock=paper, clock_set_at=5)
    steps.wait_for_clock(node(tmp_path, machine, paper))
    assert 5 <= paper.at < 6
    with pytest.raises(TimedOut, match="waiting for the clock: the server's clock is wrong, and no time server"):
        run(worker.steps()[1:2], node(tmp_path, PaperMachine(clock=paper, clock_set_at=99), paper))


def test_clock_of_the_hardware_or_a_time_server_is_believed(tmp_path: Path) -> None:
    assert clock_is_set(tmp_path), "no clock is shown: the hypervisor's time"
    rtc, synchronized = tmp_path / "sys/class/rtc/rtc0/since_epoch", tmp_path / "run/systemd/timesync/synchronized"
    for path in (rtc, synchronized):
        path.parent.mkdir(parents=True)
    rtc.write_text("1798761600\n")
    assert clock_is_set(tmp_path)
    rtc.write_text("120\n")
    assert not clock_is_set(tmp_path)
    synchronized.touch()
    assert clock_is_set(tmp_path)


def test_missing_network_is_the_reason(tmp_path: Path, heat: Heat) -> None:
    layout = Layout(tmp_path)
    drive(layout, user_data(heat.signal))
    with pytest.raises(TimedOut, match="the network has not assigned an address to this node"):
        boot(layout, PaperMachine(address=None), PaperClock().clock, lambda line: None)


def test_new_image_that_does_not_get_ready_is_replaced_by_the_former_one(tmp_path: Path, heat: Heat) -> None:
    layout, machine, reported, paper = Layout(tmp_path), PaperMachine(), [], PaperClock()
    drive(layout, user_data(heat.signal))
    for path in (layout.boot / RECORD, layout.boot_slot):
        path.parent.mkdir(parents=True)
    layout.boot_slot.write_text("b\n")
    (layout.boot / RECORD).write_bytes(BootRecord((Slot("b", "2", 2), Slot("a", "1"))).content())
    with pytest.raises(TimedOut, match="the API server cannot be reached"):
        boot(layout, machine, paper.clock, reported.append)
    assert machine.started == ["reboot"]
    assert BootRecord.parse((layout.boot / RECORD).read_bytes()).next == Slot("a", "1")
    assert reported[-1] == "the new image in slot b (2) did not get Ready; rebooting into the other one"
    assert heat.reported == []


@pytest.mark.parametrize(("last", "seconds"), [(None, 300), ("damaged", 300), ("4.1", 41), ("0.5", 30), ("90.0", 300)])
def test_new_image_has_ten_times_the_last_healthy_boot(tmp_path: Path, last: str | None, seconds: float) -> None:
    layout = Layout(tmp_path)
    if last is not None:
        layout.state.mkdir(parents=True)
        layout.ready_seconds.write_text(last)
    assert trial_time(layout) == seconds


def test_new_image_that_does_not_find_its_user_data_is_replaced_too(tmp_path: Path) -> None:
    layout, machine = Layout(tmp_path), PaperMachine()
    for path in (layout.boot / RECORD, layout.boot_slot, layout.config_drive / "openstack/latest/x"):
        path.parent.mkdir(parents=True)
    layout.boot_slot.write_text("b\n")
    (layout.boot / RECORD).write_bytes(BootRecord((Slot("b", "2", 2), Slot("a", "1"))).content())
    with pytest.raises(NotFound):
        boot(layout, machine, PaperClock().clock, lambda line: None)
    assert machine.started == ["reboot"]


def test_boot_is_blessed_once(tmp_path: Path) -> None:
    """An image that was staged after it was not passed over."""
    layout = Layout(tmp_path)
    for path in (layout.boot / RECORD, layout.boot_slot):
        path.parent.mkdir(parents=True)
    layout.boot_slot.write_text("a\n")
    for slots in ((Slot("a", "1", 2),), (Slot("b", "2", 3), Slot("a", "1"))):
        (layout.boot / RECORD).write_bytes(BootRecord(slots).content())
        blessing.bless(layout)
    assert BootRecord.parse((layout.boot / RECORD).read_bytes()).slots == (Slot("b", "2", 3), Slot("a", "1"))


def test_only_image_of_a_server_is_not_replaced(tmp_path: Path, heat: Heat) -> None:
    layout, machine = Layout(tmp_path), PaperMachine()
    drive(layout, user_data(heat.signal))
    for path in (layout.boot / RECORD, layout.boot_slot):
        path.parent.mkdir(parents=True)
    layout.boot_slot.write_text("a\n")
    (layout.boot / RECORD).write_bytes(BootRecord((Slot("a", "1", 2),)).content())
    with pytest.raises(TimedOut):
        boot(layout, machine, PaperClock().clock, lambda line: None)
    assert machine.started == []
    assert len(heat.reported) == 1


@dataclass
class Reporting:
    """An API server that takes what a node reports."""

    taken: list[dict[str, Any]] = field(default_factory=list)

    def patch_status(self, wanted: dict[str, Any]) -> None:
        self.taken.append(wanted)

    create = patch = patch_status

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(("failed", "status"), [((), "True"), ((Slot("b", "2", 0),), "False")])
def test_node_reports_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: tuple[Slot, ...], status: str
) -> None:
    api, made = Reporting(), node(tmp_path, PaperMachine(), PaperClock())
    monkeypatch.setattr(Node, "api", lambda node: api)
    steps.report_image(made)
    assert api.taken == [], "it has no slots"
    for path in (made.layout.boot / RECORD, made.layout.boot_slot):
        path.parent.mkdir(parents=True)
    made.layout.boot_slot.write_text("a\n")
    (made.layout.boot / RECORD).write_bytes(BootRecord((*failed, Slot("a", "1"))).content())
    steps.report_image(made)
    annotations = api.taken.pop(0)["metadata"]["annotations"]
    assert annotations == {
        "moorage.io/image": "1",
        "moorage.io/failed-image": "2" if failed else None,
        "moorage.io/other-image": None,
        "moorage.io/image-format": "squashfs",
    }
    (condition,) = api.taken[0]["status"]["conditions"]
    assert condition["status"] == status
    assert condition["message"].endswith("the node runs 1 from slot a")
    assert [event["note"] for event in api.taken[1:]] == [condition["message"]] * len(failed)


def test_machine_error_is_retried_and_reported(tmp_path: Path) -> None:
    full, tries = OSError(28, "No space left on device"), []

    def act(node: Node) -> None:
        tries.append(node.deadline.clock.now())
        if len(tries) != 3:
            raise full

    run([Step("writing", act)], node(tmp_path, PaperMachine(), PaperClock()))
    assert len(tries) == 3
    with pytest.raises(TimedOut, match=r"^writing: .*No space left on device$"):
        run([Step("writing", act)], node(tmp_path, PaperMachine(), PaperClock()))


def test_unexpected_error_is_signaled(tmp_path: Path, heat: Heat) -> None:
    layout = Layout(tmp_path)
    drive(layout, user_data(heat.signal, service_cidr="10.96.0.0/30"))
    with pytest.raises(IndexError):
        boot(layout, PaperMachine(), PaperClock().clock, lambda line: None)
    assert [one["status"] for one in heat.reported] == ["FAILURE"]


def test_failure_without_signal_is_on_the_console(tmp_path: Path) -> None:
    layout, reported = Layout(tmp_path), []
    drive(layout, user_data(Signal("http://127.0.0.1:1/signal", "token")))
    with pytest.raises(TimedOut, match="the network has not assigned an address to this node"):
        boot(layout, PaperMachine(address=None), PaperClock().clock, reported.append)
    assert reported[-1].startswith("the failure could not be signaled to the stack: http://127.0.0.1:1/signal")


def test_steps_are_in_order() -> None:
    doing = [step.doing for step in control_plane.steps()]
    assert doing.index("creating the cluster's certificates") < doing.index("starting the API server")
    assert doing.index("granting access to nodes and users") < doing.index("starting the controllers")
    assert doing[-1] == "completing the boot"
    assert [step.doing for step in worker.steps()][:4] == [
        "waiting for the network",
        "waiting for the clock",
        "finding the cluster",
        "requesting a certificate",
    ]


def test_signal_is_retried_until_accepted(tmp_path: Path, heat: Heat) -> None:
    heat.statuses = [503, 500]
    deadline = Deadline.after(10, PaperClock().clock)
    report = Report("n", True, "Ready", {"ca": "PEM"})
    for _ in range(2):
        signalling.send_once(Layout(tmp_path), heat.signal, report, deadline)
    assert heat.reported == [{"status": "SUCCESS", "reason": "Ready", "id": "n", "data": {"ca": "PEM"}}]


def test_rejected_signal_has_reason(tmp_path: Path, heat: Heat) -> None:
    heat.statuses = [403] * 100
    deadline = Deadline.after(10, PaperClock().clock)
    with pytest.raises(TimedOut, match=r"the stack does not accept this node's signal: .* answered 403"):
        signalling.send_once(Layout(tmp_path), heat.signal, Report("n", True, ""), deadline)


def test_signal_to_a_cloud_with_a_private_ca_is_verified(tmp_path: Path) -> None:
    server = Heat()
    certificate = with_tls(server)
    endpoint = server.signal.endpoint.replace("http:", "https:")
    text = user_data(Signal(endpoint, "token"), cloud_ca=certificate)
    with serving(server) as heat:
        with pytest.raises(NotYet, match="CERTIFICATE_VERIFY_FAILED"):
            signalling.post(Signal(endpoint, "token"), Report("n", True, ""))
        signal = userdata.signal_of(text)
        assert signal is not None
        signalling.post(signal, Report("n", True, ""))
        assert len(heat.reported) == 1


def test_bless_removes_counter(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert blessing.bless(layout) is None
    file = layout.boot / RECORD
    for path in (file, layout.boot_slot):
        path.parent.mkdir(parents=True)
    file.write_bytes(BootRecord((Slot("b", "12-2", 2), Slot("a", "12-1", 1))).content())
    layout.boot_slot.write_text("b\n")
    for _ in range(2):
        assert blessing.bless(layout) == "b (12-2)"
        assert BootRecord.parse(file.read_bytes()).slots == (Slot("b", "12-2"), Slot("a", "12-1", 1))
    assert [path.name for path in file.parent.iterdir()] == ["grubenv"]


def test_bless_writes_a_damaged_record_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    file = layout.boot / RECORD
    for path, content in ((file, "x" * 1024), (layout.boot_slot, "a\n"), (layout.version, "12-1\n")):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert blessing.bless(layout) == "a (12-1)"
    assert BootRecord.parse(file.read_bytes()).slots == (Slot("a", "12-1"),)


def test_limits_in_both_cgroup_versions(tmp_path: Path) -> None:
    old, new = tmp_path / "v1", tmp_path / "v2"
    for folder in (old / "memory", old / "cpu", new):
        folder.mkdir(parents=True)
    (old / "memory/memory.limit_in_bytes").write_text("2147483648\n")
    (old / "cpu/cpu.cfs_quota_us").write_text("150000\n")
    (old / "cpu/cpu.cfs_period_us").write_text("100000\n")
    (new / "memory.max").write_text("max\n")
    (new / "cpu.max").write_text("max 100000\n")
    assert (memory_limit(old), cpu_quota(old)) == (2 * 2**30, 1500)
    assert (memory_limit(new) >= 2**60, cpu_quota(new)) == (True, None)
    assert memory_shown("MemTotal:        2097152 kB\nMemFree: 1 kB\n") == 2048


def test_cgroups_of_deleted_pods_are_removed(tmp_path: Path) -> None:
    for folder in ("kubepods/besteffort/pod1", "memory/kubepods/pod2", "system.slice/x"):
        (tmp_path / folder).mkdir(parents=True)
    busy = tmp_path / "memory/kubepods/pod3"
    busy.mkdir()
    (busy / "process").write_text("here")
    clear_groups(tmp_path, "kubepods")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir())
    assert left == ["memory", "memory/kubepods", "memory/kubepods/pod3", "system.slice", "system.slice/x"]
