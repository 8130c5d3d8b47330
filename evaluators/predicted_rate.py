"""Predicted thumbs-up rate: what share of a model's answers would get a thumbs-up, by the calibrated thumbs model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl

from .answers import Answers
from .estimands import ONE_GROUP, Source, small_slice
from .groups import BoolArray, IntArray
from .paired_tests import holm, t_test
from .rate_audit import audited, refusal, told
from .refits import Labelled, Rates, fitted_rates, labelled, refitted
from .types import Draft, Estimand, EvaluationSettings, FloatArray, Metric
from .uncertainty import value_and_error

NAME = "predicted_thumbs_up"
VERSION = 1
# The split whose labelled answers the calibration is fitted on.
CALIBRATION_SPLIT = "validation"
_NO_JUDGE = "no judge is the run's thumbs model; add {judge: thumbs} to judges"
_NOTHING = "no judged answer"


class _Target(NamedTuple):
    """A rate, or a difference of two, that is asked for.

    Attributes:
        model: The model.
        slice: Part of the prompts; None for all.
        rows: (prompts,) which prompts count.
        against: The baseline of a difference; None for a rate.
    """

    model: str
    slice: str | None
    rows: BoolArray
    against: str | None

    @property
    def metric(self) -> str:
        """Its name."""
        return "rate" if self.against is None else "rate_difference"


@dataclass(frozen=True)
class _Judged:
    """Every model's answers with the thumbs model's scores, one behind another.

    Attributes:
        models: Names, in order.
        scores: (answers of all models,) scores; only those that are known.
        place: (answers of all models,) model's number times prompts plus prompt.
        counts: (models, prompts) answers.
    """

    models: tuple[str, ...]
    scores: FloatArray
    place: IntArray
    counts: FloatArray

    def means(self, rates: Rates) -> FloatArray:
        """(models, prompts) mean rates of each prompt's answers; 0 where there is none."""
        sums = np.bincount(self.place, weights=rates.of(self.scores), minlength=self.counts.size)
        return np.asarray(sums.reshape(self.counts.shape) / np.maximum(self.counts, 1.0))

    def has(self, model: str) -> BoolArray:
        """(prompts,) which prompts have judged answers of a model."""
        return np.asarray(self.counts[self.models.index(model)] > 0)

    def n(self, target: _Target) -> int:
        """Answers of a target's model to its prompts."""
        return int(self.counts[self.models.index(target.model)][target.rows].sum())

    def values(self, target: _Target, means: FloatArray) -> FloatArray:
        """(prompts,) what a target is the mean of, from `means`."""
        values: FloatArray = means[self.models.index(target.model)]
        return values if target.against is None else values - means[self.models.index(target.against)]


def drafts(answers: Answers, settings: EvaluationSettings) -> list[Draft]:
    """`rate` of every model, `rate_difference` from the baseline's and its test, and the audit's shares.

    The curve from scores to rates is fitted on labelled validation answers. An interval holds two uncertainties, taken
    as independent: the prompts' (by resampling their groups) and the calibration's (by refitting it on resamples of its
    own groups). A model whose answers lie too much outside what the calibration saw has no rate.
    """
    if answers.thumbs_scores.is_empty():
        return []
    judged = answers.judged.get(answers.calibrated_judge or "")
    if judged is None:
        return [_without(answers, settings, _NO_JUDGE)]
    seen = answers.thumbs_scores.filter(pl.col("split").cast(pl.String) == CALIBRATION_SPLIT)
    rows = labelled(seen, settings)
    if rows.refusal is not None:
        return [_without(answers, settings, f"no calibration: {rows.refusal}")]
    refused: dict[str, str | None] = {}
    metrics: list[Draft] = []
    for name, model in answers.models.items():
        findings = audited(answers, model, judged.scores[name], seen)
        metrics += told(Source(NAME, VERSION, name, answers.groups, judge=judged.judge), findings)
        refused[name] = refusal(name, findings, settings)
    return metrics + _rates(answers, _together(answers, judged.scores), rows, refused, settings)


def _without(answers: Answers, settings: EvaluationSettings, reason: str) -> Draft:
    model = next((one.model for one in answers.against(settings.baseline)), next(iter(answers.models)))
    source = Source(NAME, VERSION, model, answers.groups, settings.baseline, answers.calibrated_judge)
    return source.metric("rate_difference", None, "share", reason)


def _together(answers: Answers, scores: Mapping[str, FloatArray]) -> _Judged:
    names, prompts = tuple(answers.models), answers.groups.number.shape[0]
    known = {name: ~np.isnan(scores[name]) for name in names}
    places = np.concatenate(
        [answers.models[name].prompt[known[name]] + number * prompts for number, name in enumerate(names)]
    )
    counts = np.bincount(places, minlength=len(names) * prompts).astype(np.float64)
    values = np.concatenate([scores[name][known[name]] for name in names])
    return _Judged(names, values, places, counts.reshape(len(names), prompts))


def _targets(answers: Answers, judged: _Judged, baseline: str) -> list[_Target]:
    """Rates of all models and differences from the baseline, of all prompts and of each slice that has answers."""
    targets = []
    for part, inside in answers.parts():
        for name in judged.models:
            others = [None] if name == baseline or baseline not in judged.models else [None, baseline]
            for other in others:
                rows = inside & judged.has(name) & (True if other is None else judged.has(other))
                if part is None or rows.any():
                    targets.append(_Target(name, part, rows, other))
    return targets


def _rates(
    answers: Answers,
    judged: _Judged,
    rows: Labelled,
    refused: Mapping[str, str | None],
    settings: EvaluationSettings,
) -> list[Draft]:
    targets = _targets(answers, judged, settings.baseline)
    whole = fitted_rates(rows, rows.weights)
    means = judged.means(whole)

    def summary(rates: Rates) -> FloatArray:
        found = judged.means(rates)
        return np.array([_mean(judged.values(target, found), target.rows) for target in targets])

    moved = refitted(rows, summary, len(targets), settings) - summary(whole)
    metrics: list[Draft] = []
    differences: list[Estimand] = []
    for target, also in zip(targets, moved.T, strict=True):
        source = Source(NAME, VERSION, target.model, answers.groups, target.against, answers.calibrated_judge)
        stopped = refused[target.model] or (refused[target.against] if target.against else None)
        if stopped is None:
            estimand = _estimand(source, target, judged, means, rows, settings)
            metrics.append(replace(estimand, also=also))
            if target.against and target.slice is None:
                differences.append(replace(estimand, also=also))
        elif target.slice is None:
            metrics.append(source.metric(target.metric, None, "share", stopped, n=judged.n(target)))
    return metrics + _tests(differences)


def _mean(values: FloatArray, rows: BoolArray) -> float:
    return float(values[rows].mean()) if rows.any() else np.nan


def _estimand(
    source: Source,
    target: _Target,
    judged: _Judged,
    means: FloatArray,
    rows: Labelled,
    settings: EvaluationSettings,
) -> Estimand:
    fitted = f"calibrated ({rows.kind}) on {rows.scores.shape[0]:,} votes of {rows.groups.present():,} prompt groups"
    warning = None if target.slice is None else small_slice(source.groups.present(target.rows), settings)
    estimand = source.mean(
        target.metric,
        judged.values(target, means),
        "share",
        target.rows,
        n=judged.n(target),
        slice=target.slice,
        proportion=target.against is None,
        note="; ".join(note for note in (warning, fitted) if note),
        undefined=_NOTHING,
    )
    return replace(estimand, fewest=min(estimand.fewest, rows.groups.present()))


def _tests(differences: Sequence[Estimand]) -> list[Draft]:
    """`rate_difference_p`: Student's t of each difference over its error, corrected by Holm's method."""
    p_values: list[float | None] = []
    for one in differences:
        told = value_and_error(one)
        p_values.append(None if told is None else t_test(told.value, told.error, one.fewest))
    known = iter(holm([p_value for p_value in p_values if p_value is not None]))
    words = "errors of the prompts, clustered by group, and of the calibration"
    words += f"; corrected for {len(differences)} comparisons" if len(differences) > 1 else ""
    metrics: list[Draft] = []
    for one, p_value in zip(differences, p_values, strict=True):
        corrected = None if p_value is None else next(known)
        reason = ONE_GROUP.replace("interval", "test") if p_value is None else words
        metrics.append(
            Metric(
                evaluator=one.evaluator,
                version=one.version,
                metric="rate_difference_p",
                model=one.model,
                compared_with=one.compared_with,
                slice=None,
                value=corrected,
                ci_low=None,
                ci_high=None,
                n=one.n,
                n_groups=one.n_groups,
                unit="probability",
                reason=reason,
                judge=one.judge,
            )
        )
    return metrics
