"""The transformers engine against each model's own logits, one row at a time, in double precision."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    FalconH1Config,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
)
from transformers.utils import logging as transformers_logging

from tests.engine_inputs import awkward_sequences, random_sequences, sequence
from tests.tiny import tiny_tokenizer
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines import head as heads
from thumbline.pipeline.engines.head import load_model
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.scoring import scorer_key
from thumbline.pipeline.errors import EngineError

VOCABULARY = 97
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS = {
    "llama, tied": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama, untied": LlamaConfig(**SIZES, tie_word_embeddings=False),
    "gemma 2, soft-caps": Gemma2Config(
        **SIZES, head_dim=8, final_logit_softcapping=0.5, attn_logit_softcapping=0.02, query_pre_attn_scalar=1
    ),
    "granite, divided logits": GraniteConfig(**SIZES, logits_scaling=0.05),
    "cohere, multiplied logits": CohereConfig(**SIZES, logit_scale=8.0),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256, eos_token_id=2),
}


def save(config, folder):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        # Larger weights than at the start of training: logits far from uniform.
        with torch.no_grad():
            model.get_output_embeddings().weight.mul_(20)
    model.save_pretrained(folder)
    return folder


def oracle(folder, entries):
    """Sums by the model's own logits of one unpadded row and its own attention, log-softmax in double precision."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    sums = []
    for entry in entries:
        ids = torch.tensor([entry.prompt_token_ids + entry.completion_token_ids])
        with torch.no_grad():
            logps = model(input_ids=ids).logits.double().log_softmax(-1)[0]
        start = len(entry.prompt_token_ids)
        sums.append(sum(float(logps[place - 1, ids[0, place]]) for place in range(start, ids.shape[1])))
    return sums


def score(folder, entries, **config):
    engine = HFEngine(folder, EngineConfig(engine="hf", **{"dtype": "float32"} | config))
    try:
        return engine.score(entries)
    finally:
        engine.close()


@pytest.mark.parametrize("name", CONFIGS)
def test_scores_are_those_of_the_models_own_logits(name, tmp_path):
    entries = random_sequences(24, VOCABULARY) + awkward_sequences(VOCABULARY, 16)
    scores = score(save(CONFIGS[name], tmp_path), entries, batch_tokens=256)
    assert [found.sequence_id for found in scores] == [entry.sequence_id for entry in entries]
    assert [found.token_count for found in scores] == [len(entry.completion_token_ids) for entry in entries]
    expected = oracle(tmp_path, entries)
    assert min(expected) < -100
    assert [found.logps for found in scores] == pytest.approx(expected, abs=1e-3)


def test_soft_capped_attention_is_part_of_a_scores_key(tmp_path):
    """Scores of Gemma 2 from before its cap was followed are not taken for new ones."""
    keys = {}
    for name in ("gemma 2, soft-caps", "llama, tied"):
        folder = save(CONFIGS[name], tmp_path / name)
        tiny_tokenizer().save_pretrained(folder)
        keys[name] = scorer_key(folder, EngineConfig(engine="hf"))
    assert keys["gemma 2, soft-caps"]["attention"] == "eager"
    assert "attention" not in keys["llama, tied"]


def test_batch_size_moves_only_the_last_digits(tmp_path):
    entries = random_sequences(40, VOCABULARY)
    save(CONFIGS["llama, tied"], tmp_path)
    alone, together = score(tmp_path, entries, batch_tokens=1), score(tmp_path, entries, batch_tokens=100_000)
    assert [found.logps for found in alone] == pytest.approx([found.logps for found in together], abs=1e-4)


def test_the_same_call_gives_the_same_bits(tmp_path):
    entries = random_sequences(40, VOCABULARY)
    save(CONFIGS["llama, tied"], tmp_path)
    assert score(tmp_path, entries, batch_tokens=300) == score(tmp_path, entries, batch_tokens=300)


def test_the_dtype_is_the_one_asked_for(tmp_path):
    entries = random_sequences(8, VOCABULARY)
    save(CONFIGS["llama, tied"], tmp_path)
    full, half = score(tmp_path, entries), score(tmp_path, entries, dtype="bfloat16")
    differences = [abs(one.logps - other.logps) for one, other in zip(full, half, strict=True)]
    assert max(differences) > 1e-3
    assert max(differences) < 5.0


def test_no_batch_is_larger_than_asked(tmp_path, monkeypatch):
    shapes = []
    entries = random_sequences(40, VOCABULARY)
    engine = HFEngine(
        save(CONFIGS["llama, tied"], tmp_path), EngineConfig(engine="hf", dtype="float32", batch_tokens=128)
    )
    engine._model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    engine.score(entries)
    assert sum(rows for rows, _ in shapes) == len(entries)
    assert all(rows * width <= 128 for rows, width in shapes)
    assert len(shapes) < len(entries)


def test_nothing_in_gives_nothing_out(tmp_path):
    assert score(save(CONFIGS["llama, tied"], tmp_path), []) == []


def test_a_head_that_is_not_known_is_refused(tmp_path):
    sizes = SIZES | {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8}
    config = FalconH1Config(**sizes, lm_head_multiplier=3.0)
    with pytest.raises(EngineError, match="FalconH1ForCausalLM: its logits differ"):
        score(save(config, tmp_path), [sequence([3], [4])])


def test_a_model_without_a_head_is_refused(tmp_path):
    model = load_model(save(CONFIGS["llama, tied"], tmp_path), torch.float32)
    model.get_output_embeddings = lambda: None
    with pytest.raises(EngineError, match="no output layer"):
        heads.head_of(model)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(EngineError, match="transformers cannot load"):
        score(tmp_path, [sequence([3], [4])])


def test_loading_is_silent_and_leaves_progress_bars_as_they_were(tmp_path, capfd):
    folder = save(CONFIGS["llama, tied"], tmp_path)
    capfd.readouterr()
    before = transformers_logging.is_progress_bar_enabled()
    load_model(folder, torch.float32)
    assert capfd.readouterr().err == ""
    assert transformers_logging.is_progress_bar_enabled() == before
