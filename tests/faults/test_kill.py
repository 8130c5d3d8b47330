"""kill -9 in every stage, run again: the tables are those of an undisturbed run, byte for byte."""

import multiprocessing
import random
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from tests.commands import Command
from tests.engine_inputs import random_sequences, score_all, sequences_table
from tests.line.conftest import write_config, write_log
from tests.tiny import save_tiny_model
from thumbline.pipeline import line
from thumbline.pipeline.config import EngineConfig, load_config
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.store import LogpsStore
from thumbline.pipeline.storage.folders import open_folder
from thumbline.pipeline.storage.manifests import partial_dir, read_manifest

_DEADLINE_SECONDS = 120.0


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    save_tiny_model(folder / "model")
    write_log(folder / "thumbs.jsonl")
    (folder / "taste.py").write_text("def is_short(completion):\n    return len(completion) < 20\n")
    return folder


def config_of(place: Path, name: str) -> Path:
    """A run that does all that the line can: it learns a thumbs model, samples, and judges."""
    # A store of its own for each run: what one run stored must not spare the other its work.
    sections = {
        "reference": {"store": f"store-{name}"},
        "thumbs": {"method": "both", "device": "cpu"},
        "generations": {"samples": 2, "max_new_tokens": 8, "batch_prompts": 2, "engine": "hf"},
        "judges": [{"judge": "taste.py:is_short"}, {"judge": "thumbs"}],
    }
    return write_config(place, place / "thumbs.jsonl", place / "model", name=name, **sections)


def digests(config: Path) -> dict[str, str]:
    """Content of every table, and of the trained model."""
    loaded = load_config(config)
    found = {}
    for stage in line.STAGE_NAMES[:-1]:
        manifest = read_manifest(loaded.run_dir / stage)
        assert manifest is not None, stage
        found |= {name: record.sha256 for name, record in manifest.outputs.items()} | manifest.files
    return found


def finish(config: Path) -> None:
    code, errors = Command("run", config).ended(600)
    assert code == 0, errors


def kill_within(config: Path, stage: str) -> bool:
    """Start the run, kill it inside `stage`, and say whether the stage was cut short."""
    process = Command("run", config)
    folder = load_config(config).run_dir / stage
    # Stages with work to lose are killed once they have some on disk, the others as soon as they begin.
    sign = "checkpoint-*.pt" if stage == "train" else ".fingerprint"
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not list(partial_dir(folder).glob(sign)) and process.is_running() and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.kill()
    return read_manifest(folder) is None


# Those whose work takes longest, and where a kill leaves most behind; between them each stage is finished once.
WITH_WORK = ("thumbs", "reference", "train", "generations")


def check_kills(place: Path, name: str, stages: Sequence[str]) -> dict[str, bool]:
    """Kill a run in these stages, hold what it ends with against a calm one, and say which stages were cut short."""
    calm, stormy = config_of(place, f"calm-{name}"), config_of(place, f"stormy-{name}")
    finish(calm)
    cut_short = {stage: kill_within(stormy, stage) for stage in stages}
    finish(stormy)
    assert digests(stormy) == digests(calm)
    run_dir = load_config(stormy).run_dir
    assert [path.name for path in run_dir.glob("*.partial")] == []
    assert all(cut_short[stage] for stage in WITH_WORK), cut_short
    return cut_short


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stages_with_work_can_be_killed_without_a_trace(place):
    check_kills(place, "work", WITH_WORK)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_every_stage_can_be_killed_without_a_trace(place):
    cut_short = check_kills(place, "all", line.STAGE_NAMES)
    # A stage of milliseconds may finish before the signal lands; those with real work must have been cut.
    assert sum(cut_short.values()) >= len(line.STAGES) - 4, cut_short


def score_into(root: Path, model: Path, rows: Path) -> None:
    """The reference log-probs of a table by a real engine, into a store; what is killed."""
    config = EngineConfig(engine="hf", dtype="float32", batch_tokens=512)
    stores = {"transformers": LogpsStore(open_folder(root), {"route": "transformers"})}
    score_all(pl.read_parquet(rows), stores, lambda: HFEngine(model, config), 4)


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.parquet")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_store_filled_between_kills_at_random_moments_is_that_of_a_calm_run(place, tmp_path):
    table = sequences_table(random_sequences(160, 200, longest=60))
    table.write_parquet(tmp_path / "rows.parquet")
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    score_into(calm, place / "model", tmp_path / "rows.parquet")
    generator, context, progress = random.Random(0), multiprocessing.get_context("spawn"), [0]
    while progress[-1] < len(files(calm)):
        process = context.Process(target=score_into, args=(stormy, place / "model", tmp_path / "rows.parquet"))
        process.start()
        aim = progress[-1] + generator.randint(8, 18)
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while len(files(stormy)) < aim and process.is_alive() and time.monotonic() < deadline:
            time.sleep(generator.random() * 0.003)
        # Anywhere between one shard and the next: while computing, writing, renaming.
        time.sleep(generator.random() * 0.01)
        process.kill()
        process.join()
        progress.append(len(files(stormy)))
    assert len(progress) > 3, progress
    assert progress == sorted(progress)
    assert files(stormy) == files(calm)
    score_into(stormy, place / "model", tmp_path / "rows.parquet")
    assert files(stormy) == files(calm)
