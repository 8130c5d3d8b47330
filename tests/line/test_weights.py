"""Runs whose pairs weigh differently: the settings reach the model and the loss on held-out pairs."""

import polars as pl
import pytest

from tests.line.conftest import write_config
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config

SETTINGS = {
    "weights": {"pairs": {"weights": "confidence"}},
    "lengths": {"reference": {"token_logps": True}, "train": {"ld_alpha": 0.0}},
    "wpo": {"train": {"weighting": "wpo"}},
}


@pytest.mark.slow
def test_weights_and_lengths_change_the_model_and_its_losses(tmp_path, small_log, tiny_model):
    losses, gradients = {}, {}
    for name, sections in {"plain": {}, **SETTINGS}.items():
        train = {"epochs": 1, **sections.get("train", {})}
        config = load_config(write_config(tmp_path, small_log, tiny_model, name, **{**sections, "train": train}))
        for _ in line.run(config, line.select(None, "metrics")):
            pass
        scored = pl.read_parquet(config.run_dir / "metrics" / "scored_pairs.parquet")
        losses[name] = scored.sort("model", "pair_id")["loss"]
        log = pl.read_parquet(config.run_dir / "train" / "training_log.parquet")
        gradients[name] = log.filter((pl.col("metric") == "grad_norm") & (pl.col("step") == 1))["value"].item()
    assert len(set(gradients.values())) == len(gradients)
    assert losses["wpo"].null_count() == len(losses["wpo"])
    for name in ("plain", "weights", "lengths"):
        assert losses[name].is_finite().all()
    assert not losses["weights"].equals(losses["plain"])
    assert not losses["lengths"].equals(losses["plain"])
