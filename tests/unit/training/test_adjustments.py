"""Weights of pairs, WPO's weights and LD-DPO's tails reach the loss, with the model's own numbers."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.tiny import save_tiny_model
from tests.unit.training.test_trainer import pairs, policy_of, run_config
from thumbline.losses import LOSSES, PairLogps, Term, loss_config
from thumbline.pipeline.errors import ConfigError, TrainingError
from thumbline.pipeline.peers import Peers
from thumbline.pipeline.training.methods import check_methods, check_training
from thumbline.pipeline.training.objective import Objective


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def losses_of(policy, rows, method="dpo", settings=None, **other):
    made = Objective((Term(method, settings=settings or {}),), len(rows), **other)
    with torch.no_grad():
        return made.measure(policy, rows, None).losses


def token_scores(policy, sequence):
    """(completion tokens,) log-probs and log-sums of squared probabilities, from the model's logits."""
    ids = torch.tensor([[*sequence.prompt_token_ids, *sequence.completion_token_ids]])
    start = len(sequence.prompt_token_ids)
    with torch.no_grad():
        logps = policy.model(input_ids=ids).logits[0, start - 1 : -1].double().log_softmax(-1)
    return logps.gather(1, ids[0, start:, None])[:, 0], (2 * logps).logsumexp(-1)


def with_token_logps(sequence, seed):
    drawn = -np.random.default_rng(seed).random(len(sequence.completion_token_ids)).astype(np.float32) * 4
    return dataclasses.replace(sequence, reference_logps=float(drawn.sum(dtype="float64")), reference_token_logps=drawn)


@pytest.fixture
def rows():
    """Pairs whose sides are of different lengths, with the reference's log-probs of their tokens."""
    made = [
        dataclasses.replace(
            row, chosen=with_token_logps(row.chosen, 2 * n), rejected=with_token_logps(row.rejected, 2 * n + 1)
        )
        for n, row in enumerate(pairs(5))
    ]
    lengths = {(len(row.chosen.completion_token_ids), len(row.rejected.completion_token_ids)) for row in made}
    assert len(lengths) > 3
    return made


@pytest.mark.parametrize("method", ["dpo", "simpo"])
def test_a_pairs_weight_multiplies_its_loss(model_dir, rows, method):
    policy = policy_of(model_dir)
    weights = [0.0, 0.25, 0.5, 1.0, 2.0]
    weighed = [dataclasses.replace(row, weight=weight) for row, weight in zip(rows, weights, strict=True)]
    expected = losses_of(policy, rows, method) * torch.tensor(weights)
    torch.testing.assert_close(losses_of(policy, weighed, method), expected)


def test_wpo_weighs_pairs_by_what_the_policy_would_write(model_dir, rows):
    policy = policy_of(model_dir)
    halved = [dataclasses.replace(row, weight=0.5) for row in rows]
    found = losses_of(policy, halved, weighting="wpo") / losses_of(policy, rows)
    expected = []
    for row in rows:
        scores = [token_scores(policy, side) for side in row.sequences]
        expected.append(0.5 * float(sum((logps - squares).mean() for logps, squares in scores).exp()))
    torch.testing.assert_close(found, torch.tensor(expected).to(found), rtol=1e-3, atol=1e-6)
    assert len({round(value, 6) for value in expected}) == len(rows)


@pytest.mark.parametrize("ld_alpha", [0.0, 0.3])
@pytest.mark.parametrize("method", ["dpo", "simpo"])
def test_tokens_beyond_the_shorter_answer_count_less(model_dir, rows, method, ld_alpha):
    policy = policy_of(model_dir)
    found = losses_of(policy, rows, method, ld_alpha=ld_alpha)
    assert not torch.allclose(found, losses_of(policy, rows, method))
    sums = {"policy_chosen_logps": [], "policy_rejected_logps": []}
    reference = {"reference_chosen_logps": [], "reference_rejected_logps": []}
    for row in rows:
        shared = min(len(side.completion_token_ids) for side in row.sequences)
        for name, side in zip(("chosen", "rejected"), row.sequences, strict=True):
            own, stored = token_scores(policy, side)[0], torch.tensor(side.reference_token_logps).double()
            for place, tokens in ((sums[f"policy_{name}_logps"], own), (reference[f"reference_{name}_logps"], stored)):
                place.append(float(tokens[:shared].sum() + ld_alpha * tokens[shared:].sum()))
    counts = {
        f"{name}_token_counts": torch.tensor([len(side.completion_token_ids) for side in sides])
        for name, sides in zip(("chosen", "rejected"), zip(*(row.sequences for row in rows), strict=True), strict=True)
    }
    columns = {name: torch.tensor(values) for name, values in (sums | reference).items()}
    batch = PairLogps(**columns, **counts)
    expected = LOSSES[method].function(batch, loss_config(method, {})).losses
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-4)


def test_methods_without_a_reference_need_no_log_probs_of_its_tokens(model_dir):
    policy, plain = policy_of(model_dir), pairs(4)
    assert losses_of(policy, plain, "simpo", ld_alpha=0.5).isfinite().all()
    with pytest.raises(TrainingError, match=r"train.ld_alpha: .* not stored for sequence 0{31}0"):
        losses_of(policy, plain, "dpo", ld_alpha=0.5)


def test_parts_of_a_step_are_the_step_at_once(model_dir, rows):
    policy = policy_of(model_dir)
    settings = {"weighting": "wpo", "ld_alpha": 0.5}
    whole = losses_of(policy, rows, **settings)
    parts = torch.cat([losses_of(policy, [row], **settings) for row in rows])
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


STORED = {"reference": {"token_logps": True}}


@pytest.mark.parametrize(
    ("train", "sections", "message"),
    [
        ({"method": "kto", "weighting": "wpo"}, {}, "train.weighting: wpo weighs pairs, and kto takes unpaired rows"),
        ({"method": "kto", "ld_alpha": 0.5}, STORED, "train.ld_alpha: it compares .* and kto takes unpaired rows"),
        ({"ld_alpha": 0.5}, {}, "train.ld_alpha: dpo takes the reference's log-probs.*set reference.token_logps"),
        ({"method": "simpo", "also": [{"method": "ipo"}], "ld_alpha": 0.5}, {}, "train.ld_alpha: ipo takes the refer"),
        ({"method": "aot", "micro_batch_rows": 16, "weighting": "wpo"}, {}, "train: aot compares ranks, not rows"),
        ({"method": "aot", "micro_batch_rows": 16}, {"pairs": {"weights": "margin"}}, "train: aot compares ranks"),
    ],
)
def test_what_a_method_cannot_take_is_refused(train, sections, message):
    with pytest.raises(ConfigError, match=message):
        check_methods(run_config(train, **sections))


@pytest.mark.parametrize(
    ("train", "sections"),
    [
        ({"ld_alpha": 0.5}, STORED),
        ({"method": "simpo", "ld_alpha": 0.5, "weighting": "wpo"}, {}),
        ({"method": "kto"}, {"pairs": {"weights": "margin"}}),
        ({"method": "ipo", "weighting": "wpo"}, {"pairs": {"weights": "confidence"}}),
    ],
)
def test_what_a_method_can_take_is_let_through(train, sections):
    check_methods(run_config(train, **sections))


def test_what_several_processes_cannot_share_is_refused_before_anything_is_scored(monkeypatch):
    whole = run_config({"method": "aot", "batch_rows": 2, "micro_batch_rows": 2})
    check_training(whole)
    monkeypatch.setattr("thumbline.pipeline.training.methods.peers", lambda: Peers(0, 2, 0, "localhost", 1))
    with pytest.raises(ConfigError, match="which several processes cannot share"):
        check_training(whole)
    alone = {"method": "aot", "batch_rows": 2, "micro_batch_rows": 2, "distributed": "none"}
    check_training(run_config(alone))
