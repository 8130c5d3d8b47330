"""How the command ends that is stopped from outside, and how much it says."""

import json
import logging
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from thumbline.pipeline.cli import main, terminal
from thumbline.pipeline.cli.ending import Terminated
from thumbline.pipeline.errors import ConfigError

KEPT = "Finished stages are kept; the same command resumes."


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    yield
    terminal.notes.quiet = False
    logging.getLogger("thumbline").setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
def test_a_stopped_command_says_what_is_kept_and_ends_as_shells_expect(tmp_path, number, code, word):
    rows = ({"prompt": f"What is {n}?", "response": f"It is {n}.", "feedback": "up"} for n in range(60_000))
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [sys.executable, "-m", "thumbline.pipeline.cli.main", "prepare", "log.jsonl", "-o", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "events.partial").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (code, f"{word} {KEPT}\n")


@pytest.mark.parametrize(
    ("stopped", "command", "code", "said"),
    [
        (KeyboardInterrupt(), "run x", 130, f"Interrupted. {KEPT}\n"),
        (Terminated(), "train x -m demo -o out", 143, f"Terminated. {KEPT}\n"),
        (Terminated(), "compare-methods x", 143, f"Terminated. {KEPT}\n"),
        (Terminated(), "annotation-curve x --grid 1", 143, f"Terminated. {KEPT}\n"),
        (Terminated(), "next-round x", 143, f"Terminated. {KEPT}\n"),
        (
            KeyboardInterrupt(),
            "evaluate x",
            130,
            "Interrupted. What has been scored is kept; the same command goes on from there.\n",
        ),
        (KeyboardInterrupt(), "status x", 130, "Interrupted.\n"),
    ],
)
def test_what_is_kept_hangs_on_the_command(monkeypatch, stopped, command, code, said):
    def stop(*_, **__):
        raise stopped

    monkeypatch.setattr("typer.core.TyperCommand.invoke", stop)
    result = CliRunner().invoke(main.app, command.split())
    assert (result.exit_code, result.stderr) == (code, said)


def test_the_version_is_told():
    result = CliRunner().invoke(main.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"thumbline {version('thumbline')}\n")


def test_quiet_and_verbose_cannot_both_be_and_each_is_of_its_own_command():
    refused = CliRunner().invoke(main.app, ["-q", "-v", "losses"])
    assert isinstance(refused.exception, ConfigError) and "give one of them" in str(refused.exception)
    CliRunner().invoke(main.app, ["-q", "losses"])
    assert terminal.notes.quiet
    CliRunner().invoke(main.app, ["-v", "losses"])
    assert not terminal.notes.quiet and logging.getLogger("thumbline").level == logging.INFO
    CliRunner().invoke(main.app, ["losses"])
    assert logging.getLogger("thumbline").level == logging.NOTSET
