"""What of a first API server's store goes into every cluster."""

from __future__ import annotations

import pytest

from moorage.image.seed import uncommon

pytestmark = pytest.mark.unit


def test_what_tells_one_cluster_from_another_is_taken_out() -> None:
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
