"""Mistakes of somebody with a log of their own: what the command says, before anything is scored, and its way out."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import thumbline.extras
from tests.tiny import save_tiny_model
from thumbline.pipeline.cli.main import main
from thumbline.pipeline.line import rehearsal

Rows = list[dict[str, Any]]
CITIES = ["Oslo", "Rome", "Lima", "Cairo", "Quito", "Delhi", "Accra", "Hanoi"]


def rated(votes: list[object], prompts: int = 8) -> Rows:
    """Rows whose answers to one prompt differ."""
    texts = ["Rain, so take a coat.", "Nobody can tell.", "Sun from dawn to dusk!", "Ask again later, please."]
    return [
        {"prompt": f"Weather in {CITIES[n % prompts]}?", "response": f"{texts[n % 4]} {n}", "feedback": vote}
        for n, vote in enumerate(votes)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("newcomer") / "tiny")


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The exit code of a command and all that it says, which is no traceback."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["thumbline", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = "".join(capsys.readouterr())
        assert "Traceback" not in told
        return int(ended.value.code or 0), told

    return command


@pytest.fixture
def run_file(tmp_path: Path, model: Path) -> Callable[..., str]:
    def written(rows: Rows, **sections: Any) -> str:
        (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        document = {"model": str(model), "events": {"inputs": ["log.jsonl"]}, "runs": str(tmp_path / "runs")} | sections
        document["reference"] = {"engine": "hf"} | document.get("reference", {})
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        return "mine.yaml"

    return written


def test_votes_that_are_not_known_end_the_run_where_they_are(said, run_file, tmp_path) -> None:
    code, told = said("run", run_file(rated(["yep", "nah"] * 19 + ["up", "down"])))
    assert code == 2
    assert "error: events: 38 of 40 rows were rejected (95%), more than events.most_rejected (50%) allows:" in told
    assert re.search(r"unknown_label 38: \S*log\.jsonl, line 1: field 'feedback' is 'yep'", told)
    assert "(seen: 'nah' 19, 'yep' 19)" in told
    assert """--set 'events.options={up: "good", down: "bad"}'""" in told and "--set events.most_rejected=1" in told
    assert "thumbline rejects" in told and (tmp_path / "runs" / "mine" / "data_report.html").is_file()
    code, told = said("rejects", str(tmp_path / "runs" / "mine"), "--limit", "1")
    assert "events  unknown_label  38 rows" in told and '"feedback": "yep"' in told


def test_a_file_that_is_not_read_is_named_beside_good_ones(said, run_file, tmp_path) -> None:
    name = run_file(rated(["up", "down"] * 8), events={"inputs": ["log.jsonl", "old.parquet"]})
    (tmp_path / "old.parquet").write_bytes(b"PAR1 and no more")
    code, told = said("run", name)
    assert code == 2 and "1 file could not be read: unreadable_parquet 1" in told and "rejected:" not in told
    assert "error: events: 1 file was rejected as a whole:" in told and "old.parquet: the file does not open" in told


def test_pairs_are_nothing_for_kto(said, run_file, tmp_path) -> None:
    rows = [{"prompt": f"Weather in {city}?", "chosen": "Rain.", "rejected": "No idea."} for city in CITIES]
    name = run_file(rows, train={"method": "kto"})
    code, told = said("run", name)
    assert code == 2 and not (tmp_path / "runs" / "mine" / "sequences").exists()
    assert (
        "error: train.method kto trains on labelled answers, and the log gave none. No label: comparison_only 16"
        in told
    )
    assert "The log gave 8 pairs: --set train.method=dpo trains on them." in told and "max_tokens" not in told
    # Known by now, and said before any stage.
    code, told = said("run", name, "--dry-run")
    assert code == 2 and "train.method kto" in told and "events" not in told
    code, told = said("plan", name)
    assert code == 2 and "train.method kto" in told


def test_single_thumbs_are_nothing_for_dpo_and_no_reference_is_scored(said, run_file, tmp_path) -> None:
    code, told = said("run", run_file(rated(["up", "down"] * 4)))
    assert code == 2 and not (tmp_path / "runs" / "mine" / "reference").exists()
    assert "error: train.method dpo trains on pairs, and the log gave none. No pair: one_response 8." in told
    assert "The log gave 8 labelled answers: --set train.method=kto trains on them." in told


def test_one_label_says_nothing_of_better_and_worse(said, run_file) -> None:
    code, told = said("run", run_file(rated(["up"] * 16), train={"method": "kto"}))
    assert code == 2 and "all 16 labelled answers of the log are desirable" in told
    assert """--set 'events.options={up: "good", down: "bad"}'""" in told


def test_one_prompt_cannot_be_held_out(said, run_file) -> None:
    code, told = said("run", run_file(rated(["up", "down"] * 8, prompts=1)))
    assert code == 2 and "error: metrics: the test split is empty though splits.test is 0.2" in told
    assert "1 prompt in 1 group" in told and "--until train" in told


def test_a_log_with_columns_of_other_names_says_how_to_state_them(said, run_file) -> None:
    rows = [{"q": "Why?", "a": f"Because {n}.", "stars": n} for n in range(5)]
    code, told = said("run", run_file(rows))
    assert code == 2 and "log.jsonl: no format fits the fields q, a, stars" in told and "events.options" in told


SETTINGS = {
    "a folder above the model": ({"model": "."}, r"model: \. holds no config\.json.*Below it there is one in tiny"),
    "no such folder": ({"model": "./modle"}, r"model: modle: no such folder\. Write `demo`, a folder, or a hub id"),
    "beta below zero": ({"train": {"loss": {"beta": -1}}}, "train: dpo: beta must be above 0"),
    "no such method": ({"train": {"method": "dop"}}, "unknown .*'dop'.*Did you mean 'dpo'"),
    "a judge that is not there": (
        {"judges": [{"judge": "taste.py:good"}]},
        r"taste\.py:good'.*there is no file",
    ),
    "a thumbs model that is none": ({"thumbs": {"model": "./thumbs"}}, r"thumbs\.model: thumbs: no such folder"),
    "a model without a name": (
        {"generations": {"samples": 1, "models": {"other": ""}}},
        r"generations\.models: the model of 'other' is empty",
    ),
    "an evaluation set that is not there": (
        {"splits": {"evaluation_sets": {"held": "held.jsonl"}}},
        r"splits\.evaluation_sets\.held: \S*held\.jsonl: no such file",
    ),
}


@pytest.mark.parametrize("mistake", SETTINGS)
@pytest.mark.parametrize("how", [(), ("--dry-run",)])
def test_settings_that_do_not_hold_are_told_before_any_work(
    said, run_file, model, tmp_path, mistake: str, how: tuple[str, ...]
) -> None:
    sections, words = SETTINGS[mistake]
    (tmp_path / "tiny").symlink_to(model)
    code, told = said("run", run_file(rated(["up", "down"] * 8), **sections), *how)
    assert code == 2 and re.search(f"error: .*{words}", told), told
    assert not (tmp_path / "runs").exists()


def test_a_library_that_is_missing_is_told_with_the_line_that_installs_it(said, run_file, monkeypatch) -> None:
    monkeypatch.setattr(thumbline.extras, "find_spec", lambda name: None if name == "peft" else object())
    code, told = said("run", run_file(rated(["up"] * 4), train={"adapter": "lora"}), "--dry-run")
    assert code == 2 and "train.adapter: lora needs peft, which is not installed. Install with: pip install" in told


def test_a_file_in_place_of_the_runs_folder(said, run_file, tmp_path) -> None:
    (tmp_path / "runs").write_text("mine", encoding="utf-8")
    code, told = said("run", run_file(rated(["up"] * 4)), "--dry-run")
    assert code == 2 and "runs is no folder; choose another place" in told


def test_a_first_dry_run_looks_at_the_log_and_leaves_nothing_behind(said, run_file, tmp_path, monkeypatch) -> None:
    name = run_file(rated(["up", "down"] * 4))
    code, told = said("run", name, "--dry-run")
    assert code == 2 and "train.method dpo trains on pairs, and the log gave none. No pair: one_response 8." in told
    assert not (tmp_path / "runs").exists()
    code, told = said("run", name, "--dry-run", "--until", "splits")
    assert code == 0 and "was not looked at" not in told
    monkeypatch.setattr(rehearsal, "_MOST_BYTES", 10)
    code, told = said("run", name, "--dry-run")
    assert code == 0 and "Whether the data fits the method was not looked at, since the logs have 0 MB" in told
