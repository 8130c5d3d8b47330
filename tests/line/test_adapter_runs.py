"""A run that trains an adapter: the same reference, and a policy that scores and evaluates as it was trained."""

import polars as pl
import pytest

from tests.line.conftest import write_config
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.engines.models import model_digest
from thumbline.pipeline.storage.manifests import read_manifest

pytest.importorskip("peft", reason="peft is not installed")


@pytest.fixture(scope="module")
def runs(small_log, tiny_model, tmp_path_factory):
    """Runs that differ in what is written alone."""
    folder, made = tmp_path_factory.mktemp("adapters"), {}
    for save in ("merged", "adapter"):
        train = {"adapter": "lora", "learning_rate": 1e-2, "save": save}
        made[save] = load_config(write_config(folder, small_log, tiny_model, name=save, train=train))
        list(line.run(made[save], line.select(None, "metrics")))
    return made


def logps(config, table):
    return pl.read_parquet(config.run_dir / table / f"{table}.parquet").sort("sequence_id")


def test_the_trained_adapter_is_scored_as_the_merged_model(runs, tiny_model):
    merged, alone = (logps(config, "policy") for config in runs.values())
    assert merged["sequence_id"].equals(alone["sequence_id"])
    assert (merged["logps"] - alone["logps"]).abs().max() < 1e-3
    reference = logps(runs["merged"], "reference").join(alone, on="sequence_id")
    assert (reference["logps"] - reference["logps_right"]).abs().max() > 0.1
    folder = runs["adapter"].run_dir / "train" / "model"
    assert (folder / "adapter_model.safetensors").is_file()
    assert not (folder / "config.json").exists()
    assert model_digest(runs["merged"].run_dir / "train" / "model") != model_digest(tiny_model)


def test_one_stored_reference_serves_both(runs):
    notes = [read_manifest(config.run_dir / "reference").notes for config in runs.values()]
    assert notes[0]["store_key"] == notes[1]["store_key"]
    assert notes[1]["scored"] == 0
    # The adapter changes nothing before the first step, so the gate compares the model with itself.
    assert read_manifest(runs["adapter"].run_dir / "train").notes["parity"]["mean_difference"] < 1e-3


def test_an_adapter_on_four_bits_is_trained_and_scored_on_them(runs, small_log, tiny_model, tmp_path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    train = {"adapter": "lora", "learning_rate": 1e-2, "save": "adapter", "weights": "nf4", "dtype": "bfloat16"}
    reference = {"quantization": "nf4", "dtype": "bfloat16"}
    config = load_config(write_config(tmp_path, small_log, tiny_model, train=train, reference=reference))
    list(line.run(config, line.select(None, "metrics")))
    notes = {stage: read_manifest(config.run_dir / stage).notes for stage in ("reference", "train", "metrics")}
    other = read_manifest(runs["adapter"].run_dir / "reference").notes
    assert notes["reference"]["store_key"] != other["store_key"]
    assert notes["train"]["parity"]["mean_difference"] < 0.02
    before, after = logps(config, "reference"), logps(config, "policy")
    moved = before.join(after, on="sequence_id")
    assert (moved["logps"] - moved["logps_right"]).abs().max() > 0.1
