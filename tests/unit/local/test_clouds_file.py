"""clouds.yaml belongs to the user: our entries are added and removed, everything else is kept."""

import pytest
import yaml

from moorage.local import clouds
from moorage.local.secrets import ensure
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit

DESIRED = {"moorage": {"auth": {"username": "moorage"}}, "moorage-admin": {"auth": {"username": "admin"}}}
NAMES = tuple(DESIRED)

USER_FILE = """\
# my clouds
clouds:
  # the one at work
  work:
    auth:
      auth_url: https://example.org:5000/v3   # behind the proxy
    verify: false

  home: {auth: {auth_url: http://10.0.0.1}}
cache:
  expiration_time: 60  # seconds
"""


def merged(text: str) -> dict:
    return yaml.safe_load(clouds.merge(text, DESIRED, NAMES))


def test_new_file_has_our_entries():
    assert merged("") == {"clouds": DESIRED}


def test_other_lines_and_comments_are_kept():
    text = clouds.merge(USER_FILE, DESIRED, NAMES)
    assert all(line in text.splitlines() for line in USER_FILE.splitlines())
    assert set(yaml.safe_load(text)["clouds"]) == {"moorage", "moorage-admin", "work", "home"}
    assert yaml.safe_load(text)["cache"] == {"expiration_time": 60}


def test_merge_twice_changes_nothing():
    once = clouds.merge(USER_FILE, DESIRED, NAMES)
    assert clouds.merge(once, DESIRED, NAMES) == once


def test_old_entries_are_replaced():
    old = clouds.merge(USER_FILE, {"moorage": {"auth": {"username": "old"}}}, NAMES)
    assert merged(old)["clouds"]["moorage"] == DESIRED["moorage"]


def test_remove_restores_file():
    assert clouds.merge(clouds.merge(USER_FILE, DESIRED, NAMES), {}, NAMES) == USER_FILE


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ("  # the one at work\n  work: {a: 1}\n", "clouds:\n  # the one at work\n  work: {a: 1}\n"),
        ("\n  # two\n  # lines\n  work:\n    a: 1\n", "clouds:\n  # two\n  # lines\n  work:\n    a: 1\n"),
        ("# seconds\ncache: {a: 1}\n", "# seconds\ncache: {a: 1}\n"),
    ],
)
def test_remove_keeps_comment_below_the_entry(after, kept):
    text = f"clouds:\n  moorage:\n    auth:\n      username: old\n{after}"
    assert clouds.merge(text, {}, NAMES) == kept
    replaced = clouds.merge(text, DESIRED, NAMES)
    assert all(line in replaced.splitlines() for line in after.splitlines() if line)


def test_remove_only_entries_leaves_comments():
    assert clouds.merge(clouds.merge("", DESIRED, NAMES), {}, NAMES) == ""
    assert clouds.merge(clouds.merge("# mine\n", DESIRED, NAMES), {}, NAMES) == "# mine\n"


@pytest.mark.parametrize(
    "text",
    [
        "clouds: {work: {region_name: a}}\n",
        "clouds: {}\n",
        "clouds:\n",
        "cache: {}\n",
        "{clouds: {work: {a: 1}, moorage: {b: 2}}, cache: {c: 3}}\n",
        "clouds:\n    'moorage':\n        auth: {a: 1}\n    work:\n        b: 2\n",
        "# only a comment\n",
        "clouds:\n  moorage:\n    auth: {a: 1}",
    ],
)
def test_merge_keeps_meaning_of_every_layout(text):
    before = yaml.safe_load(text) or {}
    after = merged(text)
    assert after["clouds"] == {
        **{k: v for k, v in (before.get("clouds") or {}).items() if k not in NAMES},
        **DESIRED,
    }
    assert {k: v for k, v in after.items() if k != "clouds"} == {k: v for k, v in before.items() if k != "clouds"}


@pytest.mark.parametrize("text", ["clouds: [", "clouds: 3\n", "- a\n", "just words\n"])
def test_invalid_file_is_rejected_and_unchanged(text, tmp_path):
    file = tmp_path / "clouds.yaml"
    file.write_text(text)
    with pytest.raises(BadInput):
        clouds.write(file, ensure(tmp_path / "secrets"))
    assert file.read_text() == text


def test_file_is_private_and_deleted_when_empty(tmp_path):
    file = tmp_path / "openstack" / "clouds.yaml"
    clouds.write(file, ensure(tmp_path / "secrets"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert set(yaml.safe_load(file.read_text())["clouds"]) == {"moorage", "moorage-admin"}
    clouds.remove(file)
    assert not file.exists()
    clouds.remove(file)


def test_remove_keeps_other_entries(tmp_path):
    file = tmp_path / "clouds.yaml"
    file.write_text(USER_FILE)
    clouds.write(file, ensure(tmp_path / "secrets"))
    clouds.remove(file)
    assert file.read_text() == USER_FILE
