"""Commands and their output, on a cloud in memory."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from click.testing import CliRunner

from clustering import NODES, Joined
from moorage.cli.context import Context
from moorage.cli.main import cli
from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.port.volumes import NewVolume
from moorage.config import Paths
from moorage.model.errors import BadInput, Conflict, Failed, MoorageError, NotFound
from moorage.model.ownership import CLUSTER_MARK, RECLAIM_MARK

pytestmark = pytest.mark.unit


class Shell:
    """Runs `moorage` in this process; raises what bootstrap would print."""

    def __init__(self, folder):
        self.cloud = MemoryCloud()
        self.kube = Joined()
        self.kube.cloud = self.cloud
        self.config = folder / "kubeconfig"
        self.context = Context(
            Paths(folder / "c", folder / "s", folder / "r", folder / "d"), lambda _: self.cloud, self.kube.connect
        )

    def __call__(self, line, **words):
        environment = {"KUBECONFIG": str(self.config), "OS_CLOUD": ""}
        done = CliRunner().invoke(cli, line.split(), obj=self.context, env=environment, **words)
        if isinstance(done.exception, MoorageError):
            raise done.exception
        return done


@pytest.fixture
def moorage(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return Shell(tmp_path)


def test_create_shows_progress_and_cluster(moorage):
    done = moorage("cluster create demo --workers 2 -o json")
    made = json.loads(done.stdout)
    assert (made["name"], made["status"]) == ("demo", "ready")
    assert [node["name"] for node in made["nodes"]] == NODES
    assert [step["text"] for step in made["progress"]][-1] == "cluster demo is ready"
    assert "checking names" in done.stderr


def test_create_options_become_parameters(moorage):
    moorage(
        "cluster create demo --flannel-backend host-gw --node-port-cidr 192.0.2.0/24 --dns-nameserver 192.0.2.53 "
        "--dns-nameserver 192.0.2.54 --registry-mirror docker.io=http://mirror:5000 --no-wait"
    )
    there = moorage.cloud.stacks.get("demo").parameters
    assert there["flannel_backend"] == "host-gw"
    assert there["node_port_cidr"] == "192.0.2.0/24"
    assert there["dns_nameservers"] == "192.0.2.53,192.0.2.54"
    assert json.loads(there["registry_mirrors"]) == {"docker.io": "http://mirror:5000"}


def test_create_with_invalid_mirror_is_rejected(moorage):
    done = moorage("cluster create demo --registry-mirror docker.io")
    assert done.exit_code == 2
    assert "HOST=URL" in done.stderr


FILE = """
name: demo
groups:
- {name: workers, count: 2}
- {name: gpu, count: 1, taints: ["gpu:NoSchedule"]}
"""


def test_create_from_file_and_show_gives_it_back(moorage, tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text(FILE)
    moorage(f"cluster create -f {file}")
    shown = moorage("cluster show demo -o yaml").stdout
    groups = yaml.safe_load(shown)["spec"]["groups"]
    assert [(group["name"], group["count"], group.get("taints")) for group in groups] == [
        ("gpu", 1, ["gpu:NoSchedule"]),
        ("workers", 2, None),
    ]
    file.write_text(shown)
    assert "cluster demo is ready" in moorage(f"cluster create -f {file}").stderr


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        ("cluster create", "Give the cluster a name"),
        ("cluster create demo -f {file}", "leave out name"),
        ("cluster create --workers 2 --flavor m1.node -f {file}", "leave out workers, flavor"),
    ],
)
def test_create_with_file_and_options_is_rejected(moorage, tmp_path, words, reported):
    (tmp_path / "cluster.yaml").write_text(FILE)
    done = moorage(words.format(file=tmp_path / "cluster.yaml"))
    assert (done.exit_code, moorage.cloud.stacks.records) == (2, {})
    assert reported in done.stderr


def test_create_with_missing_file_is_rejected(moorage, tmp_path):
    with pytest.raises(BadInput, match=r"cannot read .*nothing\.yaml"):
        moorage(f"cluster create -f {tmp_path}/nothing.yaml")


def test_nodegroup_commands(moorage):
    moorage("cluster create demo")
    made = moorage("nodegroup create demo gpu --count 2 --label a=b --label c= --taint gpu=yes:NoSchedule -o json")
    shown = json.loads(made.stdout)
    assert (shown["count"], shown["labels"], shown["taints"]) == (2, {"a": "b", "c": ""}, ["gpu=yes:NoSchedule"])
    assert shown["nodes"] == ["demo-gpu-1-0", "demo-gpu-1-1"]
    assert "node group gpu is ready" in made.stderr
    header, gpu, workers = moorage("nodegroup list demo").stdout.splitlines()
    assert header.split() == ["NAME", "COUNT", "READY", "FLAVOR", "LABELS", "TAINTS", "ZONES"]
    assert gpu.split() == ["gpu", "2", "2", "m1.node", "a=b,c=", "gpu=yes:NoSchedule"]
    assert workers.split() == ["workers", "2", "2", "m1.node"]
    assert ["count", "1"] in [
        line.split() for line in moorage("nodegroup resize demo gpu --count 1").stdout.splitlines()
    ]
    assert moorage("nodegroup delete demo gpu", input="n\n").exit_code == 1
    moorage("nodegroup delete demo gpu --yes")
    with pytest.raises(NotFound, match="no node group 'gpu'"):
        moorage("nodegroup show demo gpu")


def test_nodegroup_upgrade_and_rollback_commands(moorage):
    moorage("cluster create demo")
    assert "Give at least one of" in moorage("nodegroup upgrade demo workers").stderr
    done = moorage("nodegroup upgrade demo workers --label a=b --taint k:NoSchedule --max-unavailable 1 -o json")
    shown = json.loads(done.stdout)
    assert (shown["labels"], shown["taints"], shown["max_unavailable"]) == ({"a": "b"}, ["k:NoSchedule"], 1)
    assert shown["nodes"] == ["demo-workers-2-0", "demo-workers-2-1"]
    assert "upgrading node group workers: 0 of 2 nodes of demo-workers-2 Ready; waiting for" in done.stderr
    assert json.loads(moorage("nodegroup upgrade demo workers --no-labels --no-taints -o json").stdout)["labels"] == {}
    with pytest.raises(Conflict, match="no former revision"):
        moorage("nodegroup rollback demo workers")


@pytest.mark.parametrize("words", ["--label a", "--label =b", "--taint gpu", "--taint :NoSchedule"])
def test_nodegroup_create_with_invalid_words_is_rejected(moorage, words):
    done = moorage(f"nodegroup create demo gpu {words}")
    assert done.exit_code == 2
    assert words.split()[0] in done.stderr


def test_resize_repair_and_node_delete_commands(moorage):
    moorage("cluster create demo")
    assert "demo-workers-1-2  10.0.0.13  Ready" in moorage("cluster resize demo --workers 3").stdout
    moorage("node delete demo demo-workers-1-0 --yes")
    assert "demo-workers-1-0" not in moorage("node list demo").stdout
    assert "status" in moorage("cluster repair demo").stdout
    moorage("node replace demo demo-workers-1-1 --yes")
    assert "demo-workers-1-3" in moorage("node list demo").stdout
    assert moorage("node drain demo demo-workers-1-2", input="n\n").exit_code == 1
    moorage("node drain demo demo-workers-1-2 --yes")


def test_list_and_show_and_nodes(moorage):
    moorage("cluster create demo")
    assert moorage("cluster list").stdout.split()[:3] == ["NAME", "STATUS", "NODES"]
    assert json.loads(moorage("cluster list -o json").stdout)[0]["status"] == "ready"
    shown = moorage("cluster show demo").stdout
    assert "demo-workers-1-1  10.0.0.12  Ready" in shown
    assert "https://172.24.4.20:6443" in shown
    nodes = yaml.safe_load(moorage("node list demo -o yaml").stdout)
    assert [node["ready"] for node in nodes] == [True, True, True]
    moorage.kube.fail_node(NODES[2], "disk pressure")
    assert "degraded" in moorage("cluster show demo").stdout
    assert "disk pressure" in moorage("node list demo").stdout


def test_events_have_what_was_requested_and_what_failed(moorage):
    moorage("cluster create demo")
    moorage.cloud.stacks.failing |= {f"nodes/{index}/ready": "no GPU" for index in range(2)}
    with pytest.raises(Failed):
        moorage("nodegroup create demo gpu --count 1")
    rows = json.loads(moorage("cluster events demo -o json").stdout)
    assert [row["message"] for row in rows if row["reason"] == "Requested"] == [
        "create the cluster",
        "create node group gpu",
    ]
    assert (rows[-1]["type"], rows[-1]["reason"], rows[-1]["object"]) == ("Warning", "Failed", "demo")
    table = moorage("cluster events demo --warnings --limit 1").stdout.splitlines()
    assert table[0].split() == ["TIME", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert "no GPU" in table[1]
    assert len(table) == 2


def test_kubeconfig_is_merged_or_printed_and_removed_with_the_cluster(moorage):
    moorage("cluster create demo")
    printed = yaml.safe_load(moorage("cluster kubeconfig demo --print").stdout)
    assert not moorage.config.exists()
    moorage.config.write_text(yaml.safe_dump({"contexts": [{"name": "theirs", "context": {}}]}))
    moorage("cluster kubeconfig demo")
    merged = yaml.safe_load(moorage.config.read_text())
    assert merged["users"] == printed["users"]
    assert [context["name"] for context in merged["contexts"]] == ["theirs", "moorage-demo"]
    moorage("cluster delete demo --yes")
    assert [context["name"] for context in yaml.safe_load(moorage.config.read_text())["contexts"]] == ["theirs"]


def test_delete_asks_for_confirmation(moorage):
    moorage("cluster create demo")
    assert moorage("cluster delete demo", input="n\n").exit_code == 1
    assert "demo" in moorage.cloud.stacks.records
    assert moorage("cluster delete demo", input="y\n").exit_code == 0
    assert not moorage.cloud.stacks.records


def store(cloud, name, **marks):
    claim = {"csi.storage.k8s.io/pvc/namespace": "shop", "csi.storage.k8s.io/pvc/name": name}
    cloud.volumes.create(NewVolume(f"pvc-{name}", 3, metadata={CLUSTER_MARK: "demo", **claim, **marks}))


def test_delete_previews_and_lists_kept_resources(moorage):
    moorage("cluster create demo")
    store(moorage.cloud, "data")
    store(moorage.cloud, "precious", **{RECLAIM_MARK: "Retain"})
    asked = moorage("cluster delete demo", input="n\n")
    assert "also deleted: volume pvc-data (3 GiB, of shop/data)\n" in asked.stderr
    assert "kept: volume pvc-precious (3 GiB, of shop/precious): its policy is Retain\n" in asked.stderr
    done = moorage("cluster delete demo --yes")
    header, row = done.stdout.splitlines()
    assert header.split() == ["KIND", "NAME", "SIZE", "CLAIM", "ID", "WHY"]
    assert row.split()[:4] == ["volume", "pvc-precious", "3", "shop/precious"]
    assert "deleting volume pvc-data" in done.stderr


def test_delete_with_keep_volumes(moorage):
    moorage("cluster create demo")
    store(moorage.cloud, "data")
    message = json.loads(moorage("cluster delete demo --yes --keep-volumes -o json").stdout)
    assert [(kept["kind"], kept["name"], kept["size"]) for kept in message["kept"]] == [("volume", "pvc-data", 3)]
    assert message["status"] == "deleted"
    assert [volume.name for volume in moorage.cloud.volumes.list()] == ["pvc-data"]


def test_delete_without_owned_resources_prints_nothing(moorage):
    moorage("cluster create demo")
    assert moorage("cluster delete demo --yes").stdout == ""


@pytest.mark.parametrize("words", ["show", "kubeconfig", "delete", "delete --yes"])
def test_missing_cluster_is_not_found(moorage, words):
    with pytest.raises(NotFound, match="missing"):
        moorage(f"cluster {words} missing")


def test_kubeconfig_of_cluster_in_creation_conflicts(moorage):
    moorage.cloud.stacks.polls = 9
    moorage("cluster create demo --no-wait")
    with pytest.raises(Conflict, match="no certificates yet"):
        moorage("cluster kubeconfig demo")
