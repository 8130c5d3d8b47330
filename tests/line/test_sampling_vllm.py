"""vLLM's answers beside those of transformers on a tiny model: the same distribution, the same ends, by seed."""

import importlib.util
from collections import Counter

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import save_lora, save_random_llama
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.sampling import Draw, SamplingSettings
from thumbline.pipeline.engines.sampling_hf import HFSampler
from thumbline.pipeline.engines.vllm.sampler import VLLMSampler

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
# Steps that hold less than the prompts of a call, so that a prompt would be computed in parts.
CONFIG = EngineConfig(dtype="float32", cpu_kv_cache_gib=1, max_num_batched_tokens=64)
SETTINGS = SamplingSettings(16, 1.0, 1.0, 0, (1, 9))
PROMPTS = [(2, 40, 41, 42), (2, 50), tuple(range(60, 200)), (2, 99, 7)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Two random layers, in sizes that vLLM's CPU attention takes, and a head that is far from uniform."""
    folder = save_random_llama(
        # vLLM looks for weights by a pattern, which a folder's name is not.
        tmp_path_factory.mktemp("model") / "m[1]*",
        vocab_size=384,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
    )
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        loaded.get_output_embeddings().weight.mul_(10)
    loaded.save_pretrained(folder)
    return folder


def asked(sampler, *calls):
    try:
        return [sampler.sample(draws) for draws in calls]
    finally:
        sampler.close()


def test_answers_are_drawn_from_the_models_distribution_and_follow_from_their_seeds(model):
    count, prompt = 3000, PROMPTS[0]
    draws = [Draw(one, 1000 + place) for place, one in enumerate(PROMPTS * 3)]
    many = [Draw(prompt, seed) for seed in range(count)]
    first, again, alone, found = asked(VLLMSampler(model, CONFIG, SETTINGS, 140), draws, draws, draws[4:5], many)
    assert again == first
    assert alone == first[4:5]
    assert len({answer.token_ids for answer in first[::4]}) == 3
    for answer in first:
        inner = answer.token_ids[:-1] if answer.finish == "stop" else answer.token_ids
        assert not {1, 9} & set(inner)
        assert (answer.token_ids[-1] in (1, 9)) == (answer.finish == "stop")
        assert answer.finish == "stop" or len(answer.token_ids) == 16
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([prompt])).logits[0, -1].softmax(-1)
    expected = expected.double().numpy()
    counts = np.zeros(len(expected))
    for token, times in Counter(answer.token_ids[0] for answer in found).items():
        counts[token] = times
    assert np.all(np.abs(counts - count * expected) <= 5 * np.sqrt(count * expected * (1 - expected)) + 1)


def test_greedy_answers_of_an_adapter_are_those_of_transformers(model, tmp_path):
    modules = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
    adapter = save_lora(tmp_path / "a[1]", model, modules)
    config, settings = CONFIG.model_copy(update={"adapter": str(adapter)}), SETTINGS._replace(temperature=0.0)
    draws = [Draw(prompt, 0) for prompt in PROMPTS]
    (vllm,), (hf,), (bare,) = (
        asked(VLLMSampler(model, config, settings, 140), draws),
        asked(HFSampler(model, config, settings), draws),
        asked(HFSampler(model, CONFIG, settings), draws),
    )
    assert vllm == hf
    assert vllm != bare
