"""Runs in each layout, and of a model that knows one alone."""

import polars as pl
import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from tests.line.conftest import write_config
from tests.tiny import tiny_tokenizer
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.storage.manifests import read_manifest


class Heard(SilentReporter):
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def trained(config, heard=None):
    list(line.run(config, line.select(None, "train"), reporter=heard))
    log = pl.read_parquet(config.run_dir / "train" / "training_log.parquet").filter(pl.col("phase") == "train")
    return {name: rows["value"].to_list() for (name,), rows in log.group_by("metric", maintain_order=True)}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_layouts_train_alike_and_compute_less(method, small_log, tiny_model, tmp_path):
    logs = {}
    for layout in ("padded", "packed", "shared", "auto"):
        train = {"layout": layout, "method": method, "max_steps": 4}
        logs[layout] = trained(load_config(write_config(tmp_path, small_log, tiny_model, train=train)))
    for layout in ("packed", "shared"):
        assert logs[layout]["loss"] == pytest.approx(logs["padded"]["loss"], abs=1e-5)
        assert logs[layout]["grad_norm"] == pytest.approx(logs["padded"]["grad_norm"], rel=1e-3)
    computed = {layout: sum(log["computed_tokens"]) for layout, log in logs.items()}
    assert computed["shared"] < computed["packed"] < computed["padded"]
    assert logs["auto"] == logs["shared"]
    assert logs["padded"]["tokens"] == logs["shared"]["tokens"]


@pytest.fixture
def mamba(tmp_path):
    """A model whose state runs through all of a row."""
    folder, tokenizer = tmp_path / "mamba", tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "vocab_size": len(tokenizer)}
        MambaForCausalLM(MambaConfig(**sizes, pad_token_id=1, eos_token_id=1)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_model_that_cannot_be_packed_is_padded_and_the_run_says_so(small_log, mamba, tmp_path):
    train, heard = {"max_steps": 2, "learning_rate": 1e-4}, Heard()
    config = load_config(write_config(tmp_path, small_log, mamba, train=train))
    trained(config, heard)
    said = [words for words in heard.lines if words.startswith("train: MambaForCausalLM is trained padded")]
    assert len(said) == 1
    assert "shared in float32: log-probs differ by" in said[0]
    layout = read_manifest(config.run_dir / "train").notes["layout"]
    assert layout["used"] == "padded"
    assert "packed in float32" in layout["refused"]
    asked = load_config(write_config(tmp_path, small_log, mamba, train=train | {"layout": "shared"}))
    with pytest.raises(ConfigError, match="train.layout: MambaForCausalLM cannot be trained as asked"):
        trained(asked)
