import io
import json
import re

import pytest
import yaml

from moorage.cli import output
from moorage.cli.output import emit, fail, progress
from moorage.model.errors import QuotaExceeded
from waiting import until

pytestmark = pytest.mark.unit

ROWS = [{"name": "demo", "nodes": 3, "reason": None}, {"name": "a-longer-name", "nodes": 1, "reason": "why"}]


def test_list_is_an_aligned_table(capsys):
    emit("table", ROWS, ["name", "nodes"])
    assert capsys.readouterr().out.splitlines() == ["NAME            NODES", "demo            3", "a-longer-name   1"]


def test_empty_list_shows_header(capsys):
    emit("table", [], ["name", "nodes"])
    assert capsys.readouterr().out == "NAME   NODES\n"


def test_mapping_is_two_columns_with_wrapped_values(capsys):
    emit("table", {"name": "demo", "node_addresses": {"a": "10.0.0.2", "b": "10.0.0.3"}})
    assert capsys.readouterr().out.splitlines() == [
        "name            demo",
        "node addresses  a: 10.0.0.2",
        "                b: 10.0.0.3",
    ]


def test_json_and_yaml_have_every_key(capsys):
    emit("json", ROWS, ["name"])
    assert json.loads(capsys.readouterr().out) == ROWS
    emit("yaml", ROWS, ["name"])
    assert yaml.safe_load(capsys.readouterr().out) == ROWS


def test_error_is_on_stderr_with_hint(capsys):
    assert fail(QuotaExceeded("servers: 3 needed, 1 left", "delete a server")) == 6
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: servers: 3 needed, 1 left\n  try: delete a server\n"


def test_progress_without_terminal_prints_each_step_once():
    stream = io.StringIO()
    with progress(stream) as report:
        report("create the stack")
        report("create the stack")
        report("wait for nodes")
    lines = stream.getvalue().splitlines()
    assert [line.split("] ")[1] for line in lines] == ["create the stack", "wait for nodes"]


def test_progress_without_terminal_repeats_a_long_step(monkeypatch):
    monkeypatch.setattr(output, "REPEAT", 0.0)
    stream = io.StringIO()
    with progress(stream) as report:
        report("build Kubernetes")
        until(lambda: len(stream.getvalue().splitlines()) > 1)
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"\[ +\d+\.\d s\] build Kubernetes \(\d+ s\)", lines[1])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work_that_fails(report):
    report("create the stack")
    raise RuntimeError("no")


def test_progress_on_terminal_marks_done_and_failed_steps():
    stream = Terminal()
    with progress(stream) as report:
        report("create the stack")
    assert "✓ create the stack" in stream.getvalue()
    stream = Terminal()
    with pytest.raises(RuntimeError), progress(stream) as report:
        work_that_fails(report)
    assert "✗ create the stack" in stream.getvalue()
