"""Calls that the local cloud rejects before any program runs."""

import pytest

from moorage.cloud.port.images import ImageFile
from moorage.local.cloud import LocalCloud, Options
from moorage.model.errors import BadInput, CloudUnreachable, NotFound

pytestmark = pytest.mark.unit


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return LocalCloud(tmp_path / "state", tmp_path / "run", tmp_path / "cache", tmp_path / "clouds.yaml")


@pytest.mark.parametrize(
    "use",
    [
        lambda cloud: cloud.status(),
        lambda cloud: cloud.down(str),
        lambda cloud: cloud.reset(str),
        lambda cloud: cloud.env(admin=False),
        lambda cloud: cloud.restart("nova"),
        lambda cloud: cloud.logs("nova", follow=False, lines=1),
    ],
)
def test_without_root_is_rejected(cloud, monkeypatch, use):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BadInput, match="root"):
        use(cloud)
    assert not cloud.layout.run.exists()


def test_env_without_cloud_is_not_found(cloud):
    with pytest.raises(CloudUnreachable, match="local cloud does not exist yet"):
        cloud.env(admin=True)


def test_unknown_program_lists_known_ones(cloud):
    with pytest.raises(NotFound) as raised:
        cloud.logs("novah", follow=False, lines=1)
    assert "novah" in raised.value.message
    assert "nova" in raised.value.hint


def test_program_without_log_is_reported(cloud):
    with pytest.raises(NotFound, match="no log yet"):
        cloud.logs("nova", follow=False, lines=1)


def test_status_of_stopped_cloud_lists_programs(cloud):
    assert {row.health for row in cloud.status()} == {"stopped"}


def test_fingerprint_changes_with_image(tmp_path):
    image = ImageFile("moorage-1", tmp_path, 4, 1024, {})
    first = Options(image)
    assert first.fingerprint != Options(ImageFile("moorage-2", tmp_path, 4, 1024, {})).fingerprint
    assert first.fingerprint == Options(image, tmp_path / "registry").fingerprint
    with_disk = Options(image, disk=ImageFile("moorage-1-server", tmp_path, 8, 2048, {}, "qcow2"))
    assert first.fingerprint != with_disk.fingerprint
    assert [flavor.name for flavor in with_disk.flavors if flavor not in first.flavors] == ["m1.vm"]
