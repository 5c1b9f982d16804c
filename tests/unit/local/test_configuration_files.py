"""Every template renders to a configuration that is not reachable from outside."""

import configparser
import re
from pathlib import Path

import pytest

from moorage.local import configuration
from moorage.local.layout import Layout
from moorage.local.secrets import Secrets
from moorage.local.services import SERVICES, service

pytestmark = pytest.mark.unit

LAYOUT = Layout(Path("/var/lib/moorage"), Path("/run/moorage"), Path("/root/.cache/moorage"))
SECRETS = Secrets(
    admin="A" * 8,
    tenant="T" * 8,
    services={entry.name: f"password-of-{entry.name}" for entry in SERVICES},
    domains={entry.name: f"domain-password-of-{entry.name}" for entry in SERVICES if entry.domain},
    encryption_key="0" * 32,
)


def rendered(name: str, layout: Layout = LAYOUT) -> dict[str, str]:
    return configuration.render(service(name), layout, SECRETS, configuration.ConfigOverrides("netdev"))


def parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("entry", SERVICES, ids=lambda entry: entry.name)
def test_rendered_files_are_valid_and_complete(entry):
    for text in rendered(entry.name).values():
        assert "{{" not in text
        parsed(text)


@pytest.mark.parametrize("entry", SERVICES, ids=lambda entry: entry.name)
def test_no_file_listens_on_all_interfaces(entry):
    for text in rendered(entry.name).values():
        assert not re.search(r"0\.0\.0\.0|\[::\]", text)


@pytest.mark.parametrize("entry", SERVICES, ids=lambda entry: entry.name)
def test_databases_match_entry(entry):
    text = "".join(rendered(entry.name).values())
    used = set(re.findall(r"mysql\+mysqldb://root@localhost/(\w+)\?unix_socket=/run/moorage/mysql.sock", text))
    assert used <= set(entry.databases)
    assert used


def test_service_uses_its_own_user():
    assert parsed(rendered("cinder")["cinder.conf"])["keystone_authtoken"]["password"] == "password-of-cinder"
    assert parsed(rendered("cinder")["cinder.conf"])["nova"]["username"] == "nova"


def test_nova_uses_config_drives_and_resumes_servers():
    nova = parsed(rendered("nova")["nova.conf"])
    assert nova["DEFAULT"]["force_config_drive"] == "true"
    assert nova["DEFAULT"]["resume_guests_state_on_host_boot"] == "true"
    assert nova["moorage"]["cgroup_parent"] == "moorage"
    assert nova["moorage"]["state_dir"] == "/var/lib/moorage/machines"


def test_hosts_are_chosen_by_format_and_libvirt_is_the_clouds_own():
    nova = parsed(rendered("nova")["nova.conf"])
    assert nova["scheduler"]["query_placement_for_image_type_support"] == "true"
    assert nova["libvirt"]["connection_uri"] == "qemu:///system?socket=/run/moorage/libvirt/libvirt-sock"
    assert nova["libvirt"]["virt_type"] == "qemu"


def test_cgroup_differs_by_state():
    other = Layout(Path("/tmp/state"), Path("/tmp/run"), Path("/tmp/cache"))
    group = parsed(rendered("nova", other)["nova.conf"])["moorage"]["cgroup_parent"]
    assert re.fullmatch(r"moorage-[0-9a-f]{8}", group)


def test_heat_allows_large_stacks():
    assert int(parsed(rendered("heat")["heat.conf"])["DEFAULT"]["max_resources_per_stack"]) >= 5000


def test_written_files_are_private(tmp_path):
    layout = Layout(tmp_path / "state", tmp_path / "run", tmp_path / "cache")
    layout.create_folders()
    configuration.write(layout, SECRETS, configuration.ConfigOverrides("netdev"))
    for entry in SERVICES:
        for name in configuration.templates(entry):
            assert (layout.etc / entry.name / name).stat().st_mode & 0o777 == 0o600
    assert (layout.data("keystone") / "fernet" / "1").stat().st_mode & 0o777 == 0o600
