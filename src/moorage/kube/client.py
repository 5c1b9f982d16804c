"""The real Kubernetes API for the command line, by lightkube."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from moorage.kube.port import KubeAccess, KubeNode
from moorage.model import join_token
from moorage.model.credential import SECRET, STATE
from moorage.model.errors import CloudUnreachable
from moorage.model.nodes import UNINITIALIZED

if TYPE_CHECKING:
    from lightkube import Client

T = TypeVar("T")
TIMEOUT = 10.0  # seconds for one response
CONNECT_TIMEOUT = 2.0  # seconds to connect: the API's floating IP may be associated a moment after the server boots


class KubeClient:
    """The port `Kube`; connects at the first call. Use it as a context manager, or call `close()`."""

    def __init__(self, access: KubeAccess) -> None:
        self.access = access
        self._client: Client | None = None

    def nodes(self) -> list[KubeNode]:
        from lightkube.resources.core_v1 import Node

        nodes = self._call(lambda client: list(client.list(Node)))
        return sorted((_node(node) for node in nodes or ()), key=lambda node: node.name)

    def available(self, namespace: str, deployment: str) -> bool:
        from lightkube.resources.apps_v1 import Deployment

        read = self._call(lambda client: client.get(Deployment, deployment, namespace=namespace))
        return bool(read and read.status and read.status.availableReplicas)

    def problem(self) -> str:
        from lightkube.resources.core_v1 import ConfigMap

        namespace, _, name = STATE.partition("/")
        state = self._call(lambda client: client.get(ConfigMap, name, namespace=namespace))
        return (state.data or {}).get("problem", "") if state else ""

    def update_credential(self, clouds: str) -> None:
        namespace, _, name = SECRET.partition("/")
        self._apply_secret({"metadata": {"namespace": namespace, "name": name}, "stringData": {"clouds.yaml": clouds}})

    def create_join_token(self, token: str) -> None:
        self._apply_secret(join_token.secret(token, datetime.now(UTC)))

    def remove_node(self, name: str) -> None:
        from lightkube.resources.core_v1 import Node

        self._call(lambda client: client.delete(Node, name))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> KubeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _apply_secret(self, secret: Mapping[str, Any]) -> None:
        """Create or replace a Secret."""
        from lightkube.models.meta_v1 import ObjectMeta
        from lightkube.resources.core_v1 import Secret

        metadata, kind = ObjectMeta(**secret["metadata"]), secret.get("type")
        secret_object = Secret(metadata=metadata, type=kind, stringData=secret["stringData"])
        self._call(lambda client: client.apply(secret_object, field_manager="moorage", force=True))

    def _call(self, call: Callable[[Client], T]) -> T | None:
        """The response, None when the object does not exist."""
        import httpx2
        from lightkube import ApiError

        try:
            if self._client is None:
                self._client = _connect(self.access)
            return call(self._client)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise CloudUnreachable(f"the Kubernetes API at {self.access.url} refused: {error}") from error
        except httpx2.HTTPError as error:
            self.close()
            raise CloudUnreachable(f"the Kubernetes API does not answer at {self.access.url}: {error}") from error


def _connect(access: KubeAccess) -> Client:
    import httpx2
    from lightkube import Client, KubeConfig

    config = KubeConfig.from_dict(
        {
            "current-context": "cluster",
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "client"}}],
            "clusters": [
                {"name": "cluster", "cluster": {"server": access.url, "certificate-authority-data": _base64(access.ca)}}
            ],
            "users": [
                {
                    "name": "client",
                    "user": {
                        "client-certificate-data": _base64(access.certificate),
                        "client-key-data": _base64(access.key),
                    },
                }
            ],
        }
    )
    return Client(config=config, timeout=httpx2.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT), trust_env=False)


def _base64(pem: str) -> str:
    return b64encode(pem.encode()).decode()


def _node(node: Any) -> KubeNode:
    condition = next((c for c in node.status.conditions or () if c.type == "Ready"), None)
    reason = _reason(condition)
    if not reason and _uninitialized(node):
        reason = "moorage-controller has not initialized it yet"
    ready = not reason
    version = node.status.nodeInfo.kubeletVersion if node.status.nodeInfo else ""
    return KubeNode(node.metadata.name, ready, version, reason)


def _reason(condition: Any) -> str:
    """Why a node with this Ready condition is not ready; "" when it is."""
    if condition is None:
        return "its kubelet has not reported yet"
    return "" if condition.status == "True" else condition.message or condition.reason or "its kubelet gave no reason"


def _uninitialized(node: Any) -> bool:
    taints = (node.spec.taints if node.spec else None) or ()
    return any(taint.key == UNINITIALIZED for taint in taints)
