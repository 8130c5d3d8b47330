"""Sampled answers of whole runs: whose they are, that none is sampled twice, and that a store's upkeep keeps them."""

import json
import shutil

import polars as pl
import pytest

from tests.line.conftest import write_config
from tests.line.test_reference_commands import age, done
from tests.tiny import CHATML, save_tiny_model
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.engines import answers
from thumbline.pipeline.storage.manifests import read_manifest

_SETTINGS = {"samples": 2, "max_new_tokens": 12, "engine": "hf", "batch_prompts": 3}
_FEW = {"epochs": 0.5, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_log, tiny_model):
    """A run whose untrained model, a second one with another template, and the trained one have answered."""
    folder = tmp_path_factory.mktemp("generations")
    other = save_tiny_model(folder / "other", template=CHATML.replace("<|im_start|>", "<|im_start|> "), seed=1)
    shutil.copytree(tiny_model, folder / "same")
    models = {"other": str(other), "same": str(folder / "same")}
    config = write_config(
        folder, small_log, tiny_model, train=_FEW, generations=_SETTINGS | {"prompts": 8, "models": models}
    )
    list(line.run(load_config(config), line.select(None, "generations")))
    return folder


def tables(config):
    folder = load_config(config).run_dir / "generations"
    return pl.read_parquet(folder / "generations.parquet"), pl.read_parquet(folder / "generation_prompts.parquet")


def notes(config):
    return read_manifest(load_config(config).run_dir / "generations").notes


@pytest.mark.slow
def test_every_model_answers_every_prompt(place):
    rows, prompts = tables(place / "run.yaml")
    assert prompts["split"].unique().to_list() == ["test"]
    assert prompts.height == 8
    counts = rows.group_by("model").len().sort("model").rows()
    assert counts == [("other", 16), ("same", 16), ("trained", 16), ("untrained", 16)]
    assert rows.group_by("prompt_id", "model").agg(pl.col("sample").sort()).select("sample").unique().rows() == [
        ([0, 1],)
    ]
    # Another seed of the weights: other answers. The same weights under another label: the same answers.
    texts = {name: frame.sort("prompt_id", "sample") for (name,), frame in rows.group_by("model")}
    assert texts["same"]["completion"].equals(texts["untrained"]["completion"])
    assert texts["same"]["policy_logps"].equals(texts["untrained"]["reference_logps"])
    assert not texts["trained"]["completion"].equals(texts["untrained"]["completion"])
    assert texts["untrained"]["reference_logps"].equals(texts["untrained"]["policy_logps"])
    assert not texts["trained"]["reference_logps"].equals(texts["trained"]["policy_logps"])
    # Another template: its token ids are not the untrained model's to score.
    assert texts["other"]["reference_logps"].null_count() == 16
    assert texts["other"]["policy_logps"].null_count() == 0


@pytest.mark.slow
def test_prompts_are_those_that_training_continues_and_the_counts_are_said(place):
    rows, prompts = tables(place / "run.yaml")
    sequences = pl.read_parquet(load_config(place / "run.yaml").run_dir / "sequences" / "sequences.parquet")
    assert prompts.join(sequences, on="prompt_token_ids", how="semi").height == 8
    found = notes(place / "run.yaml")
    assert found["held_out_prompts"] > 8
    assert (
        f"8 of {found['held_out_prompts']} prompts of the test split were drawn (generations.prompts)." in found["said"]
    )
    trained = found["models"]["trained"]
    assert (trained["answers"], trained["sampled"], trained["stored"]) == (16, 16, 0)
    assert trained["tokens"] == rows.filter(pl.col("model") == "trained")["token_count"].sum()
    assert trained["cut"] == (rows.filter(pl.col("model") == "trained")["finish"] == "length").sum()


@pytest.mark.slow
def test_another_run_takes_from_the_store_what_is_there(place, small_log, tiny_model, monkeypatch):
    opened = []
    open_sampler = answers.open_sampler
    monkeypatch.setattr(answers, "open_sampler", lambda *given: opened.append(given) or open_sampler(*given))
    config = write_config(place, small_log, tiny_model, "again", train=_FEW, generations=_SETTINGS | {"samples": 1})
    list(line.run(load_config(config), line.select(None, "generations")))
    found = notes(config)["models"]
    # Eight prompts are there already; a smaller number of samples takes the first of them.
    assert found["untrained"]["stored"] == found["trained"]["stored"] == 8
    assert found["untrained"]["sampled"] == found["untrained"]["prompts"] - 8 > 0
    assert len(opened) == 2
    before, after = tables(place / "run.yaml")[0], tables(config)[0]
    both = before.join(after, on="generation_id", how="inner")
    assert both.height == 16
    assert (both["completion"] == both["completion_right"]).all()


@pytest.mark.slow
def test_upkeep_counts_answers_and_deletes_none_that_a_run_refers_to(place):
    store = place / "runs" / "store"
    stats = done("reference", "stats", store)
    # A narrow terminal breaks the word.
    assert "samp" in stats
    age(store)
    assert "0 files with 0 sequences" in done("reference", "gc", store, "--runs", place / "runs", "--delete")
    config = place / "run.yaml"
    shutil.rmtree(load_config(config).run_dir / "generations")
    list(line.run(load_config(config), line.select("generations", "generations")))
    assert all(model["sampled"] == 0 for model in notes(config)["models"].values())
    # A run that is gone leaves answers to nobody.
    manifest = json.loads((load_config(config).run_dir / "generations" / "manifest.json").read_text())
    assert manifest["notes"]["reference_key"]
