"""The client's key: made once, kept, for its owner's eyes."""

from __future__ import annotations

import stat

import pytest
from cryptography import x509

from moorage.clusters import keys
from moorage.clusters.keys import KeyStore

pytestmark = pytest.mark.unit


def test_key_is_created_once_and_deleted(tmp_path):
    store = KeyStore(tmp_path)
    assert store.key("demo") is None
    made = store.get_or_create("demo")
    assert store.get_or_create("demo") == made == store.key("demo")
    assert stat.S_IMODE(store.path("demo").stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path("demo").parent.stat().st_mode) == 0o700
    store.delete("demo")
    store.delete("demo")
    assert list(tmp_path.iterdir()) == []


def test_signing_request_names_administrator_and_matches_key(tmp_path):
    own, other = KeyStore(tmp_path).get_or_create("one"), KeyStore(tmp_path).get_or_create("two")
    request = keys.signing_request(own)
    assert keys.matches(own, request)
    assert not keys.matches(other, request)
    assert x509.load_pem_x509_csr(request.encode()).subject.rfc4514_string() == "O=moorage:admins,CN=moorage:admin"
