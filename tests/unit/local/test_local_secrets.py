import json

import pytest

from moorage.local import secrets

pytestmark = pytest.mark.unit


def test_secrets_are_created_once_and_private(tmp_path):
    file = tmp_path / "secrets.json"
    first = secrets.ensure(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert secrets.ensure(file) == first
    assert len(first.encryption_key) == 32


def test_secrets_differ(tmp_path):
    generated = secrets.ensure(tmp_path / "secrets.json")
    values = [
        generated.admin,
        generated.tenant,
        generated.encryption_key,
        *generated.services.values(),
        *generated.domains.values(),
    ]
    assert len(values) == len(set(values))
    assert all(len(value) >= 32 for value in values)


def test_new_service_gets_password_and_others_keep_theirs(tmp_path):
    file = tmp_path / "secrets.json"
    before = secrets.ensure(file)
    stored = json.loads(file.read_text())
    del stored["services"]["heat"]
    file.write_text(json.dumps(stored))
    after = secrets.ensure(file)
    assert after.services["heat"] != before.services["heat"]
    assert after.services["nova"] == before.services["nova"]
    assert after.admin == before.admin


def test_secrets_are_not_in_repr(tmp_path):
    generated = secrets.ensure(tmp_path / "secrets.json")
    assert generated.admin not in repr(generated)


def test_key_repository_keeps_keys(tmp_path):
    secrets.ensure_key_repository(tmp_path / "keys")
    before = (tmp_path / "keys" / "1").read_text()
    secrets.ensure_key_repository(tmp_path / "keys")
    assert (tmp_path / "keys" / "1").read_text() == before
    assert {file.name for file in (tmp_path / "keys").iterdir()} == {"0", "1"}
