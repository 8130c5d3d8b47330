"""Humanline variants: token ratios clipped before any method sees them, and a reference that follows the policy."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.interruption import run_until
from tests.unit.training.test_adjustments import token_scores, with_token_logps
from tests.unit.training.test_trainer import config, model_dir, pairs, policy_of, run_config, unpaired
from thumbline.losses import LOSSES, PairLogps, Term, UnpairedLogps, loss_config
from thumbline.losses.humanline import clipped_log_ratios
from thumbline.pipeline.errors import ConfigError, TrainingError
from thumbline.pipeline.training.adjustments import Bounds
from thumbline.pipeline.training.checkpoints import load_checkpoint
from thumbline.pipeline.training.methods import check_methods
from thumbline.pipeline.training.objective import Objective
from thumbline.pipeline.training.trainer import Trainer

__all__ = ["model_dir"]
BOUNDS = Bounds(-0.5, 0.8)


def test_ratios_beyond_the_bounds_count_with_them_and_have_no_gradient():
    policy = torch.tensor([[-1.0, -5.0, -1.0, -9.0], [-2.0, -2.0, -3.0, -9.0]], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([[-1.2, -1.0, -4.0, 0.0], [-2.0, -3.0, -3.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False]] * 2)
    # Ratios 0.2, -4 and 3; then 0, 1 and 0; the last place is no token.
    sums = clipped_log_ratios(policy, reference, mask, -1.5, 1.5)
    assert sums.tolist() == pytest.approx([0.2 - 1.5 + 1.5, 1.0])
    (gradient,) = torch.autograd.grad(sums.sum(), [policy])
    assert gradient.tolist() == [[1, 0, 0, 0], [1, 1, 1, 0]]
    unclipped = clipped_log_ratios(policy, reference, mask, -math.inf, math.inf)
    torch.testing.assert_close(unclipped, ((policy - reference) * mask).sum(dim=1))


@pytest.mark.parametrize("bounds", [(0.1, 1.0), (-1.0, -0.1), (math.nan, 1.0)])
def test_bounds_that_leave_out_equality_are_refused(bounds):
    with pytest.raises(ValueError, match="floor must be at most 0"):
        clipped_log_ratios(*[torch.zeros(1, 1)] * 2, torch.ones(1, 1, dtype=torch.bool), *bounds)


def scored(row):
    """A row with a reference near the model's own numbers, so that some tokens are within the bounds."""
    named = {"chosen", "rejected"} if hasattr(row, "chosen") else {"matched", "mismatched"}
    sides = {name: with_token_logps(getattr(row, name), len(name)) for name in sorted(named)}
    return dataclasses.replace(row, **sides)


def near(policy, sequence, seed):
    drift = np.random.default_rng(seed).normal(size=len(sequence.completion_token_ids)).astype(np.float32)
    values = token_scores(policy, sequence)[0].numpy().astype(np.float32) + drift
    return dataclasses.replace(sequence, reference_logps=float(values.sum(dtype="f8")), reference_token_logps=values)


def ratio_of(policy, sequence):
    stored = torch.tensor(sequence.reference_token_logps).double()
    return (token_scores(policy, sequence)[0] - stored).clamp(*BOUNDS).sum()


def measured(policy, rows, method, bounds=BOUNDS):
    made = Objective((Term(method),), len(rows), bounds=bounds)
    with torch.no_grad():
        return made.measure(policy, rows, None).losses


def test_a_pairs_ratios_are_clipped_token_by_token(model_dir):
    policy = policy_of(model_dir)
    rows = [
        dataclasses.replace(row, chosen=near(policy, row.chosen, 2 * n), rejected=near(policy, row.rejected, 2 * n + 1))
        for n, row in enumerate(pairs(4))
    ]
    sides = [[getattr(row, side) for row in rows] for side in ("chosen", "rejected")]
    ratios = [torch.stack([ratio_of(policy, sequence) for sequence in side]) for side in sides]
    expected = LOSSES["dpo"].function(PairLogps(*ratios, *map(torch.zeros_like, ratios)), loss_config("dpo", {})).losses
    found = measured(policy, rows, "dpo")
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found.float(), measured(policy, rows, "dpo", None).float(), atol=1e-3)


def test_humanline_kto_clips_rows_and_the_partners_of_its_reference_point(model_dir):
    policy = policy_of(model_dir)
    rows = [
        dataclasses.replace(
            row, matched=near(policy, row.matched, 2 * n), mismatched=near(policy, row.mismatched, 2 * n + 1)
        )
        for n, row in enumerate(unpaired(4))
    ]
    matched, others = (
        torch.stack([ratio_of(policy, getattr(row, role)) for row in rows]) for role in ("matched", "mismatched")
    )
    labels = torch.tensor([row.label for row in rows])
    batch = UnpairedLogps(matched, labels, torch.zeros_like(matched), others, torch.zeros_like(others))
    expected = LOSSES["kto"].function(batch, loss_config("kto", {})).losses
    torch.testing.assert_close(measured(policy, rows, "kto").double(), expected, rtol=1e-4, atol=1e-5)
    # Cut into parts, the step's reference point is of clipped ratios too.
    whole, cut = (Objective((Term("kto"),), size, bounds=BOUNDS) for size in (4, 2))
    point = cut.step_statistic(policy, rows)
    assert float(point) == pytest.approx(max(0.0, float(others.mean())), abs=1e-4)
    assert whole.step_statistic(policy, rows) is None


def test_without_the_references_tokens_it_says_so(model_dir):
    with pytest.raises(TrainingError, match=r"train.ratio_floor: .* not stored for sequence"):
        measured(policy_of(model_dir), pairs(2), "dpo")


def following(model_dir, folder, rows, stop_after=None, **settings):
    made = config(micro_batch_rows=4, learning_rate=1e-2, epochs=3, checkpoint_every=1, **settings)
    policy = policy_of(model_dir)
    objective = Objective((Term("dpo"),), 4, bounds=Bounds(-1.5, 1.5))
    log = run_until(Trainer(policy, objective, made, rows, rows[:2], folder), stop_after)
    return None if log is None else (policy.model.state_dict(), log)


def test_a_following_reference_is_the_policy_where_a_stretch_begins(model_dir, tmp_path):
    rows = [scored(row) for row in pairs(8)]
    _, log = following(model_dir, tmp_path / "follows", rows, reference_steps=2)
    margins = [row.value for row in log if (row.phase, row.metric) == ("train", "reward_margin")]
    losses = [row.value for row in log if (row.phase, row.metric) == ("train", "loss")]
    assert len(margins) == 6
    # At steps 3 and 5 the policy is its own reference: no margin, and ln 2; between them it has moved.
    assert [margins[2], margins[4]] == pytest.approx([0, 0], abs=1e-4)
    assert [losses[2], losses[4]] == pytest.approx([math.log(2)] * 2, abs=1e-4)
    assert min(abs(margins[3]), abs(margins[5])) > 1e-3
    _, stays = following(model_dir, tmp_path / "stays", rows)
    assert [row.value for row in stays if row.metric == "reward_margin" and row.phase == "train"][2] != pytest.approx(0)


def test_a_resumed_run_follows_to_the_same_bits(model_dir, tmp_path):
    rows = [scored(row) for row in pairs(8)]
    weights, log = following(model_dir, tmp_path / "calm", rows, reference_steps=2)
    (tmp_path / "stormy").mkdir()
    following(model_dir, tmp_path / "stormy", rows, stop_after=3, reference_steps=2)
    # Of steps 1 to 3 a checkpoint is kept after the second alone, where the reference is taken anew.
    assert load_checkpoint(tmp_path / "stormy").step == 2
    resumed, resumed_log = following(model_dir, tmp_path / "stormy", rows, reference_steps=2)
    assert resumed_log == log
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)


STORED = {"reference": {"token_logps": True}}


@pytest.mark.parametrize(
    ("train", "sections", "message"),
    [
        ({"method": "simpo", "ratio_floor": -1.5}, STORED, "ratio_floor and ratio_ceiling: simpo takes no reference"),
        ({"method": "orpo", "reference_steps": 4}, {}, "train.reference_steps: orpo takes no reference"),
        ({"ratio_ceiling": 1.5}, {}, "set reference.token_logps to true"),
        ({"ratio_ceiling": 1.5, "ld_alpha": 0.5}, STORED, "take one of them away"),
        ({"method": "humanline_kto"}, {}, "set train.ratio_floor: -1.5, .* beside a method with a reference"),
    ],
)
def test_what_makes_no_sense_is_refused(train, sections, message):
    with pytest.raises(ConfigError, match=message):
        check_methods(run_config(train, **sections))


def test_what_makes_sense_is_let_through():
    check_methods(
        run_config({"method": "kto", "ratio_floor": -1.5, "ratio_ceiling": 1.5, "reference_steps": 12}, **STORED)
    )
