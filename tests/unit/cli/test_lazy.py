"""`thumbline --help` imports no command, and says of each what the command says of itself."""

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from thumbline.pipeline.cli.main import app

LAZY = get_command(app).lazy


@pytest.mark.parametrize("name", LAZY)
def test_the_first_line_of_its_help_is_the_command_s_own(name):
    own = LAZY[name].load(name)
    assert own.name == name
    assert " ".join(own.help.split("\n\n")[0].split()) == LAZY[name].summary


def test_help_lists_all_commands_and_imports_none_of_them():
    script = (
        "import sys; sys.argv = ['thumbline', '--help']; import atexit; from thumbline.pipeline.cli.launch import main;"
        "atexit.register(lambda: print('imported:', *sorted(n for n in ('polars', 'pydantic', 'numpy', 'yaml')"
        " if n in sys.modules))); main()"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert [name for name in get_command(app).commands if f"│ {name} " not in shown] == []
    assert shown.splitlines()[-1] == "imported:"


def test_a_lazy_command_has_its_options_and_a_group_its_commands():
    assert "--fail-under" in CliRunner().invoke(app, ["evaluate", "--help"]).output
    assert "verify" in CliRunner().invoke(app, ["reference", "--help"]).output
    assert (
        "Usage: thumbline reference verify"
        in CliRunner().invoke(app, ["reference", "verify", "--help"], prog_name="thumbline").output
    )


def test_an_unknown_command_is_told_with_the_nearest():
    told = CliRunner().invoke(app, ["evaluat", "x"])
    assert told.exit_code == 2
    assert "No such command 'evaluat'. Did you mean 'evaluate'?" in told.output
