"""Campaigns of kills over a Ray cluster: commands, workers, engines and machines end; the bytes are a calm run's."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.line.test_ray import COMMAND, config_of, digests, folders
from tests.ray_tasks import Step, command_of, ended, processes, slowly_written, wait_for
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.scale.tasks import RaySpread

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(6 * 3600),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'thumbline[ray]'"),
]
KILLS = int(os.environ.get("RAY_KILLS", "200"))
# Share of the kills that wait for an engine first.
IN_SCORING = 0.3


def test_kills_at_random_moments_leave_no_trace(tmp_path, small_log, tiny_model):
    """Of commands, workers and engines alike; a run that is through begins anew, with a store of its own."""
    assert not folders(), "a cluster of another command would be killed as well"
    calm = config_of(tmp_path, small_log, tiny_model, "calm")
    list(line.run(calm, line.select(None, "policy")))
    generator, killed, rounds, in_scoring = random.Random(0), 0, 0, 0
    while killed < KILLS:
        stormy = config_of(tmp_path, small_log, tiny_model, f"stormy-{rounds}", restarts=1000, retries=1000)
        rounds += 1
        while True:
            command = [sys.executable, "-c", COMMAND, str(tmp_path / f"{stormy.name}.yaml"), "policy"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            finished = {stage: path_of(stormy, stage).exists() for stage in line.STAGE_NAMES}
            times = {stage: path_of(stormy, stage).stat().st_mtime_ns for stage in finished if finished[stage]}
            while process.poll() is None and killed < KILLS:
                # The moment of a kill is drawn, so the clock is waited for; of a kill in scoring, which is a small part
                # of the time and where the money goes, once an engine is there.
                if generator.random() < IN_SCORING:
                    while process.poll() is None and not workers("ray::Member"):
                        time.sleep(0.05)
                    time.sleep(generator.expovariate(2))
                else:
                    time.sleep(generator.expovariate(1 / 4))
                victims = workers("ray::")
                victim = process.pid if not victims or generator.random() < 0.5 else generator.choice(victims)
                if ended(victim) or process.poll() is not None:
                    continue
                in_scoring += bool(workers("ray::Member"))
                os.kill(victim, signal.SIGKILL)
                killed += 1
            code = process.wait()
            wait_for(lambda: not folders())
            # What was finished has not run again.
            assert {stage: path_of(stormy, stage).stat().st_mtime_ns for stage in times} == times
            if code == 0:
                break
            assert code == -signal.SIGKILL, process.stderr.read().decode() if process.stderr else ""
        assert digests(stormy) == digests(calm)
        assert not list(stormy.run_dir.glob("*.partial")) and not list(stormy.run_dir.rglob(".buckets-*"))
    assert in_scoring >= KILLS // 10


def path_of(config, stage: str) -> Path:
    return config.run_dir / stage / "manifest.json"


def workers(name: str) -> list[int]:
    """Processes of the clusters that are there whose command holds a name, but for Ray's own agents.

    With an agent Ray ends its machine, which here is the only one, and the command with it.
    """
    found = [pid for folder in folders() for pid in processes(folder, name)]
    return [pid for pid in found if "Agent" not in command_of(pid)]


def test_a_machine_that_is_lost_takes_no_task_along(tmp_path, small_log, tiny_model):
    """Several machines of Ray on this one; one is killed while it works."""
    from ray.cluster_utils import Cluster

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        lost = machines.add_node(num_cpus=1)
        machines.add_node(num_cpus=1)
        machines.wait_for_nodes()
        config = config_of(tmp_path, small_log, tiny_model, "machines", address=machines.address, workers=3)
        config.run_dir.mkdir(parents=True)
        with RaySpread(config) as spread:
            assert spread.size.cpus == 3
            steps = [Step(number, tmp_path) for number in range(12)]

            def kill() -> None:
                # Each machine has begun one.
                wait_for(lambda: len(list(tmp_path.glob("*.begun"))) >= 3)
                machines.remove_node(lost, allow_graceful=False)

            killer = threading.Thread(target=kill)
            killer.start()
            found = list(spread.map(slowly_written, steps, 3))
            killer.join()
        assert [path.read_text() for path in found] == [f"{number} on 1 thread" for number in range(12)]
        assert sum(path.stat().st_size for path in tmp_path.glob("*.begun")) > 2 * len(steps), "a task was begun again"
    finally:
        machines.shutdown()


def test_a_run_that_was_killed_while_it_scored_goes_on_from_its_store(tmp_path, small_log, tiny_model):
    killed, calm = (config_of(tmp_path, small_log, tiny_model, name, engines=1) for name in ("killed", "calm"))
    before, store = folders(), Path(killed.store)
    command = [sys.executable, "-m", "thumbline", "run", str(tmp_path / "killed.yaml"), "--on", "ray"]
    process = subprocess.Popen([*command, "--until", "reference"], stdout=subprocess.DEVNULL)
    wait_for(lambda: process.poll() is not None or bool(list(store.glob("*/*.parquet"))))
    process.kill()
    process.wait()
    wait_for(lambda: not folders() - before)
    stages = line.select(None, "reference")
    (*_, last) = line.run(load_config(tmp_path / "killed.yaml", ("scale.runner=ray",)), stages)
    assert last.manifest.notes["stored"] > 0
    list(line.run(calm, stages))
    assert digests(killed) == digests(calm)
