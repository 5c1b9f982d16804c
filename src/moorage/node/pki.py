"""Keys and certificates: P-256, created where they are used; the cluster's CA key never leaves its node."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moorage.model.errors import BadInput

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 1095
SLACK = datetime.timedelta(minutes=5)
"""Certificates begin a little in the past, because the nodes' clocks differ."""

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Subject:
    """The subject of a certificate; `organization` is a Kubernetes group. One with addresses or names is a server's."""

    name: str
    organization: str = ""
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def x509(self) -> x509.Name:
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, self.name)]
        if self.organization:
            parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.organization))
        return x509.Name(parts)


@dataclass(frozen=True)
class Authority:
    """Our own CA: signs for subjects, and signs requests."""

    pair: Pair

    @classmethod
    def new(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = Subject(name).x509
        builder = _builder(subject, subject, key.public_key(), AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key)))

    @cached_property
    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.pair.certificate.encode())

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return _private(self.pair.key)

    def issue(self, subject: Subject) -> Pair:
        """A new key and its certificate: a server's when the subject has addresses or names, else a client's."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Pair(self._sign(subject, key.public_key()), _key_pem(key))

    def sign_client(self, request: str, organization: str) -> str:
        """A client certificate for a PEM request, with its common name and our organization only.

        BadInput when the request is not one, is not signed by its own key, or names a system user.
        """
        try:
            asked = x509.load_pem_x509_csr(request.encode())
        except ValueError as error:
            raise BadInput(f"control_plane.client_csr is not a certificate signing request: {error}") from error
        if not asked.is_signature_valid:
            raise BadInput("control_plane.client_csr is not signed by its own key")
        names = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(names[0].value) if names else ""
        if not name or name.startswith("system:"):
            raise BadInput(f"control_plane.client_csr has the name {name!r}: it must be a user's")
        return self._sign(Subject(name, organization), asked.public_key())

    def _sign(self, subject: Subject, public: object) -> str:
        builder = _builder(subject.x509, self._certificate.subject, public, CERTIFICATE_DAYS)
        alternatives = [*_dns(subject.names), *_ip(subject.addresses)]
        usage = SERVER if alternatives else CLIENT
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256()))


def new_key() -> Pair:
    """A key pair without a certificate (service account tokens): `certificate` has the public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Pair(public.decode(), _key_pem(key))


def new_request(subject: Subject) -> Pair:
    """A signing request (in `certificate`) and its new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(subject.x509).sign(key, hashes.SHA256())
    return Pair(request.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key))


def fits(certificate: str, authority: str, subject: Subject, now: datetime.datetime) -> bool:
    """Whether a certificate is still right: of this authority and subject, with a third of its validity left."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        issuer = x509.load_pem_x509_certificate(authority.encode())
    except ValueError:
        return False
    return (
        _signed_by(found, issuer)
        and found.subject == subject.x509
        and _alternatives(found) == {*subject.names, *subject.addresses}
        and expires(found) - now > datetime.timedelta(days=CERTIFICATE_DAYS) / 3
    )


def valid(certificate: str, now: datetime.datetime) -> bool:
    """Whether the first certificate in a PEM text is still valid."""
    try:
        return expires(x509.load_pem_x509_certificate(certificate.encode())) > now
    except ValueError:
        return False


def expires(certificate: x509.Certificate) -> datetime.datetime:
    """Its end, with a time zone; Debian 12's cryptography has no `not_valid_after_utc` yet."""
    aware = getattr(certificate, "not_valid_after_utc", None)
    if isinstance(aware, datetime.datetime):
        return aware
    return certificate.not_valid_after.replace(tzinfo=datetime.UTC)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    public, algorithm = issuer.public_key(), certificate.signature_hash_algorithm
    if not isinstance(public, ec.EllipticCurvePublicKey) or algorithm is None:
        return False
    try:
        public.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def _alternatives(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}


def _builder(subject: x509.Name, issuer: x509.Name, public: object, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)  # type: ignore[arg-type]  # any key that a request may carry
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _dns(names: Sequence[str]) -> list[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]


def _ip(addresses: Sequence[str]) -> list[x509.GeneralName]:
    return [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]


def _private(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not an elliptic curve key")
    return key


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
