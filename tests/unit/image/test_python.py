"""Which Python libraries a node gets."""

from __future__ import annotations

import pytest

from moorage.image import python

pytestmark = pytest.mark.unit


def names():
    return [each.partition("==")[0] for each in python.requirements()]


def test_requirements_include_dependencies():
    assert {"keystoneauth1", "lightkube", "grpcio", "protobuf", "click", "prometheus-client"} <= set(names())
    assert {"requests", "lightkube-models"} <= set(names()), "also what those need"


def test_requirements_exclude_debian_packages_and_cli():
    assert not {"pyyaml", "cryptography", "openstacksdk", "rich", "nova", "pytest"} & set(names())


def test_requirements_have_versions():
    assert all(each.partition("==")[2] for each in python.requirements())


def test_requirement_marker_is_evaluated():
    applies = python._applies
    assert applies(python.Requirement("a"), set())
    assert not applies(python.Requirement("a; sys_platform == 'win32'"), set())
    assert not applies(python.Requirement("a; extra == 'http2'"), set())
    assert applies(python.Requirement("a; extra == 'http2'"), {"http2"})
