"""A thumbs model in training: its scores in every layout, its losses by hand, and the folder's tokenizer."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tiny import CHATML, save_tiny_model, tiny_tokenizer
from thumbline.pipeline.errors import ConfigError, TrainingError
from thumbline.pipeline.training.attention.interface import use_segments
from thumbline.pipeline.training.culprits import gradient_error
from thumbline.pipeline.training.reward.model import load_reward_policy, scores_of
from thumbline.pipeline.training.reward.objective import RewardObjective
from thumbline.pipeline.training.reward.rows import Joined, evenly, require_rows
from thumbline.pipeline.training.reward.saving import pad_apart, save_thumbs_model, trim_template
from thumbline.pipeline.training.rows import PairRow, TrainingSequence, UnpairedRow


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def policy(model_dir):
    policy = load_reward_policy(model_dir, adapter=None, device="cpu", dtype="float32", seed=3).policy
    with torch.no_grad():
        policy.model.score.weight.mul_(100)
    return policy


def sequence(name, prompt, answer):
    return TrainingSequence(name, np.array(prompt, np.int32), np.array(answer, np.int32), None)


ENTRIES = [
    sequence("a", [5, 6, 7], [8, 9, 10]),
    sequence("b", [5, 6, 7], [11]),
    sequence("c", [5, 6, 7], [12, 13]),
    sequence("d", [20, 21], [8, 9, 10, 11, 12]),
    sequence("e", [30], [9]),
]


def test_the_model_is_trained_where_prompts_are_shared(policy):
    assert policy.layout == "shared"


@torch.no_grad()
def test_scores_are_those_of_the_last_token_in_every_layout(policy, model_dir):
    shared = scores_of(policy, ENTRIES)
    packed = scores_of(replace(policy, layout="packed"), ENTRIES)
    policy.model.set_attn_implementation("sdpa")
    padded = scores_of(replace(policy, layout="padded"), ENTRIES)
    alone = [
        policy.model(torch.tensor([[*entry.prompt_token_ids, *entry.completion_token_ids]])).logits[0, 0]
        for entry in ENTRIES
    ]
    use_segments(policy.model)
    for found in (shared, packed, padded):
        torch.testing.assert_close(found, torch.stack(alone), atol=1e-5, rtol=1e-5)
    assert float(shared.max() - shared.min()) > 0.1


def test_the_first_scores_are_near_0_and_follow_the_seed(model_dir):
    settings = {"adapter": None, "device": "cpu", "dtype": "float32"}
    heads = [load_reward_policy(model_dir, **settings, seed=seed).policy.model.score.weight for seed in (3, 3, 4)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    with torch.no_grad():
        policy = load_reward_policy(model_dir, **settings, seed=3).policy
        assert float(scores_of(policy, ENTRIES).abs().max()) < 0.5


def test_its_first_layers_alone_score_as_the_model_cut_there(model_dir, tmp_path):
    from transformers import AutoModelForSequenceClassification

    settings = {"adapter": None, "device": "cpu", "dtype": "float32", "seed": 3}
    policy = load_reward_policy(model_dir, **settings, layers=1).policy
    assert len(policy.model.model.layers) == policy.model.config.num_hidden_layers == 1
    with torch.no_grad():
        scores = scores_of(policy, ENTRIES)
        assert not torch.allclose(scores, scores_of(load_reward_policy(model_dir, **settings).policy, ENTRIES))
    save_thumbs_model(policy, model_dir, tmp_path / "cut")
    read = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cut", dtype="float32")
    ids = torch.tensor([[*ENTRIES[0].prompt_token_ids, *ENTRIES[0].completion_token_ids]])
    with torch.no_grad():
        assert float(read(ids).logits[0, 0]) == pytest.approx(float(scores[0]), rel=0.02, abs=1e-4)
    with pytest.raises(ConfigError, match=r"^thumbs\.layers: 9 of \d+ layers; set at most \d+\.$"):
        load_reward_policy(model_dir, **settings, layers=9)


def rows():
    a, b, c, d, e = ENTRIES
    return [
        UnpairedRow("u1", a, None, True, 2.0, 0.75),
        PairRow("p1", b, c, 1.0, 0.9),
        UnpairedRow("u2", d, e, False, 1.0, 0.1),  # a mismatched partner is not looked at
    ]


def softplus(x):
    return math.log1p(math.exp(x))


def test_losses_of_both_kinds_by_hand(policy):
    with torch.no_grad():
        scores = dict(zip("abcde", scores_of(policy, ENTRIES).tolist(), strict=True))
    thumbs = 2 * (softplus(scores["a"]) - 0.75 * scores["a"]), softplus(scores["d"]) - 0.1 * scores["d"]
    margin = scores["b"] - scores["c"]
    pair = softplus(margin) - 0.9 * margin
    measured = RewardObjective(8).measure(policy, rows(), None)
    assert measured.losses.tolist() == pytest.approx([*thumbs, pair], abs=1e-5)
    assert measured.losses.requires_grad
    assert measured.sums["loss"] == pytest.approx(sum(thumbs) + pair, abs=1e-5) and measured.counts["loss"] == 3
    assert measured.sums["accuracy"] == (scores["a"] > 0) + (scores["d"] < 0) and measured.counts["accuracy"] == 2
    assert measured.sums["pair_accuracy"] == float(margin > 0) and measured.counts["pair_accuracy"] == 1
    assert measured.sums["score_margin"] == pytest.approx(margin, abs=1e-5)
    assert measured.sums["desirable_scores"] == pytest.approx(scores["a"], abs=1e-5)


def test_parts_of_a_step_change_rounding_alone(policy):
    objective = RewardObjective(2)
    parts = objective.parts(policy, rows())
    assert sorted(map(len, parts)) == [1, 2]
    apart = sum(objective.measure(policy, part, None).losses.sum().item() for part in parts)
    assert apart == pytest.approx(float(objective.measure(policy, rows(), None).losses.sum()), abs=1e-5)


def test_a_loss_that_is_not_finite_names_its_row_and_the_thumbs_settings(policy):
    broken = [replace(rows()[0], weight=math.inf), rows()[1]]
    assert RewardObjective(8).measure(policy, broken, None).infinite == ["u1"]
    with torch.no_grad():
        policy.model.score.weight.fill_(math.nan)
    error = gradient_error(policy, RewardObjective(8), rows(), None)
    assert "thumbs: the gradient of 3 of the 3 rows" in str(error)
    assert "Lower thumbs.learning_rate" in str(error) and "answer 3 + 3 tokens, score nan" in str(error)


def test_joined_rows_are_those_of_each_part():
    joined = Joined([[1, 2, 3], [], [4, 5]])
    assert list(joined) == [1, 2, 3, 4, 5] and joined[-1] == 5 and joined[1:4] == [2, 3, 4]
    with pytest.raises(IndexError):
        joined[5]
    assert evenly(joined, 2) == [1, 3] and evenly(joined, 9) == [1, 2, 3, 4, 5]


def test_nothing_to_train_on_is_refused():
    with pytest.raises(TrainingError, match="holds no pair and no unpaired row with token ids"):
        require_rows([], ("pairs", "unpaired"))


def test_a_template_is_trimmed_after_the_answer_and_nowhere_else():
    tokenizer = tiny_tokenizer()
    turns = [{"role": "user", "content": " a \n"}, {"role": "assistant", "content": "b"}]
    before = tokenizer.apply_chat_template(turns, tokenize=False)
    asking = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert trim_template(tokenizer) == []
    assert tokenizer.apply_chat_template(turns, tokenize=False) == before.removesuffix("\n")
    assert tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True) == asking
    once = tokenizer.chat_template
    assert trim_template(tokenizer) == [] and tokenizer.chat_template == once


def test_a_template_that_cannot_be_trimmed_is_left_and_said():
    # Trimming would take the line break that it begins with, which the model learnt.
    tokenizer = tiny_tokenizer("\n" + CHATML)
    tokenizer.chat_template = "{{ '\n' }}" + CHATML
    (said,) = trim_template(tokenizer)
    assert "writes white space after an answer" in said and tokenizer.chat_template.startswith("{{ '\n' }}")


def test_padding_is_no_token_that_ends_an_answer():
    tokenizer = tiny_tokenizer()
    assert tokenizer.pad_token == tokenizer.eos_token == "<|im_end|>"
    assert pad_apart(tokenizer) == [] and tokenizer.pad_token == "<|im_start|>"
    alone = tiny_tokenizer(None)
    alone.bos_token = "<|im_end|>"
    alone.get_added_vocab = lambda: {"<|im_end|>": 1}
    (said,) = pad_apart(alone)
    assert "no token to pad with but that which ends an answer" in said and alone.pad_token == "<|im_end|>"
