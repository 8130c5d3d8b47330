"""Several machines of a Ray cluster: one that is lost or has a full disk changes no byte."""

import json
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faults.failing_writes import compiled
from tests.line.test_ray import SIZES, config_of, digests
from thumbline.pipeline import line

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'thumbline[ray]'"),
]


def over_machines(place: Path, *arguments: str) -> dict:
    command = [sys.executable, "-m", "tests.ray_machines", str(place / "there.yaml"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_machine_that_is_lost_while_it_scores_loses_no_shard(tmp_path, small_log, tiny_model):
    here, _ = (config_of(tmp_path, small_log, tiny_model, name) for name in ("here", "there"))
    list(line.run(here, line.select(None, "reference"), sizes=SIZES))
    found = over_machines(tmp_path, "lost")
    assert found["lost"] >= 1 and found["digests"] == digests(here)


def test_a_full_disk_of_one_machine_is_told_and_the_run_goes_on_without_it(tmp_path, small_log, tiny_model):
    here, _ = (
        config_of(tmp_path, small_log, tiny_model, name, shuffle=str(tmp_path / "s")) for name in ("here", "there")
    )
    list(line.run(here, line.select(None, "splits"), sizes=SIZES))
    found = over_machines(tmp_path, "full", str(compiled(tmp_path)))
    assert found["said"].startswith(f"MachineError: on {socket.gethostname()}: {tmp_path / 's'}")
    assert "no space is left on the disk. Free some" in found["said"]
    assert found["digests"] == digests(here)
