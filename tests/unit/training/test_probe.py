import numpy as np
import pytest
import torch

from tests.architectures import tiny_policy
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.training import probe
from thumbline.pipeline.training.attention import interface, pieces
from thumbline.pipeline.training.layouts import arranged
from thumbline.pipeline.training.parallel.team import Team
from thumbline.pipeline.training.probe import with_layout
from thumbline.pipeline.training.probe_sample import Difference, compute, random_sample


def broken(monkeypatch, change) -> None:
    """Let attention over segments go wrong."""
    monkeypatch.setattr(pieces, "attend", change(pieces.attend))


def test_auto_shares_prompts_where_it_can_and_leaves_no_trace_in_weights():
    policy = tiny_policy("llama")
    choice = with_layout(policy, "auto")
    assert choice.policy.layout == "shared"
    assert choice.refusal() is None
    assert choice.notes()["used"] == "shared"
    assert policy.model.config._attn_implementation == interface.NAME
    assert all(weight.grad is None for weight in policy.model.parameters())
    assert policy.meter.take() == (0, 0)


@pytest.mark.parametrize("asked", ["padded", "packed", "shared"])
def test_a_layout_that_is_asked_for_is_used(asked):
    choice = with_layout(tiny_policy("llama"), asked)
    assert choice.policy.layout == asked
    assert {finding.layout for finding in choice.findings} == ({asked} if asked != "padded" else set())


def test_half_precision_is_tried_beside_float32_and_held_to_its_own_noise():
    policy = tiny_policy("llama", dtype=torch.bfloat16)
    exact, rounded = with_layout(policy, "auto").findings
    assert (exact.dtype, rounded.dtype) == ("float32", "bfloat16")
    assert exact.difference.logps < 1e-5 < rounded.difference.logps <= rounded.allowed.logps
    assert policy.scorer.autocast_dtype == torch.bfloat16


def test_a_kernel_that_fails_in_the_type_of_training_alone_is_found(monkeypatch):
    def off(attend):
        return lambda query, *rest: attend(query, *rest) * (1 if query.dtype == torch.float32 else 3)

    broken(monkeypatch, off)
    choice = with_layout(tiny_policy("llama", dtype=torch.bfloat16), "auto")
    assert choice.policy.layout == "padded"
    assert "shared in bfloat16: log-probs differ by" in choice.refusal()
    assert "float32" not in choice.refusal()


class Second(Team):
    """A process whose first one found that no layout gives what padding gives."""

    def from_first(self, value):
        return [finding._replace(difference=Difference(1.0, 1.0)) for finding in value]


def test_every_process_takes_the_layout_that_the_first_one_found():
    assert with_layout(tiny_policy("llama"), "auto", Second(1, 2)).policy.layout == "padded"


def test_where_only_sharing_fails_sequences_are_still_packed(monkeypatch):
    def off(attend):
        return lambda *rest: attend(*rest) * (3 if any(part.prefix for part in rest[3].parts) else 1)

    broken(monkeypatch, off)
    choice = with_layout(tiny_policy("llama"), "auto")
    assert choice.policy.layout == "packed"
    assert choice.refusal().startswith("train: LlamaForCausalLM is trained packed, since another layout gives other")


def test_a_wrong_gradient_is_found_though_log_probs_are_right(monkeypatch):
    def off(attend):
        return lambda query, key, *rest: attend(query, key.detach(), *rest)

    broken(monkeypatch, off)
    choice = with_layout(tiny_policy("llama"), "auto")
    assert choice.policy.layout == "padded"
    assert choice.findings[0].difference.logps < 1e-5
    assert choice.findings[0].difference.gradient > 1e-2


def test_wrong_partners_are_found(monkeypatch):
    def off(attend):
        return lambda *rest: attend(*rest) * (1 if rest[5] is None else 3)

    broken(monkeypatch, off)
    assert with_layout(tiny_policy("llama"), "auto").policy.layout == "packed"


@pytest.mark.parametrize("name", ["mistral", "gemma2", "gpt_oss"])
def test_a_window_that_is_left_out_is_found_though_it_is_longer_than_the_sample(name, monkeypatch):
    policy = tiny_policy(name, sliding_window=4096)
    windows = [vars(module)["sliding_window"] for module in policy.model.modules() if "sliding_window" in vars(module)]
    with_layout(policy, "shared")
    assert policy.model.config.sliding_window == 4096
    assert windows == [
        vars(module)["sliding_window"] for module in policy.model.modules() if "sliding_window" in vars(module)
    ]

    def off(*arguments, sliding_window=None, **settings):
        return interface.segment_attention(*arguments, **settings)

    from transformers import AttentionInterface

    def register(model):
        before = original(model)
        AttentionInterface.register(interface.NAME, off)
        return before

    original = interface.use_segments
    monkeypatch.setattr(probe, "use_segments", register)
    assert with_layout(tiny_policy(name, sliding_window=4096), "auto").policy.layout == "padded"


def test_a_layout_that_is_asked_for_and_wrong_is_refused():
    with pytest.raises(
        ConfigError, match="train.layout: MambaForCausalLM cannot be trained as asked .shared in float32"
    ):
        with_layout(tiny_policy("mamba"), "shared")
    with pytest.raises(ConfigError, match="BloomForCausalLM has an attention of its own.*Set it to auto or padded"):
        with_layout(tiny_policy("bloom"), "packed")


def test_a_model_that_falls_back_keeps_its_own_attention():
    policy = tiny_policy("jamba")
    before = policy.model.config._attn_implementation
    assert with_layout(policy, "auto").policy.layout == "padded"
    assert policy.model.config._attn_implementation == before


def test_a_frozen_model_is_probed_too():
    policy = tiny_policy("llama")
    policy.model.requires_grad_(False)
    assert with_layout(policy, "auto").policy.layout == "shared"


def test_a_pack_of_the_sample_shares_prompts_and_hangs_partners():
    sample = random_sample(120, np.random.default_rng(0))
    batch, partners = arranged(sample.sequences, "shared", partners=sample.partners)
    assert any(part.prefix for part in batch.attention["segments"].parts)
    assert all(part.prefix for part in partners.attention["segments"].parts)


def test_the_gradient_of_the_sample_is_that_of_the_embeddings():
    policy = tiny_policy("llama", tie_word_embeddings=False)
    sample = random_sample(120, np.random.default_rng(0))
    computed = compute(policy, [sample])
    passed = policy.pass_over(sample.sequences, prompts=True)
    means = passed.prompts.logps / passed.prompts.token_counts.clamp(min=1)
    (sample.factors * (passed.completions.logps + means)).sum().backward()
    whole = policy.model.get_input_embeddings().weight.grad
    used = sorted(
        {0, *(token for row in sample.sequences for token in row.prompt_token_ids + row.completion_token_ids)}
    )
    torch.testing.assert_close(computed.gradient.float()[1:], whole[used][1:], atol=1e-5, rtol=1e-4)
