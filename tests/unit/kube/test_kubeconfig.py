"""A kubeconfig file keeps what others put there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from moorage.kube import kubeconfig
from moorage.kube.kubeconfig import KubeAccess
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit

ACCESS = KubeAccess("https://172.24.4.20:6443", "CA", "CERTIFICATE", "KEY")
THEIRS = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "clusters": [{"name": "work", "cluster": {"server": "https://work"}}],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
}


def test_merge_keeps_other_entries_and_sets_context():
    merged = kubeconfig.merge(THEIRS, "demo", ACCESS)
    assert merged["preferences"] == {"colors": True}
    assert [entry["name"] for entry in merged["clusters"]] == ["work", "moorage-demo"]
    assert merged["current-context"] == "moorage-demo"
    assert kubeconfig.remove(merged, "demo") == {**THEIRS, "current-context": ""}


def test_merge_again_replaces():
    twice = kubeconfig.merge(kubeconfig.merge({}, "demo", ACCESS), "demo", KubeAccess("https://new", "", "", ""))
    assert [entry["cluster"]["server"] for entry in twice["clusters"]] == ["https://new"]


def test_remove_keeps_other_current_context():
    both = kubeconfig.merge(kubeconfig.merge(THEIRS, "one", ACCESS), "two", ACCESS)
    assert kubeconfig.remove(both, "one")["current-context"] == "moorage-two"


def test_written_file_is_private_and_complete(tmp_path):
    path = tmp_path / "new" / "config"
    kubeconfig.write(path, kubeconfig.with_only("demo", ACCESS))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(path.read_text())["users"][0]["user"]["client-key-data"] == "S0VZ"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["- a list", "{broken", "just words"])
def test_invalid_kubeconfig_is_not_changed(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(BadInput):
        kubeconfig.read(path)
    assert path.read_text() == text


def test_default_path_is_kubectls():
    assert kubeconfig.default_path({"KUBECONFIG": "/a:/b", "HOME": "/h"}) == Path("/a")
    assert kubeconfig.default_path({"HOME": "/h"}) == Path("/h/.kube/config")
