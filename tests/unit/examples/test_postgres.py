"""The example's manifests match each other and the documents."""

from pathlib import Path

import pytest
import yaml

from moorage.catalog import database
from moorage.image import debian_container

pytestmark = pytest.mark.unit

SCRIPT = (database.FOLDER / "root/usr/local/bin/run-postgres").read_text()


def documents(name):
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(path(name).read_text())}


def path(name):
    return database.FOLDER / f"{name}.yaml"


FIRST, SNAPSHOT, RESTORED = documents("postgres"), documents("snapshot"), documents("restore")
SET = FIRST["StatefulSet", "postgres"]["spec"]
PODS = {"first": SET["template"], "restored": RESTORED["Pod", "postgres-restored"]}


def test_service_matches_command_line():
    service = FIRST["Service", database.NAME]["spec"]
    assert service["type"] == "LoadBalancer"
    assert [port["port"] for port in service["ports"]] == [database.PORT]
    labels = SET["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert SET["selector"]["matchLabels"].items() <= labels.items()


def test_headless_service_names_pods():
    assert FIRST["Service", SET["serviceName"]]["spec"]["clusterIP"] == "None"


def test_repository_has_no_password():
    assert not any(kind == "Secret" for kind, _ in (*FIRST, *SNAPSHOT, *RESTORED))


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
class TestPod:
    def test_pod_runs_the_built_image(self, pod):
        (container,) = pod["spec"]["containers"]
        recipe = debian_container.read(database.FOLDER)
        assert container["image"] == recipe.name
        user, group = map(int, recipe.user.split(":"))
        context = pod["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)

    def test_pod_meets_restricted_standard(self, pod):
        (container,) = pod["spec"]["containers"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["spec"]["automountServiceAccountToken"] is False

    def test_mounts_match_script(self, pod):
        (container,) = pod["spec"]["containers"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert f"POSTGRES_VOLUME:-{mounted['data']}}}" in SCRIPT
        assert f"POSTGRES_PASSWORD_FILE:-{mounted['password']}/password}}" in SCRIPT
        assert f"POSTGRES_SOCKETS:-{mounted['sockets']}}}" in SCRIPT
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]} | {"data"}
        assert set(mounted) == volumes
        (secret,) = [volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume]
        assert secret["secretName"] == database.NAME


def test_pod_of_unreachable_node_is_evicted_soon():
    seconds = {one["key"]: one["tolerationSeconds"] for one in SET["template"]["spec"]["tolerations"]}
    assert seconds == {"node.kubernetes.io/not-ready": 10, "node.kubernetes.io/unreachable": 10}


def test_claim_uses_default_class():
    (claim,) = SET["volumeClaimTemplates"]
    assert "storageClassName" not in claim["spec"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_snapshot_and_restored_claim_have_sources():
    (claim,) = SET["volumeClaimTemplates"]
    (snapshot,) = SNAPSHOT.values()
    assert snapshot["spec"]["source"]["persistentVolumeClaimName"] == f"{claim['metadata']['name']}-postgres-0"
    restored = RESTORED["PersistentVolumeClaim", "postgres-restored"]["spec"]
    assert restored["dataSource"]["name"] == snapshot["metadata"]["name"]
    assert restored["resources"] == claim["spec"]["resources"]
    volumes = RESTORED["Pod", "postgres-restored"]["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "postgres-restored"}} in volumes


def test_configuration_is_durable():
    text = (database.FOLDER / "root/etc/postgresql/postgresql.conf").read_text()
    settings = dict(line.split("#")[0].split(" = ") for line in text.splitlines() if " = " in line.split("#")[0])
    settings = {key: value.strip() for key, value in settings.items()}
    assert [settings[key] for key in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
    assert settings["jit"] == "off"
    hba = Path(database.FOLDER / "root" / settings["hba_file"].strip("'/"))
    rules = [line.split() for line in hba.read_text().splitlines() if line and not line.startswith("#")]
    assert rules == [["local", "all", "all", "peer"], ["host", "all", "all", "all", "scram-sha-256"]]
