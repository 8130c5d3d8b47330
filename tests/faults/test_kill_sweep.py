"""kill -9 in any part of a sweep, run again: what was trained stays, and the outcome is that of a calm sweep."""

import json
import time
from pathlib import Path

import pytest

from tests.commands import Command
from tests.line.conftest import write_config, write_log
from tests.tiny import save_tiny_model
from thumbline.pipeline import line
from thumbline.pipeline.storage.manifests import partial_dir, read_manifest

_DEADLINE_SECONDS = 120.0
TRIALS = ("beta_0.1__seed_0", "beta_0.5__seed_0")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kill-sweep")
    save_tiny_model(folder / "model")
    write_log(folder / "thumbs.jsonl")
    return folder


def config_of(place: Path, name: str) -> Path:
    sections = {"reference": {"store": f"store-{name}"}, "splits": {"validation": 0.3}}
    return write_config(place, place / "thumbs.jsonl", place / "model", name=name, **sections)


def start(config: Path) -> Command:
    return Command("sweep", config, "--over", "train.loss.beta=0.1,0.5")


def finish(config: Path) -> None:
    code, errors = start(config).ended(300)
    assert code == 0, errors


def kill_once_there(config: Path, sign: Path) -> None:
    """Start the sweep and kill it as soon as what `sign` names, as a pattern, is on disk."""
    process = start(config)
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not list(sign.parent.glob(sign.name)) and process.is_running() and time.monotonic() < deadline:
        time.sleep(0.0005)
    assert list(sign.parent.glob(sign.name)), f"the sweep never came to {sign}"
    process.kill()


def outcome_of(config: Path) -> dict:
    """What the sweep found, without the times that it took."""
    facts = json.loads((sweep_folder(config) / "sweep.json").read_text())
    for setting in facts["settings"]:
        for trial in setting["trials"]:
            del trial["seconds"]
    return facts


def digests(folder: Path) -> dict[str, str]:
    """Content of every table of a run, and of its model."""
    found = {}
    for stage in line.STAGE_NAMES[:-1]:
        manifest = read_manifest(folder / stage)
        assert manifest is not None, stage
        found |= {name: record.sha256 for name, record in manifest.outputs.items()} | manifest.files
    return found


def sweep_folder(config: Path) -> Path:
    return config.parent / "runs" / f"{config.stem}-sweep"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_can_be_killed_anywhere_and_goes_on(place):
    calm, stormy = config_of(place, "calm"), config_of(place, "stormy")
    finish(calm)
    folder = sweep_folder(stormy)
    first, second = (folder / "trials" / name for name in TRIALS)
    trained = {}
    for sign in (
        partial_dir(folder / "base" / "reference"),
        partial_dir(first / "train") / "checkpoint-*.pt",
        second / "metrics",
        folder / "best" / "policy",
    ):
        kill_once_there(stormy, sign)
        for trial in (first, second):
            manifest = read_manifest(trial / "train")
            if manifest is not None:
                # A trial that was trained before the kill is the same one after it.
                assert trained.setdefault(trial.name, manifest.finished_at) == manifest.finished_at
    finish(stormy)
    assert {name: read_manifest(folder / "trials" / name / "train").finished_at for name in TRIALS} == trained
    assert outcome_of(stormy) == outcome_of(calm)
    assert digests(folder / "best") == digests(sweep_folder(calm) / "best")
    assert [path.name for path in folder.rglob("*.partial")] == []
