"""kill -9 at random moments of a training that keeps the best step and may end early: the same model and log."""

import random
import time
from pathlib import Path

import polars as pl
import pytest

from tests.commands import Command
from tests.line.conftest import write_config, write_log
from tests.soaking import mostly_soaked
from tests.tiny import save_tiny_model
from thumbline.pipeline.config import load_config
from thumbline.pipeline.storage.manifests import partial_dir, read_manifest
from thumbline.pipeline.training.checkpoints import checkpoint_steps

_DEADLINE_SECONDS = 120.0
_KILLS = 2

# Small steps between everything, so that a kill may fall into any of it.
OFTEN = {
    "max_steps": 40,
    "epochs": 40,
    "batch_rows": 4,
    "validate_every": 2,
    "checkpoint_every": 3,
    "keep_checkpoints": 2,
}
STEEP = {"learning_rate": 0.01, "schedule": "constant", "keep": "best", "patience": 8}
TRAININGS = {
    "all weights, KTO": {"method": "kto", **OFTEN, **STEEP},
    "adapter, DPO": {"adapter": "lora", "lora": {"rank": 2, "alpha": 4}, "save": "adapter", **OFTEN, **STEEP},
    "PPO": {
        "method": "ppo",
        "rollouts": {"samples": 2, "max_new_tokens": 6, "minibatches": 2},
        **OFTEN,
        **STEEP,
        "best_by": "penalised_reward",
    },
}
# What scores the answers of methods that sample them.
BESIDE = {"PPO": {"thumbs": {"method": "reward_bce", "batch_rows": 64, "dtype": "float32", "device": "cpu"}}}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kill-training")
    save_tiny_model(folder / "model")
    write_log(folder / "thumbs.jsonl")
    return folder


def kill_after(config: Path, step: int, wait: float) -> int:
    """Start the run and kill it a moment after a checkpoint of this step or a later one; the last step on disk."""
    process = Command("run", config, "--until", "train")
    folder = partial_dir(load_config(config).run_dir / "train")
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while max(checkpoint_steps(folder), default=0) < step and process.is_running() and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(wait)
    process.kill()
    return max(checkpoint_steps(folder), default=0)


def finished(config: Path) -> dict[str, str]:
    """Digests of the trained model and of the tables beside it, once the run has come to its end."""
    code, errors = Command("run", config, "--until", "train").ended(300)
    assert code == 0, errors
    manifest = read_manifest(load_config(config).run_dir / "train")
    return {name: record.sha256 for name, record in manifest.outputs.items()} | manifest.files


def check_tracked(folder: Path, log: pl.DataFrame) -> None:
    """TensorBoard's files hold each value of the log once, whatever was being written when a signal came."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (found,) = folder.iterdir()
    events = EventAccumulator(str(found), size_guidance={"scalars": 0})
    events.Reload()
    for (phase, metric), rows in log.group_by("phase", "metric"):
        points = [(point.step, point.value) for point in events.Scalars(f"{phase}/{metric}")]
        values = rows.sort("step").select("step", pl.col("value").cast(pl.Float32)).rows()
        assert points == values, (phase, metric)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", mostly_soaked(TRAININGS, ["adapter, DPO"]))
def test_a_training_killed_at_random_moments_is_that_of_a_calm_run(place, name):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    sections = {"train": TRAININGS[name] | {"track": ["tensorboard"]}, **BESIDE.get(name, {})}
    calm, stormy = (
        write_config(place, place / "thumbs.jsonl", place / "model", name=f"{kind}-{name[:3]}", **sections)
        for kind in ("calm", "stormy")
    )
    expected = finished(calm)
    generator, reached = random.Random(name), [0]
    for _ in range(_KILLS):
        reached.append(kill_after(stormy, reached[-1] + generator.randint(1, 8), generator.random() * 0.2))
    # It was cut in training, and went on: not one kill before it, or all of them after.
    assert reached[1] > 0 and reached == sorted(reached)
    assert finished(stormy) == expected
    manifest = read_manifest(load_config(stormy).run_dir / "train")
    assert manifest.notes == read_manifest(load_config(calm).run_dir / "train").notes
    log = pl.read_parquet(load_config(stormy).run_dir / "train" / "training_log.parquet")
    assert log.select("step", "phase", "metric").is_unique().all()
    assert list((load_config(stormy).run_dir / "train").glob("*.pt")) == []
    check_tracked(load_config(stormy).run_dir / "tensorboard", log)
