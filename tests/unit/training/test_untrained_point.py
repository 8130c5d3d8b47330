"""The validation point before the first step: a policy that is the reference prefers neither side."""

import dataclasses

import pytest
import torch

from tests.tiny import save_tiny_model
from tests.unit.training.test_trainer import config, objective, pairs, policy_of, unpaired
from thumbline.losses import LOSSES
from thumbline.pipeline.training.keeping import standing_of
from thumbline.pipeline.training.step import measure_rows
from thumbline.pipeline.training.trainer import Trainer

# Of an odd number of rows half are right only where they tie.
_ROWS = 5
WITH_REFERENCE = [name for name, spec in LOSSES.items() if spec.needs_reference]
# Rows of one label alone have no accuracy.
WITHOUT = [name for name, spec in LOSSES.items() if not spec.needs_reference and not spec.liked_only]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def stored_by_another_engine(policy, rows):
    """Rows whose reference log-probs are the policy's own, but for rounding that favours every row's right side."""

    def rounded(sequence, by):
        own = float(policy.logps([sequence]).logps.detach())
        return dataclasses.replace(sequence, reference_logps=own + by)

    for row in rows:
        if hasattr(row, "chosen"):
            yield dataclasses.replace(row, chosen=rounded(row.chosen, -1e-3), rejected=rounded(row.rejected, 1e-3))
        else:
            by = -1e-3 if row.label else 1e-3
            yield dataclasses.replace(row, matched=rounded(row.matched, by), mismatched=rounded(row.mismatched, 0.0))


def trained(model_dir, folder, method, **settings):
    """The log of a training on such rows, and the accuracy that rounding alone gives before it."""
    train, policy, made = config(micro_batch_rows=4, **settings), policy_of(model_dir), objective(method, 4)
    with torch.no_grad():
        rows = list(stored_by_another_engine(policy, pairs(_ROWS) if LOSSES[method].paired else unpaired(_ROWS)))
    rounding = measure_rows(policy, made, rows, train)["accuracy"]
    return Trainer(policy, made, train, rows[:4], rows, folder).run(lambda _: None), rounding


def accuracies(log):
    return {row.step: row.value for row in log if (row.phase, row.metric) == ("validation", "accuracy")}


@pytest.mark.parametrize("method", WITH_REFERENCE)
def test_against_a_reference_all_rows_tie_before_the_first_step(model_dir, tmp_path, method):
    log, rounding = trained(model_dir, tmp_path, method, max_steps=1, learning_rate=1e-9)
    assert rounding > 0.7
    # Only what is known of the untrained policy is said of it.
    assert accuracies(log) == {0: 0.5, 1: pytest.approx(rounding)}


@pytest.mark.parametrize("method", WITHOUT)
def test_without_a_reference_the_untrained_policy_has_an_accuracy_of_its_own(model_dir, tmp_path, method):
    log, own = trained(model_dir, tmp_path, method, max_steps=1)
    assert accuracies(log)[0] == own != 0.5


def test_patience_counts_from_ties_and_not_from_rounding(model_dir, tmp_path):
    settings = {"best_by": "accuracy", "validate_every": 1, "patience": 1, "keep": "best", "learning_rate": 1e-3}
    log, rounding = trained(model_dir, tmp_path, "dpo", epochs=3, **settings)
    assert rounding == 1.0
    # Nothing is above 1: counted from there, training would end after its first step with the untrained weights.
    assert standing_of(log, config(**settings)).best_step == 1
    assert max(accuracies(log)) > 1
