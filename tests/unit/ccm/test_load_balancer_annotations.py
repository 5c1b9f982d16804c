"""Every annotation of the table: read, refused or left out with a sentence; and the docs say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorage.ccm.load_balancers.annotations import INTERNAL, PREFIX, TABLE, ServiceOptions, read
from moorage.ccm.load_balancers.settings import AMPHORA, OVN
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[3] / "docs" / "load-balancers.md"
# A good value, what it becomes, and a bad value (None: any is good).
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
REFUSED = ("class", "default-tls-container-ref")


def full(name):
    return name if name == INTERNAL else PREFIX + name


def test_every_annotation_has_a_test():
    assert {row.name for row in TABLE} == set(ROWS)
    fields = [row.field for row in TABLE if row.field]
    assert sorted(fields) == sorted(vars(ServiceOptions()))


@pytest.mark.parametrize("row", [row for row in TABLE if row.field], ids=lambda row: row.name)
def test_read_valid_value_sets_option(row):
    text, value, _ = ROWS[row.name]
    reading = read({full(row.name): f" {text} "}, AMPHORA)
    assert getattr(reading.options, row.field) == value
    assert reading.refused == ()


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row[2] is not None])
def test_read_invalid_value_names_annotation(name):
    with pytest.raises(BadInput, match=name.rpartition("/")[2]) as refused:
        read({full(name): ROWS[name][2]}, AMPHORA)
    assert refused.value.hint


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("provider", [OVN, AMPHORA], ids=["ovn", "amphora"])
def test_read_unsupported_annotation_stops_service(name, provider):
    with pytest.raises(BadInput, match=f"{name} cannot be honoured"):
        read({full(name): "x"}, provider)


@pytest.mark.parametrize("row", [row for row in TABLE if row.needs], ids=lambda row: row.name)
def test_read_unsupported_by_provider_is_rejected(row):
    text, value, _ = ROWS[row.name]
    given = {full(row.name): "9" if value == -1 else text}
    if row.stops:
        with pytest.raises(BadInput, match="provider ovn does not support it"):
            read(given, OVN)
        return
    reading = read(given, OVN)
    assert reading.options == ServiceOptions()
    assert len(reading.refused) == 1
    assert full(row.name) in reading.refused[0]


@pytest.mark.parametrize("name", ["proxy-protocol", "x-forwarded-for"])
def test_read_disabled_option_needs_no_support(name):
    assert read({full(name): "false"}, OVN).refused == ()
    assert read({full("connection-limit"): "-1"}, OVN).refused == ()


@pytest.mark.parametrize("method", ["ROUND_ROBIN", "LEAST_CONNECTIONS"])
def test_read_algorithm_unsupported_by_ovn_is_rejected(method):
    with pytest.raises(BadInput, match="lb-method") as refused:
        read({full("lb-method"): method}, OVN)
    assert "SOURCE_IP_PORT" in refused.value.hint
    assert read({full("lb-method"): method}, AMPHORA).options.algorithm == method


def test_read_proxy_protocol_and_forwarded_for_exclude_each_other():
    with pytest.raises(BadInput, match="exclude each other"):
        read({full("proxy-protocol"): "true", full("x-forwarded-for"): "true"}, AMPHORA)


def test_read_unknown_annotation_is_reported_unless_foreign():
    reading = read({full("no-such"): "x", "example.org/no-such": "x"}, OVN)
    assert reading.options == ServiceOptions()
    assert [PREFIX + "no-such" in sentence for sentence in reading.refused] == [True]


def test_read_reports_all_ignored_annotations():
    reading = read({full("timeout-client-data"): "5", full("flavor-id"): "f"}, OVN)
    assert len(reading.refused) == 2


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_docs_have_annotation(row):
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{row.name}`")]
    assert len(lines) == 1
    assert lines[0].split("|")[2].strip() == row.honoured
    assert not row.needs or "not with `ovn`" in lines[0]


def test_docs_have_no_other_annotation():
    _, _, table = DOCS.read_text().partition("## Annotations")
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(TABLE)
