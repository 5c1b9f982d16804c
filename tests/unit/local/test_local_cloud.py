"""What the cloud refuses, before anything runs."""

import pytest

from moorage.local.cloud import LocalCloud, Options
from moorage.local.seed import Image
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
def test_others_than_root_are_told_so(cloud, monkeypatch, use):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BadInput, match="root"):
        use(cloud)
    assert not cloud.layout.run.exists()


def test_without_a_cloud_there_are_no_credentials(cloud):
    with pytest.raises(CloudUnreachable, match="no local cloud"):
        cloud.env(admin=True)


def test_an_unknown_program_is_named_with_the_known(cloud):
    with pytest.raises(NotFound) as raised:
        cloud.logs("novah", follow=False, lines=1)
    assert "novah" in raised.value.message
    assert "nova" in raised.value.hint


def test_a_program_that_never_ran_has_no_log(cloud):
    with pytest.raises(NotFound, match="no log yet"):
        cloud.logs("nova", follow=False, lines=1)


def test_a_stopped_cloud_shows_every_program_as_stopped(cloud):
    assert {row.health for row in cloud.status()} == {"stopped"}


def test_another_image_is_something_new_to_put_in(tmp_path):
    first = Options(Image("moorage-1", tmp_path, 4, 1024))
    assert first.fingerprint != Options(Image("moorage-2", tmp_path, 4, 1024)).fingerprint
    assert first.fingerprint == Options(Image("moorage-1", tmp_path, 4, 1024), tmp_path / "registry").fingerprint
