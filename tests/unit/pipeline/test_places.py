"""Where relative paths lead: those of a run file from its folder, those typed from the working folder."""

import logging

import pytest
import yaml

from thumbline.pipeline.api.settings import run_config
from thumbline.pipeline.config import RunConfig, load_config, placed
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.sweep import Axis, plan_sweep

FILE = """
model: ./policy
events: {inputs: [log.jsonl, more/*.jsonl, "hub:org/set", /abs.jsonl, "s3://bucket/x.jsonl"]}
splits: {evaluation_sets: {held: ../held.jsonl}}
reference: {adapter: ../adapter, store: kept}
thumbs: {model: rewards}
generations: {models: {other: ./other, hub: Qwen/Qwen2.5-0.5B-Instruct}}
judges:
  - judge: taste.py:is_kind
  - judge: package.module:function
  - {judge: thumbs, options: {model: ./judge}}
  - {judge: chat, name: asked, options: {model: ./not-a-folder, address: "http://h/v1"}}
"""


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A folder of run files below the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs"
    (folder / "rewards").mkdir(parents=True)
    (folder / "run.yaml").write_text(FILE)
    return folder


def test_what_stands_in_a_run_file_is_relative_to_its_folder(configs, tmp_path):
    config = load_config((configs / "run.yaml").relative_to(tmp_path))
    assert config.model == "configs/policy"
    assert config.events.inputs == (
        "configs/log.jsonl",
        "configs/more/*.jsonl",
        "hub:org/set",
        "/abs.jsonl",
        "s3://bucket/x.jsonl",
    )
    assert config.splits.evaluation_sets == {"held": "configs/../held.jsonl"}
    assert config.reference.adapter == "configs/../adapter"
    assert config.thumbs.model == "configs/rewards"
    assert config.generations.models == {"other": "configs/other", "hub": "Qwen/Qwen2.5-0.5B-Instruct"}
    assert [judge.judge for judge in config.judges[:2]] == ["configs/taste.py:is_kind", "package.module:function"]
    assert [judge.options["model"] for judge in config.judges[2:]] == ["configs/judge", "./not-a-folder"]
    assert str(config.run_dir) == "configs/runs/run" and config.store == str(configs / "kept")


@pytest.mark.parametrize(("runs", "lies"), [("../out", "out/run"), ("/out", "/out/run"), ("a/../b", "configs/b/run")])
def test_runs_are_shown_in_short(configs, runs, lies):
    (configs / "run.yaml").write_text(f"model: demo\nruns: {runs}\nevents: {{inputs: [a]}}\n")
    config = load_config(configs.relative_to(configs.parent) / "run.yaml")
    assert str(config.run_dir) == lies
    assert config.store == lies.replace("/run", "/store")


def test_a_run_file_beside_the_working_folder_puts_its_runs_beside_itself(configs, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load_config(configs / "run.yaml")
    assert config.run_dir == configs / "runs" / "run" and config.events.inputs[0] == str(configs / "log.jsonl")


def test_what_is_typed_is_relative_to_the_working_folder(configs, tmp_path):
    settings = ("events.inputs=[typed.jsonl]", "runs=out", "model=./mine", "reference.store=cache", "splits.salt=./x")
    config = load_config(configs / "run.yaml", settings)
    assert config.events.inputs == ("typed.jsonl",) and config.model == "mine" and config.splits.salt == "./x"
    assert str(config.run_dir) == "out/run" and config.store == str(tmp_path / "cache")
    made = run_config(["log.jsonl"], tmp_path / "made", "demo", ["reference.store=cache"])
    assert made.store == str(tmp_path / "cache") and made.events.inputs == ("log.jsonl",)


def test_a_home_folder_is_one(configs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (configs / "run.yaml").write_text("model: ~/model\nevents: {inputs: [~/log.jsonl, ~x]}\n")
    config = load_config(configs / "run.yaml")
    assert config.model == str(tmp_path / "home" / "model")
    assert config.events.inputs == (str(tmp_path / "home" / "log.jsonl"), "~x")


def test_a_model_s_folder_in_the_working_folder_alone_is_refused(configs, tmp_path):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (configs / "run.yaml").write_text("model: models/mine\nevents: {inputs: [a]}\n")
    with pytest.raises(
        ConfigError, match=r"model 'models/mine': the run file's folder has none.*the working folder has"
    ):
        load_config(configs / "run.yaml")
    (configs / "models" / "mine").mkdir(parents=True)
    assert load_config(configs / "run.yaml").model == str(configs / "models" / "mine")


def test_a_run_that_was_begun_in_the_working_folder_goes_on_there_and_says_so(configs, tmp_path, caplog):
    old = tmp_path / "runs" / "run"
    old.mkdir(parents=True)
    (tmp_path / "runs" / "kept").mkdir()
    with caplog.at_level(logging.WARNING, logger="thumbline"):
        config = load_config(configs / "run.yaml")
    assert config.run_dir.resolve() == old and config.store == str(tmp_path / "runs" / "kept")
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith(f"runs: runs/run is there, and {configs}/runs/run is not:")
    assert told[1].startswith("reference.store: runs/kept is there,") and "move it" in told[1]
    (configs / "runs" / "run").mkdir(parents=True)
    assert load_config(configs / "run.yaml").run_dir == configs / "runs" / "run"
    assert load_config(configs / "run.yaml", ("runs=typed",)).runs == "typed"


def test_a_sweep_s_files_lead_to_the_same_places_from_any_folder(configs, tmp_path):
    (configs / "run.yaml").write_text(FILE.replace("thumbs: {model: rewards}", "thumbs: {model: rewards}"))
    (configs / "policy").mkdir()
    config = load_config((configs / "run.yaml").relative_to(tmp_path))
    trial = plan_sweep(config, [Axis("train.epochs", (1.0, 2.0))]).trials[0].config
    assert trial.model == str(configs / "policy") and trial.thumbs.model == str(configs / "rewards")
    assert trial.judges[0].judge == f"{configs}/taste.py:is_kind" and trial.store == str(configs / "kept")
    (tmp_path / "best.yaml").write_text(yaml.safe_dump(trial.model_dump(mode="json", exclude_unset=True)))
    again = load_config(tmp_path / "best.yaml")
    assert (again.model, again.events.inputs, again.run_dir) == (trial.model, trial.events.inputs, trial.run_dir)


@pytest.mark.parametrize(
    "document", [{"model": 5, "events": {"inputs": "a"}}, {"judges": {"judge": 1}}, {"events": 1}, []]
)
def test_what_has_another_form_is_left_for_the_check(tmp_path, document):
    made = placed(document, RunConfig, tmp_path)
    assert type(made) is type(document) and list(made) == list(document)
