"""vLLM answers with the weights that it was given last: what the model in training itself would have written."""

import importlib.util

import pytest
import torch

from tests.tiny import save_random_llama
from thumbline.pipeline.config import EngineConfig, LoraSettings, TrainConfig
from thumbline.pipeline.engines.sampling import Draw, SamplingSettings
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.rollouts.sampling import Places, PolicySampler, VLLMPolicySampler

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
CONFIG = EngineConfig(dtype="float32", cpu_kv_cache_gib=1, max_num_batched_tokens=64)
GREEDY = SamplingSettings(8, 0.0, 1.0, 0, (1,))
DRAWS = [Draw(prompt, 7) for prompt in ((2, 40, 41, 42), (2, 50), (2, 99, 7))]
LORA = TrainConfig(adapter="lora", lora=LoraSettings(rank=8, alpha=16.0), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_random_llama(
        tmp_path_factory.mktemp("model"),
        vocab_size=384,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )


def moved(policy, seed):
    """Every trained weight somewhere else, as far as its own size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad and weight.dim() > 1:
                weight.add_(torch.randn(weight.shape, generator=generator) * (float(weight.std()) or 0.2))


@pytest.mark.parametrize("adapted", [False, True], ids=["all weights", "adapter"])
def test_each_call_has_the_weights_of_its_step(model, tmp_path, adapted):
    policy = load_policy(model, device="cpu", dtype="float32", gradient_checkpointing=False)
    if adapted:
        policy = with_adapter(policy, LORA)
    own = PolicySampler(policy, "sdpa", GREEDY, 4096)
    source = VLLMPolicySampler(policy, model, CONFIG, GREEDY, Places(tmp_path / "weights", 4))
    try:
        told = []
        for seed in range(2):
            expected, found = own.sample(DRAWS), source.sample(DRAWS)
            assert found == expected, seed
            told.append(found)
            moved(policy, seed)
        assert told[0] != told[1]
        assert source.sample(DRAWS) == own.sample(DRAWS)
    finally:
        source.close()
    assert not (tmp_path / "weights").exists()
