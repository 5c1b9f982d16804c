"""The conversion of Cinder's and Nova's responses, with the shapes and messages of their API references and sources."""

from __future__ import annotations

import pytest
from keystoneauth1.session import Session as RealSession

from answers import Answer
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.openstack.volumes import OpenStackVolumes
from moorage.cloud.port.volumes import NewVolume, VolumeAttachment
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound, QuotaExceeded

pytestmark = pytest.mark.unit


class Session(RealSession):
    """Returns responses in turn, and records requests."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []

    def get_endpoint(self, *_, service_type, **__):
        return f"http://{service_type}/v3"

    def get_project_id(self):
        return "project-1"

    def request(self, url, method, **options):
        self.requests.append((method, url, options))
        return self.answers.pop(0)


def port(*answers):
    session = Session(*answers)
    return OpenStackVolumes(Rest(session, "mine", None, "public")), session


def fault(status, kind, message):
    return Answer(status, {kind: {"code": status, "message": message}})


def row(id="v1", name="pvc-1", **options):
    return {
        "id": id,
        "name": name,
        "size": 2,
        "status": "in-use",
        "volume_type": "files",
        "availability_zone": "nova",
        "snapshot_id": None,
        "source_volid": "v0",
        "attachments": [{"id": id, "attachment_id": "a1", "volume_id": id, "server_id": "s1", "device": "/dev/vdb"}],
        "metadata": {"a": "b"},
        "created_at": "2026-01-02T03:04:05.500000",
        **options,
    }


def test_volume_row_is_converted():
    volumes, session = port(Answer(200, {"volume": row()}))
    volume = volumes.get("v1")
    assert (volume.id, volume.name, volume.size, volume.status, volume.type) == ("v1", "pvc-1", 2, "in-use", "files")
    assert (volume.zone, volume.snapshot, volume.source, volume.metadata) == ("nova", "", "v0", {"a": "b"})
    assert volume.attachments == (VolumeAttachment("a1", "s1"),)
    assert volume.created_at == 1767323045.5
    assert session.requests[0][:2] == ("GET", "http://block-storage/v3/volumes/v1")


def test_create_sends_only_chosen_fields():
    volumes, session = port(Answer(202, {"volume": row()}), Answer(202, {"volume": row()}))
    volumes.create(NewVolume("pvc-1", 2))
    volumes.create(NewVolume("pvc-1", 2, "fast", "nova", "snap", "", {"a": "b"}))
    plain, full = (options["json"]["volume"] for _, _, options in session.requests)
    assert plain == {"name": "pvc-1", "size": 2, "metadata": {}}
    assert full == {
        "name": "pvc-1",
        "size": 2,
        "metadata": {"a": "b"},
        "volume_type": "fast",
        "availability_zone": "nova",
        "snapshot_id": "snap",
    }


def test_list_follows_pages_and_filters_by_name():
    link = [{"rel": "next", "href": "http://cinder/volumes?marker=v1"}]
    first = Answer(200, {"volumes": [row()], "volumes_links": link})
    volumes, session = port(first, Answer(200, {"volumes": [row("v2", "pvc-12"), row("v3")]}))
    assert [volume.id for volume in volumes.list("pvc-1")] == ["v1", "v3"]
    assert session.requests[0][2]["params"] == {"name": "pvc-1"}
    assert session.requests[1][2]["params"] == [("marker", "v1")]


def test_extend_uses_microversion_for_attached_volumes():
    volumes, session = port(Answer(202))
    volumes.extend("v1", 3)
    method, url, options = session.requests[0]
    assert (method, url) == ("POST", "http://block-storage/v3/volumes/v1/action")
    assert options["json"] == {"os-extend": {"new_size": 3}}
    assert options["microversion"] == "3.42"


def test_retype_may_migrate():
    volumes, session = port(Answer(200, {"volume_types": [{"id": "t1", "name": "fast"}]}), Answer(202))
    volumes.retype("v1", "fast")
    assert session.requests[1][2]["json"] == {"os-retype": {"new_type": "fast", "migration_policy": "on-demand"}}


def test_set_metadata_keeps_other_keys():
    volumes, session = port(Answer(200, {"metadata": {}}), Answer(200, {"metadata": {}}))
    volumes.set_metadata("v1", {"moorage.io/a": "b"})
    volumes.set_snapshot_metadata("s1", {"moorage.io/a": "b"})
    assert [request[:2] for request in session.requests] == [
        ("POST", "http://block-storage/v3/volumes/v1/metadata"),
        ("POST", "http://block-storage/v3/snapshots/s1/metadata"),
    ]
    assert session.requests[0][2]["json"] == {"metadata": {"moorage.io/a": "b"}}


def test_last_message_of_volume():
    message = {
        "messages": [{"user_message": "schedule allocate volume:Could not find any available weighted backend."}]
    }
    volumes, session = port(Answer(200, message), Answer(200, {"messages": []}))
    assert volumes.last_message("v1").endswith("weighted backend.")
    assert volumes.last_message("v1") == ""
    assert session.requests[0][2]["params"]["resource_uuid"] == "v1"
    assert session.requests[0][2]["microversion"] == "3.5"


def test_attached_lists_novas_attachments():
    rows = {"volumeAttachments": [{"id": "v1", "volumeId": "v1", "serverId": "s1", "device": "/dev/vdb"}]}
    missing = fault(404, "itemNotFound", "Instance s1 could not be found.")
    volumes, session = port(Answer(200, rows), missing, fault(503, "error", "busy"))
    assert volumes.attached("s1") == {"v1"}
    assert volumes.attached("s1") is None
    with pytest.raises(CloudUnreachable):
        volumes.attached("s1")
    assert session.requests[0][1] == "http://compute/v3/servers/s1/os-volume_attachments"


QUOTAS = {
    "id": "project-1",
    "gigabytes": {"limit": 100, "in_use": 10, "reserved": 5},
    "gigabytes_fast": {"limit": 20, "in_use": 0, "reserved": 0},
    "gigabytes_files": {"limit": -1, "in_use": 0, "reserved": 0},
    "volumes": {"limit": 10, "in_use": 1, "reserved": 0},
}


@pytest.mark.parametrize(("type", "quota"), [("", 85), ("fast", 20), ("files", 85), ("other", 85)])
def test_remaining_quota_is_the_narrower(type, quota):
    volumes, _ = port(Answer(200, {"quota_set": QUOTAS}))
    assert volumes.remaining_quota(type) == quota


def test_remaining_quota_without_limit_is_none():
    without = {"gigabytes": {"limit": -1, "in_use": 10, "reserved": 0}}
    assert port(Answer(200, {"quota_set": without}))[0].remaining_quota() is None


def test_default_type_may_be_missing():
    none = fault(404, "itemNotFound", "Volume type default could not be found.")
    volumes, session = port(Answer(200, {"volume_type": {"id": "t1", "name": "__DEFAULT__"}}), none)
    assert volumes.default_type() == "__DEFAULT__"
    assert volumes.default_type() == ""
    assert session.requests[0][1] == "http://block-storage/v3/types/default"


def test_zones_are_available_ones():
    zones = [
        {"zoneName": "west", "zoneState": {"available": True}},
        {"zoneName": "x", "zoneState": {"available": False}},
    ]
    assert port(Answer(200, {"availabilityZoneInfo": zones}))[0].zones() == ["west"]


GB = "Requested volume or snapshot exceeds allowed gigabytes quota. Requested 9G, quota is 5G and 0G has been consumed."
REFUSALS = [
    (lambda v: v.create(NewVolume("n", 1)), 413, "overLimit", GB, QuotaExceeded),
    (
        lambda v: v.create(NewVolume("n", 1)),
        404,
        "itemNotFound",
        "Volume type x could not be found.",
        NotFound,
    ),
    (lambda v: v.create(NewVolume("n", 1)), 400, "badRequest", "Availability zone 'mars' is invalid.", BadInput),
    (lambda v: v.delete("v"), 400, "badRequest", "Invalid volume: Volume status must be available", Conflict),
    (lambda v: v.set_metadata("v", {"a": "b"}), 400, "badRequest", "metadata is not allowed for volumes in", Conflict),
    (lambda v: v.set_metadata("v", {"a": "b"}), 404, "itemNotFound", "Volume v could not be found.", NotFound),
    (lambda v: v.extend("v", 9), 413, "overLimit", GB, QuotaExceeded),
    (
        lambda v: v.create_snapshot("s", "v", False, {}),
        400,
        "badRequest",
        "Invalid volume: status",
        Conflict,
    ),
    (
        lambda v: v.create_snapshot("s", "v", False, {}),
        413,
        "overLimit",
        "Maximum number of snapshots allowed (10) exceeded",
        QuotaExceeded,
    ),
    (
        lambda v: v.attach("s", "v"),
        403,
        "forbidden",
        "The maximum allowed number of disk devices (26) to attach to a single instance has been exceeded.",
        QuotaExceeded,
    ),
    (lambda v: v.attach("s", "v"), 400, "badRequest", "Invalid volume: status must be available", Conflict),
    (lambda v: v.attach("s", "v"), 409, "conflictingRequest", "Cannot 'attach_volume' instance s", Conflict),
    (lambda v: v.detach("s", "v"), 404, "itemNotFound", "Instance s is not attached to volume v", NotFound),
    (
        lambda v: v.delete_attachment("a"),
        409,
        "conflictingRequest",
        "Detach it using the Compute API",
        Conflict,
    ),
]


@pytest.mark.parametrize(("change", "status", "kind", "message", "expected"), REFUSALS)
def test_rejections_are_distinguished(change, status, kind, message, expected):
    volumes, _ = port(fault(status, kind, message))
    with pytest.raises(expected) as caught:
        change(volumes)
    assert type(caught.value) is expected
    if expected is not NotFound:
        assert message in caught.value.message
