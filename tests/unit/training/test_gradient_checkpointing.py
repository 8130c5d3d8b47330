"""Activations that are computed again in the backward pass: the same gradients, of whatever is trained."""

import pytest
import torch

from tests.tiny import save_tiny_model
from tests.unit.training.test_trainer import config, objective, pairs
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.policy import load_policy

BFLOAT16 = {"weights": "bfloat16", "dtype": "bfloat16"}
ADAPTER = {"adapter": "lora", "lora": {"rank": 4}}
WAYS = {
    "all weights": {},
    "all weights, bfloat16": BFLOAT16,
    "lora": ADAPTER,
    "lora, bfloat16 base": ADAPTER | BFLOAT16,
    "dora, bfloat16 base": ADAPTER | BFLOAT16 | {"adapter": "dora"},
    "lora, nf4 base": ADAPTER | BFLOAT16 | {"weights": "nf4", "save": "adapter"},
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def gradients(model_dir, train, checkpointing):
    """Gradients of one forward pass by name, and how often a layer was computed for them."""
    policy = load_policy(
        model_dir, device="cpu", dtype=train.dtype, gradient_checkpointing=checkpointing, weights=train.weights
    )
    policy = policy if train.adapter == "none" else with_adapter(policy, train)
    generator = torch.Generator().manual_seed(0)
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:  # an untrained one is 0, and gives the other matrix no gradient
            weight.data = torch.randn(weight.shape, generator=generator) * 0.02
    calls = []
    # The end of a layer is not computed again: nothing of it is kept.
    policy.model.model.layers[0].self_attn.register_forward_hook(lambda *_: calls.append(1))
    objective("dpo", 4).measure(policy, pairs(4), None).losses.sum().backward()
    made = {name: weight.grad for name, weight in policy.model.named_parameters() if weight.requires_grad}
    return made, len(calls)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_the_same_to_the_bit(model_dir, way):
    train = config(**WAYS[way])
    if train.adapter != "none":
        pytest.importorskip("peft", reason="peft is not installed")
    if train.weights == "nf4":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    kept, once = gradients(model_dir, train, checkpointing=False)
    again, twice = gradients(model_dir, train, checkpointing=True)
    assert (once, twice) == (1, 2)
    assert all(torch.equal(again[name], kept[name]) for name in kept)
    assert all(bool(gradient.any()) for gradient in again.values())
