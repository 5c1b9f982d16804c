"""The table of services: what a new entry must contain."""

import importlib
import re

import pytest

from moorage.local.configuration import PROJECTS, templates
from moorage.local.services import SERVICES, service

pytestmark = pytest.mark.unit


def test_names_ports_types_and_databases_are_unique():
    for values in (
        [entry.name for entry in SERVICES],
        [entry.port for entry in SERVICES],
        [entry.type for entry in SERVICES],
        [name for entry in SERVICES for name in entry.databases],
    ):
        assert len(values) == len(set(values))


@pytest.mark.parametrize("entry", SERVICES, ids=lambda entry: entry.name)
def test_entry_is_complete(entry):
    assert (PROJECTS / entry.name).is_dir()
    assert templates(entry), "at least one configuration template"
    assert entry.databases
    assert entry.migrations
    for path in filter(None, (entry.prepare, entry.threads)):
        module, _, name = path.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_migrations_have_no_unknown_placeholders():
    """Nova's cells store URLs with fields of their own; formatting must keep those."""
    cells = [m for m in service("nova").migrations if "cell_v2" in m]
    formatted = [part.format(etc="/etc/nova") for migration in cells for part in migration]
    assert "{scheme}://{username}@{hostname}/nova_cell0?{query}" in formatted
    assert not any("{etc}" in part for part in formatted)


@pytest.mark.parametrize("entry", SERVICES, ids=lambda entry: entry.name)
def test_catalog_uses_the_gateway_address(entry):
    assert re.fullmatch(rf"http://172\.24\.4\.1:{entry.port}(/[\w.%()/]*)?", entry.url)


def test_unknown_service_is_key_error():
    with pytest.raises(KeyError):
        service("magnet")
