"""Which Python libraries a node gets."""

from __future__ import annotations

import pytest

from moorage.image import python

pytestmark = pytest.mark.unit


def names():
    return [each.partition("==")[0] for each in python.requirements()]


def test_what_the_programs_of_a_node_import_and_what_that_needs():
    assert {"keystoneauth1", "lightkube", "grpcio", "protobuf", "click", "prometheus-client"} <= set(names())
    assert {"requests", "lightkube-models"} <= set(names()), "also what those need"


def test_not_what_debian_has_nor_what_only_a_person_needs():
    assert not {"pyyaml", "cryptography", "openstacksdk", "rich", "nova", "pytest"} & set(names())


def test_each_with_its_version():
    assert all(each.partition("==")[2] for each in python.requirements())


def test_a_requirement_counts_where_its_marker_says_so():
    applies = python._applies
    assert applies(python.Requirement("a"), set())
    assert not applies(python.Requirement("a; sys_platform == 'win32'"), set())
    assert not applies(python.Requirement("a; extra == 'http2'"), set())
    assert applies(python.Requirement("a; extra == 'http2'"), {"http2"})
