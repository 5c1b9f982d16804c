"""A real API server for tests: etcd and kube-apiserver of the release, without a cloud."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from moorage.clusters import keys
from moorage.config import Paths
from moorage.image.release import find_release
from moorage.kube.http import HttpKubernetesClient
from moorage.kube.kubeconfig import KubeAccess
from moorage.kube.port import Resource, key_of
from moorage.model.errors import KubernetesUnreachable
from waiting import until

NAMESPACES = Resource("v1", "namespaces", "Namespace", namespaced=False)
PRIVATE = serialization.PrivateFormat.PKCS8
PEM, PLAIN = serialization.Encoding.PEM, serialization.NoEncryption()


class RealApi:
    """etcd and kube-apiserver of the release, with a certificate authority of the test's own."""

    def __init__(self, folder, stack):
        self.folder = folder
        self.ports = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.ports[2]}"
        self.authority = ec.generate_private_key(ec.SECP256R1())
        self.ca = self.certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]), self.authority)
        self.start(find_release(Paths.from_environment(os.environ).cache), stack)

    def certificate(self, subject, key):
        now = datetime.now(UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(hours=1))
        if subject == issuer:
            made = made.add_extension(x509.BasicConstraints(True, None), True)
        return made.sign(self.authority, hashes.SHA256()).public_bytes(PEM).decode()

    def start(self, release, stack):
        (self.folder / "ca.crt").write_text(self.ca)
        service_key = rsa.generate_private_key(65537, 2048).private_bytes(PEM, PRIVATE, PLAIN)
        (self.folder / "service.key").write_bytes(service_key)
        client, peer, port = self.ports
        stack.enter_context(
            running(
                self.folder / "etcd.log",
                release.program("etcd"),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{client}",
                f"--advertise-client-urls=http://127.0.0.1:{client}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
            )
        )
        stack.enter_context(
            running(
                self.folder / "api.log",
                release.program("kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{client}",
                f"--secure-port={port}",
                "--bind-address=127.0.0.1",
                "--advertise-address=192.0.2.1",  # without it the server looks for a default route
                "--endpoint-reconciler-type=none",
                f"--cert-dir={self.folder}",
                f"--client-ca-file={self.folder / 'ca.crt'}",
                f"--service-account-key-file={self.folder / 'service.key'}",
                f"--service-account-signing-key-file={self.folder / 'service.key'}",
                "--service-account-issuer=https://kubernetes.test",
                "--service-cluster-ip-range=10.96.0.0/24",
                "--authorization-mode=RBAC",
            )
        )

    def access(self, organization="system:masters", name="tester"):
        key = keys._new_key()
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        certificate = self.certificate(x509.Name(subject), serialization.load_pem_private_key(key.encode(), None))
        return KubeAccess(self.url, self.server_ca(), certificate, key)

    def server_ca(self):
        """The CA of the serving certificate, which the API server signed itself: the file contains both."""
        return (self.folder / "apiserver.crt").read_text()

    def until_ready(self):
        """Wait until it answers and has its namespaces, which it creates a moment later, one by one."""
        until(
            self.namespaces,
            {"kube-system", "default"}.issubset,
            yet=(KubernetesUnreachable, FileNotFoundError),
            why=lambda: (self.folder / "api.log").read_text()[-2000:],
        )

    def namespaces(self):
        api = HttpKubernetesClient.from_access(self.access())
        try:
            return {key_of(found) for found in api.list(NAMESPACES).items}
        finally:
            api.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class running:
    """A program that runs until the block ends."""

    def __init__(self, log, *words):
        self.log, self.words = log, words

    def __enter__(self):
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(self.words, stdout=stream, stderr=stream)

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
