"""The client's private key, which never leaves this machine, and its certificate signing request."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moorage.model.errors import Failed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

COMMON_NAME = "moorage:admin"


@dataclass(frozen=True)
class KeyStore:
    """One key for each cluster, in `<folder>/<cloud>/<cluster>/client.key`, readable by its owner only."""

    folder: Path

    def path(self, cluster: str) -> Path:
        return self.folder / cluster / "client.key"

    def key(self, cluster: str) -> str | None:
        """The key as PEM, None when this machine has none for that cluster."""
        try:
            return self.path(cluster).read_text()
        except FileNotFoundError:
            return None

    def get_or_create(self, cluster: str) -> str:
        """The key as PEM; creates it when it does not exist. The file is written completely or not at all."""
        there = self.key(cluster)
        if there is not None:
            return there
        path, pem = self.path(cluster), _new_key()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_atomically(path, pem)
        return pem

    def delete(self, cluster: str) -> None:
        """Delete the key and its folder. Does nothing when there is none."""
        shutil.rmtree(self.path(cluster).parent, ignore_errors=True)


def _write_atomically(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Failed(
            f"cannot write {path}: {error.strerror}", "free some disk space or give write access, then run again"
        ) from error


def _new_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


def signing_request(key: str) -> str:
    """A signing request for `key` as PEM, subject CN=moorage:admin, O=moorage:admins."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "moorage:admins"),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(_load(key), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def matches(key: str, request: str) -> bool:
    """Whether the PEM signing request is for this PEM key."""
    from cryptography import x509

    return x509.load_pem_x509_csr(request.encode()).public_key() == _load(key).public_key()


def _load(key: str) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    loaded = serialization.load_pem_private_key(key.encode(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded
