"""A run that trains all weights in bfloat16 with 8-bit state: what is left of memory is 6 bytes a parameter."""

import polars as pl
import pytest

from tests.line.conftest import write_config
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.storage.manifests import read_manifest

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")


def logps(config, table):
    return pl.read_parquet(config.run_dir / table / f"{table}.parquet")


def test_the_gate_sees_no_gap_and_the_trained_model_is_better(small_log, tiny_model, tmp_path):
    train = {"weights": "bfloat16", "dtype": "bfloat16", "optimizer": "adamw_8bit", "gradient_checkpointing": True}
    reference = {"dtype": "bfloat16"}
    config = load_config(write_config(tmp_path, small_log, tiny_model, train=train, reference=reference))
    list(line.run(config, line.select(None, "metrics")))
    assert read_manifest(config.run_dir / "train").notes["parity"]["mean_difference"] < 0.01
    log = pl.read_parquet(config.run_dir / "train" / "training_log.parquet")
    losses = log.filter((pl.col("phase") == "validation") & (pl.col("metric") == "loss")).sort("step")["value"]
    assert losses[-1] < losses[0] - 0.1
    moved = logps(config, "reference").join(logps(config, "policy"), on="sequence_id")
    assert (moved["logps"] - moved["logps_right"]).abs().max() > 0.1
