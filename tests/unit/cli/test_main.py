import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from moorage.cli.main import COMMANDS, cli
from moorage.config import Paths

pytestmark = pytest.mark.unit


def run(*words, env=None):
    return subprocess.run(
        [sys.executable, "-m", "moorage.bootstrap", *words], capture_output=True, text=True, env=env, check=False
    )


def test_help_lists_commands_and_exit_codes():
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"\n  {command} " in shown for command in COMMANDS)
    assert "6 quota too small" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Commands:" in shown.output or "Example:" in shown.output


def test_help_imports_no_openstack():
    probe = (
        "import sys; from click.testing import CliRunner; from moorage.cli.main import cli\n"
        "CliRunner().invoke(cli, ['cluster', 'create', '--help'])\n"
        "sys.exit(any(m.split('.')[0] in ('openstack', 'lightkube', 'nova') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_unknown_command_exits_with_2():
    shown = run("clutser")
    assert shown.returncode == 2
    assert "clutser" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_paths_come_from_the_environment():
    paths = Paths.from_environment({"HOME": "/home/ann", "MOORAGE_STATE": "/srv/m"})
    assert paths == Paths(
        Path("/home/ann/.cache/moorage"), Path("/srv/m"), Path("/run/moorage"), Path("/home/ann/.local/share/moorage")
    )
