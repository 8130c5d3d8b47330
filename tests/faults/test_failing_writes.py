"""A disk that refuses: the command says so in one message, and run again it makes the same bytes."""

import shutil
from pathlib import Path

import pytest

from tests.faults.write_campaigns import COMMANDS, campaigns, results, write_inputs

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="steps are failed by a library in C")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_write_that_fails_is_one_message_and_the_next_run_makes_the_same_bytes(tmp_path: Path) -> None:
    # Of 550: early, in the midst of the stages, and while the data set is written; `make soak` tries all.
    chosen = {"steps": [2, 260, 470], "errors": ["EROFS", "ENOSPC", "EIO"], "most_bytes": [9_000]}
    write_inputs(tmp_path)
    (found,) = results(tmp_path, campaigns(tmp_path, ["prepare"], **chosen))
    assert found["steps"] > 400 and found["tried"] == 4
    assert found["faults"] == []
    assert found["ended_well"] == 0


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_step_of_a_command_may_fail(tmp_path: Path, command: str) -> None:
    write_inputs(tmp_path)
    faults = [
        (one["name"], fault) for one in results(tmp_path, campaigns(tmp_path, [command])) for fault in one["faults"]
    ]
    assert faults == []
