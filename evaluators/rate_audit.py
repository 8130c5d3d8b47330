"""Audit of a predicted rate: how many new answers lie outside what the calibration saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from .answers import Answers, ModelAnswers, PromptMeans
from .estimands import Source
from .types import Draft, EvaluationSettings, FloatArray

# The calibration saw a score or a length where this share of its answers, or more, lie on either side.
_EDGE = 0.01
# Labelled answers of a script, or more, for it to have been seen.
_LEAST_OF_A_SCRIPT = 5


class Finding(NamedTuple):
    """How many of one model's answers lie outside in one respect.

    Attributes:
        metric: Its name.
        outside: Share of each prompt's answers.
        share: Of all, each prompt counting once.
        words: What is outside of what.
    """

    metric: str
    outside: PromptMeans
    share: float
    words: str


def audited(answers: Answers, model: ModelAnswers, scores: FloatArray, seen: pl.DataFrame) -> list[Finding]:
    """Shares of a model's judged answers whose score, length or script the calibration did not see.

    Args:
        answers: All answers.
        model: One model's.
        scores: (answers,) their scores; NaN for those without, which are not counted.
        seen: The labelled answers that the calibration is fitted on.

    Source: Landesberg and Narayan (2025), "Causal judge evaluation", who refuse to state a level where an audit of the
    calibration fails. They audit labelled answers of the new model; without any, these ranges are what can be seen.
    """
    known = ~np.isnan(scores)
    ranges = {
        "audit_scores_outside": (scores, seen["score"], "scores"),
        "audit_tokens_outside": (model.numbers("token_count"), seen["token_count"], "lengths in tokens"),
    }
    found = []
    for name, (values, reference, what) in ranges.items():
        low, high = np.quantile(reference.cast(pl.Float64).to_numpy(), [_EDGE, 1.0 - _EDGE])
        outside = np.where(known, (values < low) | (values > high), np.nan)
        found.append(_finding(name, model, outside, f"{what} outside {low:.4g} to {high:.4g}"))
    if "script" in model.table.columns and "script" in seen.columns:
        found.append(_scripts(model, known, seen))
    return found


def _scripts(model: ModelAnswers, known: FloatArray, seen: pl.DataFrame) -> Finding:
    counted = seen["script"].drop_nulls().value_counts(name="rows")
    common = sorted(counted.filter(pl.col("rows") >= _LEAST_OF_A_SCRIPT)["script"].to_list())
    strange = (~model.table["script"].is_in(common)).fill_null(False).cast(pl.Float64).to_numpy()
    words = f"scripts other than {', '.join(common) or 'none'}"
    return _finding("audit_scripts_outside", model, np.where(known, strange, np.nan), words)


def _finding(metric: str, model: ModelAnswers, outside: FloatArray, words: str) -> Finding:
    means = model.means(outside)
    share = float(means.values[means.rows].mean()) if means.rows.any() else 0.0
    return Finding(metric, means, share, words)


def refusal(model: str, findings: Sequence[Finding], settings: EvaluationSettings) -> str | None:
    """Why no rate is predicted for a model, in words and numbers; None where one is."""
    bad = [finding for finding in findings if finding.share > settings.most_outside]
    if not bad:
        return None
    told = " and ".join(f"{finding.share:.1%} of its answers have {finding.words}" for finding in bad)
    return f"refused: {told}, which the calibration saw; at most {settings.most_outside:.0%} may ({model})"


def told(source: Source, findings: Sequence[Finding]) -> list[Draft]:
    """The shares as metrics, whether or not they refuse."""
    return [
        source.mean(
            finding.metric,
            finding.outside.values,
            "share",
            finding.outside.rows,
            n=finding.outside.n(finding.outside.rows),
            proportion=True,
            note=finding.words,
            undefined="no judged answer",
        )
        for finding in findings
    ]
