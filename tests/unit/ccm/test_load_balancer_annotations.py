"""Every annotation of the table is parsed, rejected or ignored with a warning, as the documentation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorage.ccm.load_balancers.annotations import INTERNAL, PREFIX, TABLE, ServiceOptions, parse_annotations
from moorage.ccm.load_balancers.settings import AMPHORA, OVN
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[3] / "docs" / "load-balancers.md"
# A valid value, its parsed value, and an invalid value (None: every value is valid).
ROWS = {
    INTERNAL: ("true", True, "yes"),
    "floating-network-id": ("net", "net", ""),
    "floating-subnet": ("sub", "sub", "sub*"),
    "floating-subnet-id": ("id", "id", ""),
    "floating-subnet-tags": ("a, b", ("a", "b"), "&a,b"),
    "keep-floatingip": ("TRUE", True, "1"),
    "network-id": ("net", "net", ""),
    "subnet-id": ("sub", "sub", ""),
    "port-id": ("port", "port", ""),
    "member-subnet-id": ("sub", "sub", ""),
    "load-balancer-id": ("lb", "lb", ""),
    "hostname": ("h.example.org", "h.example.org", ""),
    "node-selector": ("a=b,c", (("a", "b"), ("c", "")), "=b"),
    "lb-method": ("SOURCE_IP", "SOURCE_IP", "FASTEST"),
    "connection-limit": ("-1", -1, "-2"),
    "timeout-client-data": ("50000", 50000, "5s"),
    "timeout-member-connect": ("5000", 5000, "-1"),
    "timeout-member-data": ("0", 0, "many"),
    "timeout-tcp-inspect": ("7", 7, ""),
    "proxy-protocol": ("v2", "PROXYV2", "v3"),
    "x-forwarded-for": ("true", True, "yes"),
    "flavor-id": ("flavor", "flavor", ""),
    "availability-zone": ("az", "az", ""),
    "enable-health-monitor": ("false", False, "no"),
    "health-monitor-delay": ("5", 5, "0"),
    "health-monitor-timeout": ("3", 3, "0"),
    "health-monitor-max-retries": ("10", 10, "11"),
    "health-monitor-max-retries-down": ("1", 1, "0"),
    "load-balancer-address": ("10.0.0.1", None, ""),
    "class": ("dmz", None, None),
    "default-tls-container-ref": ("https://x", None, None),
}
UNSUPPORTED = ("class", "default-tls-container-ref")


def full_name(name):
    return name if name == INTERNAL else PREFIX + name


def test_table_rows_are_all_tested_here():
    assert {row.name for row in TABLE} == set(ROWS)
    fields = [row.field for row in TABLE if row.field]
    assert sorted(fields) == sorted(vars(ServiceOptions()))


@pytest.mark.parametrize("row", [row for row in TABLE if row.field], ids=lambda row: row.name)
def test_parse_valid_value_sets_option(row):
    text, value, _ = ROWS[row.name]
    parsed = parse_annotations({full_name(row.name): f" {text} "}, AMPHORA)
    assert getattr(parsed.options, row.field) == value
    assert parsed.warnings == ()


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row[2] is not None])
def test_parse_invalid_value_names_annotation(name):
    with pytest.raises(BadInput, match=name.rpartition("/")[2]) as error:
        parse_annotations({full_name(name): ROWS[name][2]}, AMPHORA)
    assert error.value.hint


@pytest.mark.parametrize("name", UNSUPPORTED)
@pytest.mark.parametrize("provider", [OVN, AMPHORA], ids=["ovn", "amphora"])
def test_parse_unsupported_annotation_visible_to_clients_raises(name, provider):
    with pytest.raises(BadInput, match=f"{name} is not supported"):
        parse_annotations({full_name(name): "x"}, provider)


@pytest.mark.parametrize("row", [row for row in TABLE if row.needs], ids=lambda row: row.name)
def test_parse_annotation_unsupported_by_provider_warns_or_raises(row):
    text, value, _ = ROWS[row.name]
    annotations = {full_name(row.name): "9" if value == -1 else text}
    if row.rejects:
        with pytest.raises(BadInput, match="provider ovn does not support it"):
            parse_annotations(annotations, OVN)
        return
    parsed = parse_annotations(annotations, OVN)
    assert parsed.options == ServiceOptions()
    assert len(parsed.warnings) == 1
    assert full_name(row.name) in parsed.warnings[0]


@pytest.mark.parametrize("name", ["proxy-protocol", "x-forwarded-for"])
def test_parse_unsupported_annotation_with_default_value_gives_no_warning(name):
    assert parse_annotations({full_name(name): "false"}, OVN).warnings == ()
    assert parse_annotations({full_name("connection-limit"): "-1"}, OVN).warnings == ()


@pytest.mark.parametrize("method", ["ROUND_ROBIN", "LEAST_CONNECTIONS"])
def test_parse_algorithm_unsupported_by_ovn_raises(method):
    with pytest.raises(BadInput, match="lb-method") as error:
        parse_annotations({full_name("lb-method"): method}, OVN)
    assert "SOURCE_IP_PORT" in error.value.hint
    assert parse_annotations({full_name("lb-method"): method}, AMPHORA).options.algorithm == method


def test_parse_proxy_protocol_with_forwarded_for_raises():
    with pytest.raises(BadInput, match="exclude each other"):
        parse_annotations({full_name("proxy-protocol"): "true", full_name("x-forwarded-for"): "true"}, AMPHORA)


def test_parse_unknown_annotation_warns_only_with_our_prefix():
    parsed = parse_annotations({full_name("no-such"): "x", "example.org/no-such": "x"}, OVN)
    assert parsed.options == ServiceOptions()
    assert [PREFIX + "no-such" in warning for warning in parsed.warnings] == [True]


def test_parse_several_ignored_annotations_warns_of_each():
    parsed = parse_annotations({full_name("timeout-client-data"): "5", full_name("flavor-id"): "f"}, OVN)
    assert len(parsed.warnings) == 2
    assert all("provider ovn does not support it" in warning for warning in parsed.warnings)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_docs_table_has_row(row):
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{row.name}`")]
    assert len(lines) == 1
    assert lines[0].split("|")[2].strip() == row.supported
    assert not row.needs or "not with `ovn`" in lines[0]


def test_docs_table_has_no_other_rows():
    _, _, table = DOCS.read_text().partition("## Annotations")
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(TABLE)
