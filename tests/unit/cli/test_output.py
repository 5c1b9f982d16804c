import io
import json

import pytest
import yaml

from moorage.cli.output import emit, fail, progress
from moorage.model.errors import QuotaExceeded

pytestmark = pytest.mark.unit

ROWS = [{"name": "demo", "nodes": 3, "reason": None}, {"name": "a-longer-name", "nodes": 1, "reason": "why"}]


def test_a_list_is_a_table_with_aligned_columns(capsys):
    emit("table", ROWS, ["name", "nodes"])
    assert capsys.readouterr().out.splitlines() == ["NAME            NODES", "demo            3", "a-longer-name   1"]


def test_an_empty_list_still_shows_what_would_be_there(capsys):
    emit("table", [], ["name", "nodes"])
    assert capsys.readouterr().out == "NAME   NODES\n"


def test_a_mapping_is_a_line_a_field_and_long_values_stay_in_their_column(capsys):
    emit("table", {"name": "demo", "node_addresses": {"a": "10.0.0.2", "b": "10.0.0.3"}})
    assert capsys.readouterr().out.splitlines() == [
        "name            demo",
        "node addresses  a: 10.0.0.2",
        "                b: 10.0.0.3",
    ]


def test_json_and_yaml_hold_every_key(capsys):
    emit("json", ROWS, ["name"])
    assert json.loads(capsys.readouterr().out) == ROWS
    emit("yaml", ROWS, ["name"])
    assert yaml.safe_load(capsys.readouterr().out) == ROWS


def test_an_error_says_what_and_what_next_and_keeps_stdout_clean(capsys):
    assert fail(QuotaExceeded("servers: 3 needed, 1 left", "delete a server")) == 6
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: servers: 3 needed, 1 left\n  try: delete a server\n"


def test_progress_off_a_terminal_is_a_line_a_step_and_no_step_twice():
    stream = io.StringIO()
    with progress(stream) as report:
        report("create the stack")
        report("create the stack")
        report("wait for nodes")
    lines = stream.getvalue().splitlines()
    assert [line.split("] ")[1] for line in lines] == ["create the stack", "wait for nodes"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work_that_fails(report):
    report("create the stack")
    raise RuntimeError("no")


def test_progress_on_a_terminal_marks_what_was_done_and_what_was_not():
    stream = Terminal()
    with progress(stream) as report:
        report("create the stack")
    assert "✓ create the stack" in stream.getvalue()
    stream = Terminal()
    with pytest.raises(RuntimeError), progress(stream) as report:
        work_that_fails(report)
    assert "✗ create the stack" in stream.getvalue()
