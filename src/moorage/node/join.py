"""Join a cluster with a token: verify the CA with it, then request a certificate."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import yaml

from moorage.model.errors import Failed
from moorage.node import pki
from moorage.node.api import Api, Credential, Object
from moorage.node.objects import signature
from moorage.node.pki import Pair, Subject
from moorage.node.userdata import Cluster
from moorage.node.waiting import NotYet

CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"


def proved_ca(info: Object, cluster: Cluster) -> str:
    """The CA in a cluster-info ConfigMap, verified with the join token.

    NotYet when it has no signature of our token (yet), Failed when the signature is wrong.
    """
    data: dict[str, str] = info.get("data") or {}
    text, signed = data.get("kubeconfig", ""), data.get(f"jws-kubeconfig-{cluster.token_id}", "")
    if not signed:
        raise NotYet(
            f"cluster-info at {cluster.api_address} is not signed for join token {cluster.token_id}: "
            "the token is wrong or has expired"
        )
    header = signed.partition(".")[0]
    if not hmac.compare_digest(signed.encode(), signature(text, cluster.token_secret, header).encode()):
        raise Failed(
            f"the join token does not verify the CA of the API server at {cluster.api_address}: "
            "the token is wrong, or that is another cluster's"
        )
    return _authority(text)


def request_certificate(api: Api, node: str) -> tuple[str, Pair]:
    """Request a node's client certificate; returns the request's name, and the request with its key."""
    asked = pki.new_request(Subject(f"system:node:{node}", "system:nodes"))
    answer = api.create(certificate_request(f"{node}-", asked.certificate))
    return str(answer["metadata"]["name"]), asked


def certificate_request(name: str, request: str) -> Object:
    """The object that requests a kubelet's client certificate."""
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": name, "name": ""},
        "spec": {
            "request": base64.b64encode(request.encode()).decode(),
            "signerName": CLIENT_SIGNER,
            "usages": ["digital signature", "client auth"],
        },
    }


def granted(answer: Object) -> str:
    """The certificate in a request's object; NotYet before it exists, Failed when it was denied."""
    status: dict[str, Any] = answer.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] in ("Denied", "Failed"):
            raise Failed(
                f"the cluster refused this node a certificate: {condition.get('message') or condition['type']}"
            )
    if not status.get("certificate"):
        raise NotYet("the cluster has not signed this node's certificate yet")
    return base64.b64decode(status["certificate"]).decode()


def bootstrap_api(cluster: Cluster, ca: str) -> Api:
    """The API server as the join token may use it."""
    return Api(cluster.api_address, ca, Credential(token=cluster.bootstrap_token))


def _authority(text: str) -> str:
    try:
        document = yaml.safe_load(text)
        encoded = document["clusters"][0]["cluster"]["certificate-authority-data"]
        return base64.b64decode(encoded).decode()
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError) as error:
        raise Failed(f"cluster-info has no CA: {error}") from error
