"""kill -9 in any part of a comparison of methods or of a curve, run again: the outcome is that of a calm one."""

import json
import time
from pathlib import Path

import pytest

from tests.commands import Command
from tests.line.conftest import write_config, write_log
from tests.soaking import mostly_soaked
from tests.tiny import save_tiny_model
from thumbline.pipeline import line
from thumbline.pipeline.storage.manifests import read_manifest

_DEADLINE_SECONDS = 240.0
ANSWERS = {
    "generations": {"samples": 1, "prompts": 4, "max_new_tokens": 4, "engine": "hf"},
    "judges": [{"judge": "letters.py:letters"}],
}
THUMBS = {"method": "reward_bce", "learning_rate": 1e-2, "epochs": 0.5, "dtype": "float32", "device": "cpu"}
SAMPLED = {"rollouts": {"samples": 2, "max_new_tokens": 6}}

# By name: command and options, sections of the run file, its facts, and what it is killed at in the folder of all.
_TRAINING = ("trials/*/train.partial/checkpoint-*.pt", "trials/dpo__*/policy.partial")
WAYS = {
    "methods": (("compare-methods", "--methods", "sft,dpo"), {}, "methods.json", _TRAINING),
    "curve": (
        ("annotation-curve", "--grid", "6"),
        {},
        "annotations.json",
        ("base/reference.partial", "trials/kto__n_6*/train.partial/checkpoint-*.pt", "trials/kto_half__*/policy"),
    ),
    "methods that sample": (
        ("compare-methods", "--methods", "dpo,ppo,rloo", "--seeds", "0,1"),
        ANSWERS | {"thumbs": THUMBS, "train": SAMPLED},
        "methods.json",
        (
            "base/thumbs.partial",
            "base/reference.partial",
            "trials/ppo__seed_0/train.partial/checkpoint-*.pt",
            "trials/rloo__seed_0/generations.partial",
            "trials/dpo__seed_1/judgements",
            "trials/rloo__seed_1/train.partial/checkpoint-*.pt",
        ),
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kill-side-by-side")
    save_tiny_model(folder / "model")
    write_log(folder / "thumbs.jsonl")
    (folder / "letters.py").write_text("def letters(completion):\n    return sum(map(str.isalpha, completion))\n")
    return folder


def config_of(place: Path, name: str, sections: dict) -> Path:
    train = {"epochs": 1, "layout": "padded", "checkpoint_every": 1} | sections.get("train", {})
    own = {"reference": {"store": f"store-{name}"}, "splits": {"validation": 0.2, "test": 0.3}}
    return write_config(place, place / "thumbs.jsonl", place / "model", name=name, **sections | own | {"train": train})


def folder_of(config: Path, command: str) -> Path:
    ends = {"compare-methods": "methods", "annotation-curve": "annotations"}
    return config.parent / "runs" / f"{config.stem}-{ends[command]}"


def finish(command: str, config: Path, options: tuple[str, ...]) -> None:
    code, errors = Command(command, config, *options).ended(600)
    assert code == 0, errors


def kill_once_there(command: str, config: Path, options: tuple[str, ...], sign: str) -> None:
    """Start it, and kill it as soon as what `sign` names, as a pattern, is in its folder."""
    folder = folder_of(config, command)
    process = Command(command, config, *options)
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not list(folder.glob(sign)) and process.is_running() and time.monotonic() < deadline:
        time.sleep(0.0005)
    assert list(folder.glob(sign)), f"it never came to {sign}"
    process.kill()


def found(folder: Path, facts: str) -> dict:
    """What was found, without what it took."""
    document = json.loads((folder / facts).read_text())
    for method in document.get("methods", ()):
        method["cost"] = {name: value for name, value in method["cost"].items() if "flops" in name}
    return {**document, "run": None}


def digests(folder: Path) -> dict[str, str]:
    """Content of every table and file of all runs."""
    contents = {}
    for run in (folder / "base", *sorted((folder / "trials").iterdir())):
        for stage in line.STAGE_NAMES:
            manifest = read_manifest(run / stage)
            if manifest is not None:
                contents |= {f"{run.name} {name}": record.sha256 for name, record in manifest.outputs.items()}
                contents |= {f"{run.name} {stage} {name}": digest for name, digest in manifest.files.items()}
    return contents


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", mostly_soaked(WAYS, ["methods"]))
def test_it_can_be_killed_anywhere_and_goes_on(place, way):
    (command, *options), sections, facts, signs = WAYS[way]
    calm, stormy = (config_of(place, f"{way.replace(' ', '-')}-{name}", sections) for name in ("calm", "stormy"))
    finish(command, calm, tuple(options))
    folder, trained = folder_of(stormy, command), {}
    for sign in signs:
        kill_once_there(command, stormy, tuple(options), sign)
        for trial in (folder / "trials").glob("*"):
            manifest = read_manifest(trial / "train")
            if manifest is not None:
                # What was trained before the kill is the same after it.
                assert trained.setdefault(trial.name, manifest.finished_at) == manifest.finished_at
    finish(command, stormy, tuple(options))
    assert {name: read_manifest(folder / "trials" / name / "train").finished_at for name in trained} == trained
    other = folder_of(calm, command)
    assert found(folder, facts) == found(other, facts)
    assert digests(folder) == digests(other)
    assert [path.name for path in folder.rglob("*.partial")] == []
