"""Errors of requests to a service."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from dataclasses import dataclass

import pytest
from keystoneauth1 import exceptions as identity
from keystoneauth1.noauth import NoAuth
from keystoneauth1.session import Session as RealSession

from moorage.cloud.openstack import rest as module
from moorage.cloud.openstack.cloud import OpenStackCloud
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.images import ImageFile
from moorage.model.credential import Credential, clouds_yaml
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound

pytestmark = pytest.mark.unit


@dataclass
class Answer:
    status_code: int
    text: str = ""

    @property
    def content(self):
        return self.text.encode()

    def json(self):
        return json.loads(self.text)


class Session(RealSession):
    """A session that returns one response, or raises it, and records requests."""

    def __init__(self, answer, endpoint="http://heat:8004/v1/p"):
        self.answer, self.endpoint, self.requests = answer, endpoint, []

    def get_endpoint(self, *_, **__):
        return self.endpoint

    def request(self, url, method, **options):
        self.requests.append((method, url, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Rows(Session):
    """A session of the project "mine" that returns the rows of each collection."""

    def __init__(self, **rows):
        super().__init__(None)
        self.rows = rows

    def get_project_id(self, *_, **__):
        return "mine"

    def request(self, url, method, **options):
        self.requests.append((method, url, options))
        name = url.rsplit("/", 1)[-1].replace("-", "_")
        return Answer(200, json.dumps({name: self.rows.get(name, [])}))


def rest(answer, **options):
    return Rest(Session(answer, **options), "mine", "RegionOne", "public")


REFUSED = identity.ConnectFailure(
    "Unable to establish connection to http://172.24.4.1:8004/v1/p/stacks: [Errno 111] Connection refused"
)
NO_KEYSTONE = identity.ConnectFailure("Unable to establish connection to http://172.24.4.1:5000/v3: Connection refused")


@pytest.mark.parametrize(
    ("answer", "kind", "reported"),
    [
        (
            REFUSED,
            CloudUnreachable,
            "Heat of the cloud 'mine' does not answer at http://172.24.4.1:8004: conn",
        ),
        (NO_KEYSTONE, CloudUnreachable, "Keystone of the cloud 'mine' does not answer at http://172.24.4.1:5000"),
        (identity.Unauthorized("no"), CloudUnreachable, "Keystone refused the credentials of the cloud 'mine'"),
        (Answer(503, "busy"), CloudUnreachable, "Heat answered 503 at http://heat:8004/v1/p/stacks: busy"),
        (Answer(404, "{}"), NotFound, "/stacks"),
        (
            Answer(409, '{"error": {"message": "The Stack (x) already exists."}}'),
            Conflict,
            "The Stack (x) already exists.",
        ),
        (Answer(400, '{"badRequest": {"message": "Bad flavor", "code": 400}}'), BadInput, "Heat refused: Bad flavor"),
        (Answer(400, '{"NeutronError": {"message": "No such network"}}'), BadInput, "No such network"),
        (Answer(400, "<html>"), BadInput, "Heat refused: <html>"),
    ],
)
def test_failure_names_service_address_and_reason(answer, kind, reported):
    with pytest.raises(kind) as raised:
        rest(answer).get("orchestration", "/stacks")
    assert reported in raised.value.message


class Forgetful(socketserver.ThreadingTCPServer):
    """Answers one request on its first connection and closes it at the second; answers all on later connections."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Forgetful)
        self.connections = 0


class _Forgetful(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.connections += 1
        first, answered = self.server.connections == 1, 0
        while self.rfile.readline() and not (first and answered):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"stacks": []}')
            answered += 1


@pytest.fixture
def kept():
    """A cloud with a kept-alive connection that the server no longer serves."""
    with Forgetful() as server:
        threading.Thread(target=server.serve_forever).start()
        address, port = server.server_address
        cloud = Rest(RealSession(NoAuth(f"http://{address}:{port}")), "mine", None, "public")
        assert cloud.get("orchestration", "/stacks") == {"stacks": []}
        yield cloud
        cloud.session.session.close()
        server.shutdown()


def test_get_retries_on_new_connection(kept):
    assert kept.get("orchestration", "/stacks") == {"stacks": []}


@pytest.mark.parametrize("method", ["post", "delete"])
def test_post_is_not_retried(kept, method):
    with pytest.raises(CloudUnreachable, match="Connection aborted"):
        getattr(kept, method)("orchestration", "/stacks", *([{}] if method == "post" else []))


def test_timeout_is_not_retried():
    cloud = rest(identity.ConnectTimeout("Request to http://heat:8004 timed out"))
    with pytest.raises(CloudUnreachable, match="no answer in time"):
        cloud.get("orchestration", "/stacks")
    assert len(cloud.session.requests) == 1


def test_missing_service_is_reported():
    with pytest.raises(CloudUnreachable, match="has no Heat"):
        rest(Answer(200), endpoint=None).get("orchestration", "/stacks")


@pytest.mark.parametrize("base", ["http://glance:9292", "http://glance:9292/", "http://glance:9292/v2"])
def test_endpoint_has_version_once(base):
    assert rest(Answer(200), endpoint=base).endpoint("image") == "http://glance:9292/v2"


def test_unknown_cloud_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    (tmp_path / "clouds.yaml").write_text("clouds: {theirs: {auth: {auth_url: http://x/v3}}}")
    with pytest.raises(BadInput, match="no cloud 'mine'"):
        OpenStackCloud.connect("mine")


@pytest.fixture
def clouds_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    return file


ENTRY = "clouds: {mine: {auth: {auth_url: http://x/v3, username: u, password: p, project_name: p}, moorage: %s}}"


@pytest.mark.filterwarnings("ignore:Support for InfluxDB")
def test_defaults_are_those_of_the_entry(clouds_file):
    clouds_file.write_text(ENTRY % "{flavor: m1.large, external_network: internet}")
    assert OpenStackCloud.connect("mine").defaults == {"flavor": "m1.large", "external_network": "internet"}
    clouds_file.write_text(ENTRY % "")
    assert OpenStackCloud.connect("mine").defaults == {}


@pytest.mark.filterwarnings("ignore:Support for InfluxDB")
@pytest.mark.parametrize("text", ["m1.large", "[m1.large]"])
def test_defaults_of_another_type_are_rejected(clouds_file, text):
    clouds_file.write_text(ENTRY % text)
    with pytest.raises(BadInput, match=r"moorage in clouds\.yaml is not a mapping to text"):
        OpenStackCloud.connect("mine")


ROWS = [
    ("control_plane", "s-1", "root"),
    ("worker_nodes", "g-1", "root"),
    ("nodes", "g-2", "g-1"),
    ("0", "n-1", "g-2"),
    ("server", "s-2", "n-1"),
]


def test_resources_have_paths_from_root():
    rows = [
        {
            "resource_name": name,
            "physical_resource_id": identifier,
            "resource_type": "T",
            "resource_status": "CREATE_COMPLETE",
            "links": [{"rel": "stack", "href": f"http://heat/v1/p/stacks/name/{parent}"}],
        }
        for name, identifier, parent in ROWS
    ]
    cloud = OpenStackCloud(rest(Answer(200, json.dumps({"resources": rows}))))
    from moorage.cloud.port.stacks import Stack

    paths = ["/".join(resource.path) for resource in cloud.stacks.resources(Stack("root", "demo", "CREATE_COMPLETE"))]
    assert paths == [
        "control_plane",
        "worker_nodes",
        "worker_nodes/nodes",
        "worker_nodes/nodes/0",
        "worker_nodes/nodes/0/server",
    ]


def test_interrupted_upload_leaves_no_image(tmp_path):
    class Broken(Session):
        def request(self, url, method, **options):
            self.requests.append((method, url, options))
            return {"POST": Answer(201, '{"id": "i-1"}'), "PUT": Answer(507, "disk full"), "DELETE": Answer(204)}[
                method
            ]

    session = Broken(None, "http://glance:9292")
    file = tmp_path / "image"
    file.write_bytes(b"bytes")
    cloud = OpenStackCloud(Rest(session, "mine", None, "public"))
    with pytest.raises(CloudUnreachable, match="disk full"):
        cloud.images.upload(ImageFile("i", file, 4, 1024, {"os_distro": "moorage"}), print)
    assert [method for method, _, _ in session.requests] == ["POST", "PUT", "DELETE"]


@pytest.mark.filterwarnings("ignore:Support for InfluxDB")  # the SDK prints this wherever the library is installed
def test_hanging_service_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.3)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/v3"
        login = {"auth_url": url, "username": "u", "password": "p", "project_name": "p"}
        domains = {"user_domain_name": "Default", "project_domain_name": "Default"}
        written = {"clouds": {"mute": {"auth": login | domains}}}
        (tmp_path / "clouds.yaml").write_text(json.dumps(written))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        connection = Rest.connect("mute")
        with pytest.raises(CloudUnreachable):
            connection.get("orchestration", "/stacks")
        connection.session.session.close()


def test_credentials_are_those_of_project_and_region():
    """One Keystone serves all regions, and lists a user's credentials for all projects."""
    credentials = [
        {"id": "own", "project_id": "mine", "description": "Moorage cluster a in north"},
        {"id": "another-region", "project_id": "mine", "description": "Moorage cluster a in south"},
        {"id": "another-project", "project_id": "theirs", "description": "Moorage cluster a in north"},
        {"id": "another-cluster", "project_id": "mine", "description": "Moorage cluster ab in north"},
    ]
    session = Rows(application_credentials=credentials)
    session.get_user_id = lambda **_: "user"
    assert OpenStackCloud(Rest(session, "mine", "north", "public")).identity.credentials("a") == ["own"]


@pytest.mark.filterwarnings("ignore:Support for InfluxDB")
def test_certificates_of_the_cloud_are_those_of_its_entry(clouds_file, tmp_path):
    ca = tmp_path / "ca.pem"
    clouds_file.write_text(f"{ENTRY % '{}'}".replace("moorage:", f"cacert: {ca}, moorage:"))
    identity = OpenStackCloud.connect("mine").identity
    with pytest.raises(BadInput, match="cannot be read"):
        identity.ca_certificates()
    ca.write_text("PEM\n")
    assert identity.ca_certificates() == "PEM\n"
    ca.write_text("x" * 16385)
    with pytest.raises(BadInput, match="has 16 KB, and user data has room for 16") as raised:
        identity.ca_certificates()
    assert "the cloud's own CA alone" in raised.value.hint
    clouds_file.write_text(ENTRY % "")
    assert OpenStackCloud.connect("mine").identity.ca_certificates() == ""


def test_control_plane_verifies_its_cloud_with_the_certificates_beside_its_credential(tmp_path):
    credential = Credential("id", "secret", "https://keystone/v3")
    file = tmp_path / "clouds.yaml"
    file.write_text(clouds_yaml(credential))
    assert Rest.from_file(file, "moorage").session.verify is True
    (tmp_path / "cloud-ca.pem").write_text("PEM\n")
    assert Rest.from_file(file, "moorage").session.verify == str(tmp_path / "cloud-ca.pem")


def test_owned_network_resources_are_those_of_project():
    """An administrator's list has all projects."""
    session = Rows(networks=[{"id": "n", "name": "a", "description": "Moorage cluster a"}])
    found = OpenStackCloud(Rest(session, "mine", None, "public")).network.owned("a")
    assert [(resource.kind, resource.id) for resource in found] == [("network", "n")]
    assert {options["params"]["project_id"] for _, _, options in session.requests} == {"mine"}


LINK = [{"rel": "self", "href": "http://x/?a=1"}, {"rel": "next", "href": "http://elsewhere/things?limit=1&marker=one"}]


@pytest.mark.parametrize(
    "links",
    [
        {"stacks_links": LINK},  # Nova, Cinder, Neutron, Octavia
        {"links": LINK},  # Heat
        {"links": {"next": "http://elsewhere/things?limit=1&marker=one", "previous": None}},  # Keystone
        {"next": "/v2/things?limit=1&marker=one"},  # Glance
    ],
)
def test_list_follows_link_of_each_service(links):
    pages = [{"stacks": [1], **links}, {"stacks": [2], "links": {"next": None}}]

    class Pages(Session):
        def request(self, url, method, **options):
            self.requests.append((url, options["params"]))
            return Answer(200, json.dumps(pages[len(self.requests) - 1]))

    session = Pages(None)
    assert [*Rest(session, "mine", None, "public").list("orchestration", "/stacks", limit=1)] == [1, 2]
    stacks = "http://heat:8004/v1/p/stacks"
    assert session.requests == [(stacks, {"limit": 1}), (stacks, [("limit", "1"), ("marker", "one")])]


def test_list_stops_when_next_page_is_the_same():
    same = rest(Answer(200, json.dumps({"stacks": [1], "links": LINK})))
    assert [*same.list("orchestration", "/stacks")] == [1, 1]


def test_optional_services_are_none():
    class Catalog(Session):
        def get_endpoint(self, *_, service_type, **__):
            return None if service_type in self.answer else "http://cloud"

    bare = OpenStackCloud(Rest(Catalog(("load-balancer", "block-storage")), "mine", None, "public"))
    assert (bare.load_balancers, bare.volumes) == (None, None)
    full = OpenStackCloud(Rest(Catalog(()), "mine", None, "public"))
    assert full.load_balancers is not None
    assert full.volumes is not None


def test_check_revoked_token_raises():
    revoked = rest(Answer(404, '{"error": {"message": "Could not find Application Credential: 5f."}}'))
    with pytest.raises(
        CloudUnreachable, match="Keystone refused the credentials of the cloud 'mine': they were revoked"
    ):
        revoked.check()
    rest(Answer(200, '{"projects": []}')).check()


def test_check_deleted_application_credential_raises():
    revoked = rest(identity.NotFound("Could not find Application Credential: 5f."))
    with pytest.raises(CloudUnreachable, match="Keystone refused the credentials"):
        revoked.get("compute", "/servers")
