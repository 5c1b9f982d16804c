"""The supervisor's configuration."""

import configparser
from pathlib import Path

import pytest

from moorage.local.layout import Layout
from moorage.local.programs import programs, registry_configuration
from moorage.local.services import SERVICES
from moorage.local.supervisor import configuration

pytestmark = pytest.mark.unit

LAYOUT = Layout(Path("/var/lib/moorage"), Path("/run/moorage"), Path("/root/.cache/moorage"))


def test_databases_start_first():
    names = [program.name for program in programs(LAYOUT, None)]
    for entry in SERVICES:
        assert names.index("mariadb") < names.index(entry.name)
    assert names.index("ovsdb") < names.index("ovs-vswitchd") < names.index("ovn-controller")


def test_registry_runs_if_present():
    assert "registry" not in [program.name for program in programs(LAYOUT, None)]
    registry = programs(LAYOUT, Path("/cache/bin/registry"))[-1]
    assert registry.command[:2] == ("/cache/bin/registry", "serve")


def test_no_program_listens_on_all_interfaces():
    text = " ".join(part for program in programs(LAYOUT, Path("/registry")) for part in program.command)
    assert "--skip-networking" in text
    assert "ptcp" not in text
    assert "addr: 172.24.4.1:5080" in registry_configuration(LAYOUT)


def test_supervisor_restarts_and_rotates():
    supervised = programs(LAYOUT, Path("/registry"))
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(LAYOUT, supervised))
    for program in supervised:
        section = parser[f"program:{program.name}"]
        assert section["autorestart"] == "true"
        assert int(section["stdout_logfile_backups"]) > 0
        assert section["directory"] == "/run/moorage/programs"
    assert parser["unix_http_server"]["chmod"] == "0700"
    assert "inet_http_server" not in parser


def test_percent_is_doubled():
    layout = Layout(Path("/var/100%/state"), Path("/run/moorage"), Path("/cache"))
    assert "/var/100%%/state" in configuration(layout, programs(layout, None))
