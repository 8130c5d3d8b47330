"""Answers' texts without a judge: length, repetition, refusals, empty and cut answers, and what language they pay."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from .answers import Answers, ModelAnswers
from .estimands import Source, difference_of_means, ratio_of_means, share
from .groups import BoolArray
from .text_measures import is_empty, is_refusal, repetition
from .types import Draft, Estimand, EvaluationSettings, FloatArray

NAME = "answer_text"
VERSION = 1
_NO_LOGPS = "no answer has log-probs"
_ENGLISH = "answers that open as an English refusal does; other languages are not recognised"


class _Measure(NamedTuple):
    """A number of answers that is a mean.

    Attributes:
        values: Answers -> (answers,) values.
        unit: Their unit.
        note: What to know of it.
    """

    values: Callable[[ModelAnswers], FloatArray]
    unit: str
    note: str | None = None


def _flags(values: pl.Series) -> FloatArray:
    return values.cast(pl.Float64).to_numpy()


_MEASURES = {
    "tokens": _Measure(lambda one: one.numbers("token_count"), "tokens"),
    "characters": _Measure(lambda one: one.characters, "characters"),
    "repetition": _Measure(lambda one: repetition(one.table["completion"]).to_numpy(), "share"),
    "refusals": _Measure(lambda one: _flags(is_refusal(one.table["completion"])), "share", _ENGLISH),
    "empty": _Measure(lambda one: _flags(is_empty(one.table["completion"])), "share"),
    "cut_off": _Measure(lambda one: _flags(one.table["finish"].cast(pl.String) == "length"), "share"),
}
# Nats of all tokens over all tokens: a long answer counts as much as its tokens do.
_PER_TOKEN: dict[str, Callable[[ModelAnswers], FloatArray]] = {
    "reference_nats_per_token": lambda one: -one.numbers("reference_logps"),
    "own_nats_per_token": lambda one: -one.numbers("policy_logps"),
    "kl_per_token": lambda one: one.numbers("policy_logps") - one.numbers("reference_logps"),
}
# What is also given as a ratio to the baseline's.
_RATIOS = ("tokens", "reference_nats_per_token")


class _Sums(NamedTuple):
    """What a number of one model is made of.

    Attributes:
        over: (prompts,) sums, or means, above the line.
        under: (prompts,) sums, or ones, below it.
        counts: (prompts,) answers behind it.
        unit: Of the number.
        proportion: Whether it is a share of answers.
        note: What to know of it.
    """

    over: FloatArray
    under: FloatArray
    counts: FloatArray
    unit: str
    proportion: bool = False
    note: str | None = None


def drafts(answers: Answers, settings: EvaluationSettings) -> list[Draft]:
    """Every measure of every model; `<name>_difference` from the baseline's, and `<name>_ratio` of some.

    Means count each prompt once. Per-token numbers are sums over sums. `reference_nats_per_token` is how surprising
    the answers are to the untrained model, `kl_per_token` how much less so to the model that wrote them: an estimate
    of the divergence where they were sampled at temperature 1 from all tokens.
    """
    sums = {name: _all_sums(one) for name, one in answers.models.items()}
    metrics: list[Draft] = []
    for model, of_model in sums.items():
        source = Source(NAME, VERSION, model, answers.groups)
        metrics += [_alone(source, name, one) for name, one in of_model.items()]
    for one in answers.against(settings.baseline):
        source = Source(NAME, VERSION, one.model, answers.groups, settings.baseline)
        for name, of in sums[one.model].items():
            metrics += _compared(source, name, of, sums[settings.baseline][name])
    return metrics


def _all_sums(answers: ModelAnswers) -> dict[str, _Sums]:
    found = {}
    for name, measure in _MEASURES.items():
        means = answers.means(measure.values(answers))
        ones = means.rows.astype(np.float64)
        found[name] = _Sums(means.values, ones, means.counts, measure.unit, measure.unit == "share", measure.note)
    tokens = answers.numbers("token_count")
    for name, nats_of in _PER_TOKEN.items():
        nats = nats_of(answers)
        known = ~np.isnan(nats) & (tokens > 0)
        over, under = (answers.sums(np.where(known, values, 0.0)) for values in (nats, tokens))
        found[name] = _Sums(over, under, answers.sums(known.astype(np.float64)), "nats per token")
    return found


def _alone(source: Source, name: str, of: _Sums) -> Estimand:
    rows = of.counts > 0
    return _estimand(source, name, [of.over, of.under], rows, of, formula=share)


def _compared(source: Source, name: str, of: _Sums, other: _Sums) -> list[Draft]:
    """Difference and ratio over the prompts that both models have answers to."""
    rows = (of.counts > 0) & (other.counts > 0)
    columns = [of.over, of.under, other.over, other.under]
    alike = of._replace(proportion=False)
    found: list[Draft] = [_estimand(source, f"{name}_difference", columns, rows, alike, formula=difference_of_means)]
    if name in _RATIOS:
        ratio = alike._replace(unit="ratio")
        found.append(_estimand(source, f"{name}_ratio", columns, rows, ratio, formula=ratio_of_means))
    return found


def _estimand(
    source: Source,
    name: str,
    columns: list[FloatArray],
    rows: BoolArray,
    of: _Sums,
    formula: Callable[[FloatArray], FloatArray],
) -> Estimand:
    groups = source.groups.present(rows)
    return Estimand(
        evaluator=source.evaluator,
        version=source.version,
        metric=name,
        model=source.model,
        unit=of.unit,
        columns=[source.groups.unit_sums(column, rows) for column in columns],
        formula=formula,
        n=int(of.counts[rows].sum()),
        n_groups=groups,
        fewest=groups,
        compared_with=source.compared_with,
        undefined=_NO_LOGPS if "nats" in of.unit else "no answer",
        proportion=of.proportion,
        note=of.note,
    )
