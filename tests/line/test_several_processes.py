"""The command as torchrun starts it: the first process runs the line, the others train with it, and all of them end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from tests.line.conftest import write_config, write_log
from tests.tiny import save_tiny_model
from thumbline.pipeline.config import load_config
from thumbline.pipeline.storage.manifests import partial_dir, read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_DEADLINE_SECONDS = 240.0


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    save_tiny_model(folder / "model")
    write_log(folder / "thumbs.jsonl")
    return folder


def config_of(place: Path, name: str, **train) -> Path:
    settings = {"method": "kto", "distributed": "fsdp"} | train
    return write_config(place, place / "thumbs.jsonl", place / "model", name=name, train=settings)


def start(config: Path, *options: str, processes: int = 2) -> subprocess.Popen:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] * (processes > 1)
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "thumbline", "run", str(config), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, errors = process.communicate(timeout=_DEADLINE_SECONDS)
    return process.returncode, out, errors


def training_log(config: Path) -> pl.DataFrame:
    return pl.read_parquet(load_config(config).run_dir / "train" / "training_log.parquet")


def files(config: Path) -> dict[str, str]:
    manifest = read_manifest(load_config(config).run_dir / "train")
    assert manifest is not None
    return {name: record.sha256 for name, record in manifest.outputs.items()} | manifest.files


@pytest.fixture(scope="module")
def calm(place) -> tuple[Path, str]:
    """A run in two processes that nothing disturbs, and what it printed."""
    config = config_of(place, "calm")
    code, out, errors = finish(start(config))
    assert code == 0, errors
    return config, out


def process_of(config: Path, rank: int) -> int | None:
    """The process of a command that torchrun numbered so."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = ((folder / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if str(config).encode() in command and f"RANK={rank}".encode() in variables:
            return int(folder.name)
    return None


def kill_in_training(config: Path, rank: int) -> None:
    """Start a run and kill one of its processes once it has written a checkpoint of its own."""
    process = start(config, "--until", "train")
    folder = partial_dir(load_config(config).run_dir / "train")
    before, deadline = set(folder.glob("shards-*[0-9]")), time.monotonic() + _DEADLINE_SECONDS
    while not set(folder.glob("shards-*[0-9]")) - before:
        assert process.poll() is None and time.monotonic() < deadline, finish(process)
        time.sleep(0.005)
    found = process_of(config, rank)
    assert found is not None
    os.kill(found, signal.SIGKILL)
    code, _, errors = finish(process)
    assert code != 0
    # Nobody is left behind, and who is left says nothing but that it cannot go on.
    assert process_of(config, 0) is None and process_of(config, 1) is None
    assert errors.count("\nerror: ") <= 1


def test_the_whole_line_in_two_processes_gives_the_numbers_of_one(place, calm):
    config, out = calm
    alone = config_of(place, "alone")
    code, _, errors = finish(start(alone, "--until", "train", processes=1))
    assert code == 0, errors
    both = training_log(alone).join(training_log(config), on=["step", "phase", "metric"], how="full", coalesce=True)
    assert both["value"].null_count() == both["value_right"].null_count() == 0
    # Tokens that are computed, padding and stand-ins among them, differ; what is learnt does not.
    both = both.filter(~pl.col("metric").is_in(["computed_tokens"]))
    assert both.filter((pl.col("value") - pl.col("value_right")).abs() > 1e-4 * (1 + pl.col("value").abs())).is_empty()
    # One process speaks, and its report is made of what all of them trained.
    assert out.count("responses ") == 1
    run_dir = load_config(config).run_dir
    assert f"Report: {run_dir / 'report' / 'report.html'}" in out.replace("\n", "")
    notes = read_manifest(run_dir / "train").notes
    assert (notes["processes"], notes["distributed"]) == (2, "fsdp")


@pytest.mark.soak
def test_a_run_whose_processes_are_killed_ends_with_the_bytes_of_a_calm_one(place, calm):
    stormy = config_of(place, "stormy")
    kill_in_training(stormy, rank=1)
    kill_in_training(stormy, rank=0)
    code, _, errors = finish(start(stormy, "--until", "train"))
    assert code == 0, errors
    assert files(stormy) == files(calm[0])
    assert [path.name for path in load_config(stormy).run_dir.glob("train/shards-*")] == []


@pytest.mark.soak
def test_a_run_with_nothing_to_do_lets_the_other_process_go(calm):
    code, out, errors = finish(start(calm[0]))
    assert code == 0, errors
    assert "Nothing to do" in out


def test_a_training_that_cannot_go_on_is_said_once_and_ends_all(place):
    config = config_of(place, "bad", method="dpo", distributed="ddp", learning_rate=1e30)
    code, _, errors = finish(start(config))
    assert code == 1
    assert errors.count("is not finite") == 1
    # The launcher shows a traceback of its own; those of the processes bear their number.
    assert "[rank" not in errors


@pytest.mark.soak
def test_settings_that_processes_cannot_share_are_refused_once(place):
    config = config_of(place, "whole", loss={"reduction": "classes"}, batch_rows=4)
    code, _, errors = finish(start(config))
    assert code == 1
    assert errors.count("compares the rows of a step with each other in one forward pass, which several") == 1
