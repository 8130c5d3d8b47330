"""What a cluster is asked for, what is refused before any work, and the process that clears up after a command."""

import errno
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ray_tasks import ended, wait_for
from thumbline.pipeline import libraries
from thumbline.pipeline.api.settings import NO_MODEL, placed_on, run_config
from thumbline.pipeline.cli.run import with_place
from thumbline.pipeline.config import ScaleConfig, build_config
from thumbline.pipeline.errors import ConfigError, InputError, MachineError, MissingDependencyError
from thumbline.pipeline.line import STAGES, check_run, select
from thumbline.pipeline.line.planning import json_settings
from thumbline.pipeline.scale import cluster, open_spread
from thumbline.pipeline.scale.guardian import Guardian, members, servers
from thumbline.pipeline.scale.tasks import _called
from thumbline.pipeline.workers import LocalSpread, available_cores


def config_with(place: Path, **scale):
    log = place / "log.jsonl"
    log.write_text("{}\n")
    return run_config([str(log)], place / "run", NO_MODEL, scale=scale)


def test_the_default_is_this_machine_and_an_option_and_an_argument_say_otherwise(tmp_path):
    config = config_with(tmp_path)
    with open_spread(config) as spread:
        assert isinstance(spread, LocalSpread) and spread.engines is None
        assert spread.workers == available_cores() and spread.place(tmp_path) == tmp_path
    assert with_place(["a=1"], None) == ["a=1"] and with_place(None, "ray") == ["scale.runner=ray"]
    assert placed_on(None) == {} and placed_on("ray") == {"scale.runner": "ray"}
    with pytest.raises(ConfigError, match=r"scale.runner.*'local' or 'ray'"):
        config_with(tmp_path, runner="spark")


def test_what_is_missing_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(libraries, "is_installed", lambda name: name != "ray")
    config = config_with(tmp_path, runner="ray")
    words = r"scale.runner: ray \(--on ray\) needs ray, which is not installed. Install with: .*thumbline\[ray\]"
    with pytest.raises(MissingDependencyError, match=words):
        check_run(config, select(None, "splits"))
    with pytest.raises(MissingDependencyError, match=words), open_spread(config):
        pass
    assert not config.run_dir.exists()


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        ({"address": "ray://head:10001"}, "is that of a client, which takes no part in the cluster"),
        ({"engine_gpus": 1.5}, "engine_gpus: 1.5 is neither a whole number nor a part of one GPU"),
        ({"workers": 0}, "scale.workers"),
        ({"retries": -1}, "scale.retries"),
    ],
)
def test_settings_that_do_not_hold_are_refused(tmp_path, scale, said):
    with pytest.raises(ConfigError, match=said):
        config_with(tmp_path, **scale)


def test_no_stage_s_fingerprint_hangs_on_where_it_runs():
    document = {"name": "run", "model": "demo", "events": {"inputs": ["log.jsonl"]}}
    here = build_config(document, origin="test")
    there = build_config(document | {"scale": {"runner": "ray", "workers": 64, "shuffle": "x"}}, origin="test")
    assert [json_settings(stage, here) for stage in STAGES] == [json_settings(stage, there) for stage in STAGES]


def test_a_cluster_of_one_s_own_has_room_for_what_is_asked():
    assert cluster.local_cpus(ScaleConfig()) == available_cores()
    assert cluster.local_cpus(ScaleConfig(workers=40, cpus=0.5)) == max(20, available_cores())
    assert cluster.local_cpus(ScaleConfig(engines=30, engine_cpus=2)) == max(60, available_cores())


def test_workers_get_the_user_s_environment_and_one_thread(monkeypatch):
    monkeypatch.setenv("_RJEM_MALLOC_CONF", "narenas:2")
    given = {"pip": ["six"], "env_vars": {"HF_HOME": "/x", "POLARS_MAX_THREADS": "2"}}
    made = cluster._runtime_env(ScaleConfig(runtime_env=given))
    variables = {"HF_HOME": "/x", "POLARS_MAX_THREADS": "2", "_RJEM_MALLOC_CONF": "narenas:2"}
    assert made == {"pip": ["six"], "env_vars": variables}
    assert cluster._runtime_env(ScaleConfig())["env_vars"]["POLARS_MAX_THREADS"] == "1"


def test_the_guardian_ends_what_has_a_file_of_the_cluster_open_and_nothing_else(tmp_path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    sleep = [sys.executable, "-S", "-c", "import time; print(1, flush=True); time.sleep(60)"]
    other = subprocess.Popen(sleep, stdout=subprocess.DEVNULL)
    # The command itself has a log of it open.
    with (folder / "driver.log").open("w"), (folder / "server.log").open("w") as log:
        guardian = Guardian(folder)
        server = subprocess.Popen(sleep, stdout=log)
        wait_for(lambda: (folder / "server.log").read_text() == "1\n")
        assert members(folder, 0) != members(folder, guardian.command) == [server.pid]
        guardian.close()
        assert ended(server.pid) and not ended(other.pid) and not folder.exists()
    other.kill()
    other.wait()
    server.wait()


@pytest.mark.parametrize(
    ("first", "told"), [("server", "Ray's own processes on this machine have ended"), ("ending", "")]
)
def test_the_guardian_tells_a_command_that_ends_after_its_servers_alone(tmp_path, capfd, first, told):
    """Ray ends it then by itself, in a way that Python does not see."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    raylet = tmp_path / "raylet"
    raylet.symlink_to(shutil.which("sleep"))
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([str(raylet), "60"], stdout=log)
    guardian = Guardian(folder)
    wait_for(lambda: servers(folder, guardian.command) == [server.pid])
    guardian.started()
    if first == "ending":
        guardian.ending()
    server.kill()
    server.wait()
    # Longer than a command that is killed with its servers takes.
    time.sleep(1.0)
    guardian.close()
    said = capfd.readouterr().err
    assert told in said and bool(told) == bool(said)


def test_the_guardian_says_nothing_of_a_command_that_is_killed(tmp_path, capfd):
    guardian = Guardian(tmp_path / "cluster")
    guardian.close()
    assert capfd.readouterr().err == ""


def test_a_cluster_that_does_not_start_is_told(monkeypatch):
    def slow(*_, **__):
        raise TimeoutError("The current node timed out during startup.\nThis could happen")

    monkeypatch.setattr(cluster, "_started", slow)
    ray = SimpleNamespace(shutdown=lambda: None, init=slow)
    told = (
        r"this machine's own: Ray is not to be reached: The current node timed out during startup. It was .*--on local"
    )
    with pytest.raises(ConfigError, match=told), cluster._own(ray, ScaleConfig(runner="ray")):
        pass
    joined = ScaleConfig(runner="ray", address="auto")
    with pytest.raises(ConfigError, match=r"scale.address: auto: .*`ray status` there"), cluster._joined(ray, joined):
        pass


def full(path: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def refused(_: str) -> None:
    raise InputError("line 3 is no JSON")


def test_what_goes_wrong_on_another_machine_names_it(tmp_path):
    place = str(tmp_path / "part")
    told = rf"^on {re.escape(socket.gethostname())}: {re.escape(place)}: no space is left on the disk. Free some"
    with pytest.raises(MachineError, match=told):
        _called(full, place, str(tmp_path), is_apart=True)
    with pytest.raises(OSError, match="No space left"):
        _called(full, place, str(tmp_path), is_apart=False)
    with pytest.raises(InputError, match="^line 3 is no JSON$"):
        _called(refused, place, str(tmp_path), is_apart=True)
    with pytest.raises(InputError, match="does not see the folder .*nowhere"):
        _called(refused, place, str(tmp_path / "nowhere"), is_apart=True)
