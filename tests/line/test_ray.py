"""The line over a Ray cluster of this machine: the same bytes, whichever processes end, and nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.line.conftest import write_config
from tests.ray_tasks import Step, ended, listening, parent_of, processes, refused, wait_for, written
from thumbline.pipeline import line
from thumbline.pipeline.config import RunConfig, load_config
from thumbline.pipeline.context import BatchSizes, SilentReporter
from thumbline.pipeline.errors import InputError, PipelineError, TableError
from thumbline.pipeline.scale.tasks import RaySpread
from thumbline.pipeline.storage.manifests import read_manifest

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'thumbline[ray]'"),
]
# Several tasks of a log of a few hundred lines.
SIZES = BatchSizes(process_bytes=1)
SECTIONS = {"events": {"unit_bytes": 8192, "workers": 4}, "scale": {"workers": 2, "engines": 2, "engine_cpus": 1}}


def config_of(place: Path, log: Path, model: Path, name: str, **scale) -> RunConfig:
    """A run with a store of its own."""
    sections = SECTIONS | {"scale": SECTIONS["scale"] | scale, "reference": {"store": f"store-{name}"}}
    return load_config(write_config(place, log, model, name=name, **sections))


def folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("tl-ray-*"))


def begun_by(starter: int) -> list[Path]:
    """Folders of the clusters that a process has begun: other tests may run beside."""
    return [folder for folder in folders() if any(parent_of(pid) == starter for pid in processes(folder))]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def cluster(place, small_log, tiny_model) -> Iterator[tuple[RaySpread, Path]]:
    """A cluster that the tests of this module share, and its folder."""
    config = config_of(place, small_log, tiny_model, "shared", shuffle=str(place / "shuffle"))
    handler = signal.getsignal(signal.SIGTERM)
    with RaySpread(config) as spread:
        assert not begun_by(os.getpid()), "nothing is started before it is asked for"
        assert spread.place(place) == spread.place(place) != place
        assert spread.workers == 2 and spread.size.gpus == 0
        (folder,) = begun_by(os.getpid())
        assert signal.getsignal(signal.SIGTERM) is handler
        yield spread, folder
        alive = processes(folder)
    assert alive and all(map(ended, alive))
    assert not folder.exists() and not list((place / "shuffle").iterdir())


def digests(config: RunConfig) -> dict[str, str]:
    found = {}
    for stage in line.STAGE_NAMES:
        manifest = read_manifest(config.run_dir / stage)
        found |= {} if manifest is None else {name: record.sha256 for name, record in manifest.outputs.items()}
    return found


def test_results_come_in_order_and_a_task_whose_process_is_killed_is_done_again(cluster, tmp_path, capfd):
    spread, _ = cluster
    steps = [Step(number, tmp_path, kills=int(number == 4)) for number in range(9)]
    found = list(spread.map(written, steps, 4))
    assert found == [tmp_path / f"{number}.txt" for number in range(9)]
    assert [path.read_text() for path in found] == [f"{number} on 1 thread" for number in range(9)]
    assert (tmp_path / "4.begun").read_text() == "xx"
    assert capfd.readouterr() == ("", "")
    with pytest.raises(TableError, match="row 3 is broken"):
        list(spread.map(refused, range(100), 2))


def test_it_listens_on_loopback_and_leaves_no_token(cluster):
    _, folder = cluster
    assert listening(processes(folder)) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert not (Path.home() / ".ray").exists()


class Killing(SilentReporter):
    """Kills the process of an engine once a shard is scored."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.killed, self.advanced = folder, [], 0

    @contextmanager
    def progress(self, description, total, unit):
        def advance(units: int) -> None:
            if description != "reference log-probs":
                return
            self.advanced += units
            if not self.killed:
                self.killed = processes(self.folder, "ray::Member")[:1]
                os.kill(self.killed[0], signal.SIGKILL)

        yield advance


def test_the_line_gives_the_same_bytes_though_an_engine_is_killed(cluster, place, small_log, tiny_model, caplog):
    spread, folder = cluster
    here, there = (config_of(place, small_log, tiny_model, name) for name in ("here", "there"))
    stages = line.select(None, "reference")
    ran = [done.manifest for done in line.run(here, stages, sizes=SIZES)]
    reporter = Killing(folder)
    over = [done.manifest for done in line.run(there, stages, sizes=SIZES, spread=spread, reporter=reporter)]
    assert digests(there) == digests(here)
    assert [made.counts for made in over] == [made.counts for made in ran]
    assert reporter.killed and reporter.advanced == over[-1].notes["scored_tokens"]
    assert "A scoring engine ended" in caplog.text
    assert over[-1].notes["scored"] > 64
    wait_for(lambda: not processes(folder, "ray::Member"))


@pytest.fixture
def lost(cluster, monkeypatch) -> RaySpread:
    """The same cluster for a run whose folder no worker sees."""
    spread, _ = cluster
    monkeypatch.setattr(spread, "_shuffle", Path("/nowhere"))
    return spread


def test_a_worker_that_does_not_see_the_run_says_so(lost):
    with pytest.raises(InputError, match="does not see the folder /nowhere. Put the run, or scale.shuffle, on a disk"):
        list(lost.map(refused, range(4), 2))


def test_a_task_that_ends_its_process_each_time_is_told(cluster, tmp_path, monkeypatch):
    spread, _ = cluster
    monkeypatch.setattr(spread, "_config", spread._config.model_copy(update={"retries": 1}))
    with pytest.raises(PipelineError, match="ended 2 times without a result.*Lower scale.workers"):
        list(spread.map(written, [Step(0, tmp_path, kills=9), Step(1, tmp_path)], 2))


# Begins a run whose log is worth several tasks, and says so when it has a cluster.
COMMAND = """
import sys
from pathlib import Path
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.context import BatchSizes

config = load_config(Path(sys.argv[1]), ("scale.runner=ray",))
list(line.run(config, line.select(None, sys.argv[2]), sizes=BatchSizes(process_bytes=1)))
"""


def test_a_command_that_is_killed_leaves_no_process_and_goes_on(place, small_log, tiny_model):
    killed, calm = (config_of(place, small_log, tiny_model, name) for name in ("killed", "calm"))
    command = [sys.executable, "-c", COMMAND, str(place / "killed.yaml"), "splits"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wait_for(lambda: process.poll() is not None or any(processes(new, "raylet") for new in begun_by(process.pid)))
    (folder,) = begun_by(process.pid)
    alive = processes(folder)
    process.kill()
    process.wait()
    wait_for(lambda: not folder.exists())
    assert len(alive) >= 3 and all(map(ended, alive)) and not processes(folder)
    stages = line.select(None, "splits")
    list(line.run(killed, stages, sizes=SIZES))
    list(line.run(calm, stages, sizes=SIZES))
    assert digests(killed) == digests(calm)
    assert not list(killed.run_dir.glob("**/.buckets-*")) and not list(killed.run_dir.glob("*.partial"))
