"""Every evaluator by name, and the one call that runs them."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from . import (
    calibration,
    comparison,
    divergence,
    length_bias,
    logged_evaluation,
    method_loss,
    pair_accuracy,
    reward_margin,
    unpaired_auc,
    unpaired_comparison,
)
from .checks import check_slices, checked_rows
from .scores import pair_scores, unpaired_scores
from .types import METRICS_SCHEMA, Draft, Estimand, EvaluationError, EvaluationSettings, EvaluatorSpec, Metric, RowKind
from .uncertainty import intervals

if TYPE_CHECKING:
    from thumbline.plugins import Plugins

EVALUATORS: Final[dict[str, EvaluatorSpec]] = {
    "pair_accuracy": EvaluatorSpec(
        "pairs",
        pair_accuracy.drafts,
        pair_accuracy.VERSION,
        "accuracy",
        "How often the better answer gets the higher reward.",
    ),
    "reward_margin": EvaluatorSpec(
        "pairs", reward_margin.drafts, reward_margin.VERSION, "mean", "By how much the better answer wins."
    ),
    "calibration": EvaluatorSpec(
        "pairs", calibration.drafts, calibration.VERSION, "ece", "Whether sigma(margin) can be believed."
    ),
    "length_bias": EvaluatorSpec(
        "pairs",
        length_bias.drafts,
        length_bias.VERSION,
        "longer_wins_accuracy",
        "Whether accuracy is more than a liking for length.",
    ),
    "comparison": EvaluatorSpec(
        "pairs",
        comparison.drafts,
        comparison.VERSION,
        "accuracy_difference",
        "Whether a model is better than the baseline.",
    ),
    "unpaired_auc": EvaluatorSpec(
        "unpaired",
        unpaired_auc.drafts,
        unpaired_auc.VERSION,
        "auc",
        "How well rewards tell desirable from undesirable answers.",
    ),
    "unpaired_comparison": EvaluatorSpec(
        "unpaired",
        unpaired_comparison.drafts,
        unpaired_comparison.VERSION,
        "auc_difference",
        "Whether one model tells the labels apart better than another.",
    ),
    "pair_loss": EvaluatorSpec(
        "pairs", method_loss.pair_drafts, method_loss.VERSION, "loss", "The method's own loss on held-out pairs."
    ),
    "unpaired_loss": EvaluatorSpec(
        "unpaired", method_loss.unpaired_drafts, method_loss.VERSION, "loss", "The method's own loss on unpaired rows."
    ),
    "pair_divergence": EvaluatorSpec(
        "pairs",
        divergence.pair_drafts,
        divergence.PAIR_VERSION,
        "reference_to_policy_per_token",
        "How far the model moved from the reference, on pairs.",
    ),
    "divergence": EvaluatorSpec(
        "unpaired",
        divergence.drafts,
        divergence.VERSION,
        "reference_to_policy_per_token",
        "How far the model moved from the reference.",
    ),
    "logged_evaluation": EvaluatorSpec(
        "unpaired",
        logged_evaluation.drafts,
        logged_evaluation.VERSION,
        "rate",
        "What share of its answers would be marked desirable, from weighted logged ones.",
    ),
}


def evaluate(
    scored_pairs: pl.DataFrame | None,
    scored_unpaired: pl.DataFrame | None,
    settings: EvaluationSettings,
    names: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The metrics table: one row a metric, model and slice, sorted, the same whatever the order of the rows.

    Args:
        scored_pairs: One row a pair and model: pair_id, group_id, model, policy_chosen_logps, policy_rejected_logps,
            reference_chosen_logps, reference_rejected_logps, chosen_token_count, rejected_token_count; optionally the
            method's loss, and columns to slice by.
        scored_unpaired: One row a response and model: response_id, group_id, model, label, policy_logps,
            reference_logps, token_count; optionally the method's loss, and columns to slice by.
        settings: Reward, bootstrap and slices.
        names: Evaluators to run; None for all, those that installed packages add too.

    Returns:
        A frame of `METRICS_SCHEMA`. Where there are no rows, an evaluator's headline metric is None with the reason.

    Raises:
        EvaluationError: A name is unknown, an installed package's evaluator does not load, or rows cannot be
            evaluated: missing, repeated or not finite.
    """
    for name in names or ():
        evaluator_spec(name)
    wanted = {name: evaluator_spec(name) for name in evaluator_names() if names is None or name in names}
    check_slices([table for table in (scored_pairs, scored_unpaired) if table is not None], settings)
    metrics = [
        *_of_kind("pairs", scored_pairs, pair_scores, wanted, settings),
        *_of_kind("unpaired", scored_unpaired, unpaired_scores, wanted, settings),
    ]
    frame = pl.DataFrame(metrics, schema=METRICS_SCHEMA, orient="row")
    return frame.sort("evaluator", "metric", "model", "compared_with", "slice", nulls_last=False)


def evaluator_spec(name: str) -> EvaluatorSpec:
    """The evaluator called `name`: one of `EVALUATORS`, or one that an installed package adds.

    Raises:
        EvaluationError: There is none, or its package is broken.
    """
    plugins = _plugins()
    try:
        added = None if plugins is None else plugins.get(name)
    except ValueError as error:
        raise EvaluationError(str(error)) from error
    if added is not None:
        return added
    if name not in EVALUATORS:
        raise EvaluationError(_unknown(name))
    return EVALUATORS[name]


def evaluator_names() -> list[str]:
    """Names of all evaluators, those of other packages last; nothing of theirs is loaded."""
    plugins = _plugins()
    added = () if plugins is None else plugins.names()
    return list(dict.fromkeys((*EVALUATORS, *added)))


@functools.cache
def _plugins() -> Plugins[EvaluatorSpec] | None:
    """Evaluators that other packages add; None where this folder was copied without the rest of thumbline."""
    try:
        from thumbline.plugins import Plugins
    except ModuleNotFoundError:
        return None
    return Plugins("thumbline.evaluators", EvaluatorSpec, EVALUATORS)


def _of_kind(
    kind: RowKind,
    rows: pl.DataFrame | None,
    scores_of: Callable[[Mapping[str, pl.DataFrame], EvaluationSettings], Sequence[Any]],
    wanted: dict[str, EvaluatorSpec],
    settings: EvaluationSettings,
) -> list[Metric]:
    specs = {name: spec for name, spec in wanted.items() if spec.rows == kind}
    if rows is None or not specs:
        return []
    if rows.is_empty():
        return [_without_rows(name, spec, settings) for name, spec in specs.items()]
    scores = scores_of(checked_rows(rows, kind, settings), settings)
    drafts: list[Draft] = [draft for spec in specs.values() for draft in spec.drafts(scores, settings)]
    done = [draft for draft in drafts if isinstance(draft, Metric)]
    return done + intervals([draft for draft in drafts if isinstance(draft, Estimand)], settings)


def _without_rows(name: str, spec: EvaluatorSpec, settings: EvaluationSettings) -> Metric:
    rows = "pair" if spec.rows == "pairs" else "unpaired row"
    reason = f"no held-out {rows}"
    return Metric(name, spec.version, spec.headline, "trained", None, None, None, None, None, 0, 0, "", reason)


def _unknown(name: str) -> str:
    known = evaluator_names()
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown evaluator '{name}'.{hint} Known: {', '.join(sorted(known))}."
