"""What a run's folder says of the process that runs in it, and of the one that ended."""

import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.errors import BusyError, TrainingError
from thumbline.pipeline.line import locked, read_activity
from thumbline.pipeline.line.activity import followed
from thumbline.pipeline.line.locking import is_locked


def at_step_40(run_dir, error=None):
    """Training that stands still at a step, or ends there."""
    with (
        locked(run_dir),
        followed(run_dir, SilentReporter()) as reporter,
        reporter.stage("train"),
        reporter.progress("training (dpo)", 110, "steps") as advance,
    ):
        advance(0)
        for _ in range(40):
            time.sleep(0.001)
            advance(1)
        reporter.note("loss 0.61")
        reporter.keep()
        if error is not None:
            raise error
        return read_activity(run_dir)


def test_a_run_in_progress_says_how_far_it_is(tmp_path):
    found = at_step_40(tmp_path)
    assert (found.state, found.process, found.host) == ("running", os.getpid(), platform.node())
    assert found.words() == "running, train step 40 of 110, 0 s left" and found.note == "loss 0.61"
    assert 0 < found.seconds_left < 30
    # One that finished leaves nothing but its lock.
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert read_activity(tmp_path) is None


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (TrainingError("the loss of step 41 is not finite"), "failed", "the loss of step 41 is not finite"),
        (TrainingError("no answer at https://ann:pass@host/x"), "failed", "no answer at https://(kept secret)@host/x"),
        (TrainingError("\udcff.parquet: cut"), "failed", r"\udcff.parquet: cut"),
        (KeyboardInterrupt(), "interrupted", None),
        (MemoryError("much"), "failed", "MemoryError"),
    ],
)
def test_how_a_run_ended_stays(tmp_path, error, state, told):
    with pytest.raises(type(error)):
        at_step_40(tmp_path, error)
    found = read_activity(tmp_path)
    assert (found.state, found.error) == (state, told)
    assert found.words() == f"{state} at {found.updated_at} in train step 40 of 110"


KILLED = """
import time
from pathlib import Path
from tests.unit.line.test_activity import locked, followed, SilentReporter

with locked(Path.cwd()), followed(Path.cwd(), SilentReporter()) as reporter, reporter.stage("pairs"):
    print("there", flush=True)
    time.sleep(60)
"""


def test_a_killed_run_is_told_from_one_that_runs_by_its_lock(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout.readline() == "there\n"
    assert is_locked(tmp_path)
    assert read_activity(tmp_path).words() == "running, pairs"
    with (
        pytest.raises(BusyError, match=f"another process is running this run.*thumbline status {tmp_path}"),
        locked(tmp_path),
    ):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not is_locked(tmp_path)
    found = read_activity(tmp_path)
    assert (found.state, found.process) == ("killed", process.pid)


def test_what_is_no_state_says_nothing_and_a_full_disk_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / ".activity.json").write_text("{")
    assert read_activity(tmp_path) is None

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thumbline.pipeline.line.activity.write_passing", refuse)
    with locked(tmp_path), followed(tmp_path, SilentReporter()) as reporter, reporter.stage("train"):
        pass


def test_a_pipe_in_place_of_what_is_said_says_nothing(tmp_path):
    os.mkfifo(tmp_path / ".activity.json")
    assert read_activity(tmp_path) is None
