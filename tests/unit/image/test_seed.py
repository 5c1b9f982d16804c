"""The part of a first API server's store that every cluster gets."""

from __future__ import annotations

import pytest

from moorage.image.seed import uncommon

pytestmark = pytest.mark.unit


def test_seed_removes_what_differs_between_clusters() -> None:
    keys = [
        "/registry/clusterroles/admin",
        "/registry/clusterrolebindings/system:node",
        "/registry/roles/kube-system/system::leader-locking-kube-scheduler",
        "/registry/priorityclasses/system-node-critical",
        "/registry/flowschemas/exempt",
        "/registry/namespaces/kube-system",
        "/registry/leases/kube-system/apiserver-abc",
        "/registry/services/specs/default/kubernetes",
        "/registry/ranges/serviceips",
        "compact_rev_key",
        "",
    ]
    assert uncommon(keys) == [
        "/registry/namespaces/kube-system",
        "/registry/leases/kube-system/apiserver-abc",
        "/registry/services/specs/default/kubernetes",
        "/registry/ranges/serviceips",
        "compact_rev_key",
    ]
