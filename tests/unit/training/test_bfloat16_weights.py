"""A model whose weights are bfloat16 in training: its log-probs, its gradients, and its reference."""

import pytest
import torch

from tests.tiny import save_tiny_model
from tests.unit.training.test_trainer import objective, pairs, sequence
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.training.policy import load_policy

SEQUENCES = [sequence(seed, completion=40) for seed in range(8)]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def policy_of(model_dir, weights):
    return load_policy(model_dir, device="cpu", dtype="bfloat16", gradient_checkpointing=False, weights=weights)


@torch.no_grad()
def test_the_heads_products_are_float32(model_dir):
    policy, one = policy_of(model_dir, "bfloat16"), SEQUENCES[0]
    ids = torch.tensor([[*one.prompt_token_ids, *one.completion_token_ids]])
    with torch.autocast("cpu", torch.bfloat16):
        hidden = policy.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    assert hidden.dtype == policy.model.lm_head.weight.dtype == torch.bfloat16
    logps = (hidden[0].double() @ policy.model.lm_head.weight.double().T).log_softmax(-1)
    start = len(one.prompt_token_ids)
    exact = float(logps[start - 1 : -1].gather(1, ids[0, start:, None]).sum())
    # Logits rounded to bfloat16 would be off by about 2^-9 of each, 0.01 nats in all.
    assert float(policy.logps([one]).logps) == pytest.approx(exact, abs=2e-4)


def test_the_engine_that_scores_the_reference_in_bfloat16_sees_the_same_model(model_dir):
    engine = HFEngine(model_dir, EngineConfig(engine="hf", dtype="bfloat16"))
    entries = [
        TokenSequence(one.sequence_id, tuple(one.prompt_token_ids), tuple(one.completion_token_ids))
        for one in SEQUENCES
    ]
    stored = torch.tensor([score.logps for score in engine.score(entries)])
    with torch.no_grad():
        gaps = {
            weights: float((policy_of(model_dir, weights).logps(SEQUENCES).logps - stored).abs().mean())
            for weights in ("bfloat16", "float32")
        }
    assert gaps["bfloat16"] < 1e-3
    assert gaps["bfloat16"] < gaps["float32"] / 5


def gradient(model_dir, weights, micro_batch_rows):
    policy, rows = policy_of(model_dir, weights), pairs(16)
    for start in range(0, len(rows), micro_batch_rows):
        part = objective("dpo", micro_batch_rows).measure(policy, rows[start : start + micro_batch_rows], None)
        torch.autograd.backward(part.losses.sum() / len(rows))
    return torch.cat([weight.grad.flatten().float() for weight in policy.model.parameters()])


@pytest.mark.parametrize("micro_batch_rows", [1, 16])
def test_gradients_are_near_those_of_float32_weights_however_many_are_added_up(model_dir, micro_batch_rows):
    exact, ours = gradient(model_dir, "float32", 16), gradient(model_dir, "bfloat16", micro_batch_rows)
    assert float((ours - exact).norm() / exact.norm()) < 0.05
