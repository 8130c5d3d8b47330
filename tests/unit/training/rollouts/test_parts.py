"""The parts of a step on rollouts: what is drawn, in which updates it goes, what values and the reference are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tiny import save_tiny_model
from thumbline.losses import ROLLOUTS, loss_config
from thumbline.pipeline.config import EngineConfig, LoraSettings, TrainConfig
from thumbline.pipeline.config.rollouts import RolloutsConfig
from thumbline.pipeline.engines.sampling import Draw, SamplingSettings
from thumbline.pipeline.engines.sampling_hf import HFSampler
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.optimizers import make_optimizer, set_rate
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.probe import with_layout
from thumbline.pipeline.training.rollouts.answers import Writer
from thumbline.pipeline.training.rollouts.objective import RolloutObjective
from thumbline.pipeline.training.rollouts.reference import Reference
from thumbline.pipeline.training.rollouts.sampling import PolicySampler
from thumbline.pipeline.training.rollouts.stepping import minibatches
from thumbline.pipeline.training.rollouts.values import add_values, take_out_values
from thumbline.pipeline.training.rows import PromptRow, RolloutRow, TrainingSequence
from thumbline.pipeline.training.step import take_step

CONFIG = TrainConfig(method="ppo", dtype="float32", device="cpu", learning_rate=1e-3)
DRAWN = SamplingSettings(6, 1.0, 1.0, 0, (1,))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def policy(model):
    return load_policy(model, device="cpu", dtype="float32", gradient_checkpointing=False)


def answers(count=8, seed=0) -> list[RolloutRow]:
    """Two answers a prompt, of one to seven tokens."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        prompt = tuple(range(5 + number // 2, 9 + number // 2))
        completion = tuple(generator.integers(5, 300, 1 + number % 7).tolist())
        known = [generator.normal(size=len(completion)).astype(np.float32) for _ in range(3)]
        logps = np.full(len(completion), -5.7, dtype=np.float32)
        rows.append(RolloutRow(f"{number}", TrainingSequence(f"{number}", prompt, completion, None), logps, *known))
    return rows


def objective(method="ppo", micro=8) -> RolloutObjective:
    return RolloutObjective(ROLLOUTS[method], loss_config(method, {}), micro)


def stepped(policy, method, micro):
    """Weights after an update in parts of so many rows, and what was logged of it."""
    if method == "ppo":
        add_values(policy, CONFIG, None)
    optimizer = make_optimizer(policy, CONFIG)
    set_rate(optimizer, 1e-3)
    means = take_step(policy, objective(method, micro), optimizer, answers(), CONFIG)
    weights = {name: weight.detach().clone() for name, weight in policy.model.named_parameters()}
    take_out_values(policy)
    return weights, means


@pytest.mark.parametrize("method", sorted(ROLLOUTS))
def test_an_update_in_parts_is_the_update_at_once(model, method):
    whole, parts = (
        stepped(load_policy(model, device="cpu", dtype="float32", gradient_checkpointing=False), method, micro)
        for micro in (8, 3)
    )
    for name, value in whole[1].items():
        if name != "computed_tokens":
            assert parts[1][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    # A first step of AdamW is as long as its rate wherever there is a gradient.
    moved = {name: (weight - parts[0][name]).abs().max() for name, weight in whole[0].items()}
    assert max(map(float, moved.values())) < 5e-4


@pytest.mark.parametrize("layout", ["padded", "shared"])
def test_the_model_in_training_samples_what_the_engine_does(model, policy, layout):
    draws = [Draw(prompt, seed) for seed, prompt in enumerate(((5, 6, 7), (5, 6, 7), (9, 10)))]
    own = policy.model.config._attn_implementation
    laid = with_layout(policy, layout).policy
    expected = HFSampler(model, EngineConfig(dtype="float32"), DRAWN).sample(draws)
    assert PolicySampler(laid, own, DRAWN, 4096).sample(draws) == expected
    assert laid.model.training
    assert laid.logps([answers()[0].matched]).logps.requires_grad


class Listening:
    """Remembers what is asked for, and answers with its seed."""

    def __init__(self):
        self.draws = []

    def sample(self, draws):
        self.draws += draws
        return [type("S", (), {"token_ids": (draw.seed % 97,), "finish": "length"})() for draw in draws]


class Scores:
    def scores(self, sequences):
        return [float(sequence.completion_token_ids[-1]) for sequence in sequences]


def writer(**settings) -> Writer:
    return Writer(Listening(), Scores(), None, RolloutsConfig(**settings), 3)


def prompt(name: str) -> PromptRow:
    return PromptRow(name, TrainingSequence(name, (5, 6), (), None))


def test_what_is_drawn_follows_from_seed_step_prompt_and_number():
    first, again, other_step = writer(), writer(), writer()
    together = first.answers([prompt("a"), prompt("b")], 2, "4")
    alone = again.answers([prompt("b")], 2, "4")
    other_step.answers([prompt("b")], 2, "5")
    seeds = [draw.seed for draw in first.source.draws]
    assert len(set(seeds)) == 4 and max(seeds) < 2**63
    assert [draw.seed for draw in again.source.draws] == seeds[2:]
    assert not {draw.seed for draw in other_step.source.draws} & set(seeds)
    assert [row.row_id for row in together.rows] == ["a:0", "a:1", "b:0", "b:1"]
    assert alone.scores.tolist() == together.scores.tolist()[2:]


def test_an_answer_that_was_cut_loses_the_penalty():
    found = writer(missing_eos_penalty=2.5).answers([prompt("a")], 2, "0")
    assert (found.scores - found.rewards).tolist() == [2.5, 2.5]


def names(config, number):
    """Ids of the answers of each update."""
    return [[row.row_id for row in part] for part in minibatches(answers(), config, number)]


def test_updates_hold_whole_prompts_and_each_answer_once_a_pass():
    settings = CONFIG.model_copy(update={"rollouts": RolloutsConfig(samples=2, minibatches=2, epochs=2)})
    parts = names(settings, 4)
    assert [len(part) for part in parts] == [4, 4, 4, 4]
    for once in (parts[:2], parts[2:]):
        assert sorted(name for part in once for name in part) == sorted(row.row_id for row in answers())
    assert all(int(part[place]) // 2 == int(part[place + 1]) // 2 for part in parts for place in (0, 2))
    assert parts == names(settings, 4) != names(settings, 5)
    many = settings.model_copy(update={"rollouts": RolloutsConfig(samples=2, minibatches=99)})
    assert [len(part) for part in names(many, 0)] == [1] * 8


def test_a_value_head_begins_at_0_and_does_not_bend_the_policy(policy):
    before = dict(policy.model.named_parameters())
    add_values(policy, CONFIG, None)
    each = policy.pass_over([row.matched for row in answers()], each=True).each
    assert each.values is not None and float(each.values.abs().max()) == 0.0
    each.values.sum().backward()
    assert all(weight.grad is None for weight in before.values())
    head = policy.model.value_head
    assert head.weight.grad is not None and float(head.bias.grad) == int(each.mask.sum())
    optimizer = make_optimizer(policy, CONFIG)
    set_rate(optimizer, 1e-4)
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([1e-4, 1e-2])
    take_out_values(policy)
    assert dict(policy.model.named_parameters()).keys() == before.keys()


def test_the_reference_is_the_policy_before_its_first_step(policy):
    sequences = [row.matched for row in answers()]
    before = policy.pass_over(sequences, each=True).each.logps.detach()
    reference = Reference(policy)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.01)
    assert reference.holds_weights
    torch.testing.assert_close(reference.each_token(sequences).logps, before)
    assert not torch.allclose(policy.pass_over(sequences, each=True).each.logps, before)


def test_an_adapters_reference_is_its_base(policy):
    sequences = [row.matched for row in answers()]
    before = policy.pass_over(sequences, each=True).each.logps.detach()
    settings = CONFIG.model_copy(update={"adapter": "lora", "lora": LoraSettings(rank=2, alpha=4.0)})
    adapted = with_adapter(policy, settings)
    reference = Reference(adapted)
    with torch.no_grad():
        for name, weight in adapted.model.named_parameters():
            if "lora_B" in name:
                weight.add_(0.1)
    assert not reference.holds_weights
    torch.testing.assert_close(reference.each_token(sequences).logps, before)
    assert not torch.allclose(adapted.pass_over(sequences, each=True).each.logps, before)


def test_log_probs_a_token_add_up_to_those_of_the_answer(policy):
    sequences = [row.matched for row in answers()]
    for layout in ("padded", "shared"):
        laid = replace(with_layout(policy, layout).policy)
        each, whole = laid.pass_over(sequences, each=True), laid.logps(sequences)
        torch.testing.assert_close(each.completions.logps, whole.logps)
        assert each.each.mask.sum(dim=1).tolist() == [len(one.completion_token_ids) for one in sequences]
